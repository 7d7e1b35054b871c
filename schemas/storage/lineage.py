"""Whether a date of a Parquet table is out of step with the Delta table that it was made from."""

from collections.abc import Collection
from datetime import date

from schemas.storage import delta_log, partitions
from schemas.storage.root import Root
from schemas.table import Table


def stale_dates(root: str, days: Collection[date], made: Collection[Table], source: Table) -> list[date]:
    """Which of the dates some table of `made` has, though rows of that date of `source` were changed afterwards.

    A commit that changed no row of `source` counts too: `relabel_late` makes it where conversions changed, and samples
    hold more of these than labels do.
    """
    place, stale = Root.of(root), set()
    newest = delta_log.newest(place, source)
    for table in made:
        for day in set(days) & set(partitions.dates(place, table)):
            if partitions.manifest(place, table, day)["made_from"][source.path] < newest.get(day, (0,))[0]:
                stale.add(day)
    return sorted(stale)
