"""What `quality` says of a date's labels: requests that could not be labelled, and acted items that no channel found.

A channel's lost log is met by `ingest_logs`, before anything is published; these shares are the alarm for what it
cannot see. The labels are written already, so a share that is out of bounds stops nothing: it is logged, and a
failed row of `quality`, on the report's page. Ingesting the date again keeps these rows.
"""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import cli
from jobs.quality import drift_bounds
from schemas.storage import arrow
from schemas.tables.labels import target_groups
from schemas.tables.reports import quality
from schemas.vocabulary import TargetGroup


def record(root: str, day: date, requests: int, unlabelable: int) -> dict[str, int]:
    """Add the rows of a date's labels, which were just written, to its quality; returns the acted and the ITG items.

    Args:
        requests: target requests of the date, `unlabelable` of which have no retrievals.
    """
    rows = arrow.delta(root, target_groups).to_pyarrow_dataset()
    itg, rtg = (
        rows.count_rows(filter=(pc.field("date") == day) & (pc.field("group") == str(group)))
        for group in (TargetGroup.ITG, TargetGroup.RTG)
    )
    today = {drift_bounds.TARGET_REQUESTS: requests, drift_bounds.ACTED_ITEMS: itg + rtg}
    if requests:
        today[drift_bounds.UNLABELABLE_SHARE] = unlabelable / requests
    if itg + rtg:
        today[drift_bounds.ITG_SHARE] = itg / (itg + rtg)
    _add(root, day, {(target_groups.name, check): value for check, value in today.items()})
    return {"acted": itg + rtg, "itg": itg}


def _add(root: str, day: date, today: drift_bounds.Measures) -> None:
    bounds = drift_bounds.before(root, day, {target_groups.name}).bounds(today)
    for bound in bounds:
        if not bound.passed:
            cli.log(f"{day}: {bound}; see whether a channel or a log is missing before the labels are learned from")
    added = pa.Table.from_pylist(drift_bounds.rows(today) + [bound.row for bound in bounds], schema=quality.schema)
    with drift_bounds.locked(root):
        # Without rows if the logs were written by something else than ingest_logs.
        present, manifest = drift_bounds.recorded(root, day)
        of_logs = present.filter(pc.field("table") != target_groups.name)
        rows = pa.concat_tables([of_logs, added])
        arrow.write(root, quality, day, rows, manifest["made_from"], manifest["settings"])
