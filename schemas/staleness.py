"""Whether a date of a Parquet table is out of step with the Delta table that it was made from."""

from collections.abc import Iterable
from datetime import date

from schemas import delta_log, storage
from schemas.storage import Root
from schemas.table import Table


def stale_dates(root: Root, made: Iterable[Table], source: Table, days: Iterable[date]) -> list[date]:
    """Which of the dates some table of `made` has, though rows of that date of `source` were changed afterwards.

    A commit that changed no row makes nothing stale.
    """
    changed, stale = delta_log.last_changes(root, source), set()
    for table in made:
        for day in set(days) & set(storage.dates(root, table)):
            if storage.manifest(root, table, day)["made_from"][source.path] < changed.get(day, 0):
                stale.add(day)
    return sorted(stale)
