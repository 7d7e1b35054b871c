"""Compact the Delta tables' small files and delete what no reader can still hold.

Reads:  the Delta tables (logs, labels/target_groups) and _staging
Writes: the same tables, the same rows in fewer files

- Versions older than the retention can no longer be read.
- Do not run it while a job replaces the same dates: the later commit fails.
- What counts as old depends on the clock, unlike anything else here.

In detail:

Three things, of which none changes a row:
1. Dates up to --date that have many small files are compacted. A run that pinned an older version reads on from the
   old files.
2. VACUUM deletes the files that no version of the last --retention-days names: of dates that were replaced, merged or
   compacted, and of writers that were killed. A run reads the version that was there when it began, so one that lasts
   less than the retention loses no file. Versions older than that can no longer be read; what their commits
   recorded stays. Where `relabel_late` needs such a version it labels the date anew: a longer retention is cheaper.
3. Folders of killed runs in `_staging` that nothing has changed for as long are deleted, but for a date's only copy.

Which dates are compacted depends on the tables alone; what counts as old, on the clock and the files' times of
change, unlike anything else here. Do not run it while a job replaces the same dates: of the two commits the later
one fails, and has to be run again.
"""

import argparse
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from jobs.command import cli
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.storage.session import RETENTION_DAYS, session
from schemas.storage.spark import Store
from schemas.storage.staging import leftovers
from schemas.table import MissingDataError, Table
from schemas.tables.registry import TABLES

# Opening a file costs Spark about as much as reading 4 MiB. What is merged stays below what one task reads at once,
# so that a date's scan keeps its tasks.
SMALL, MANY, MERGED = 8 << 20, 16, 64 << 20
KEPT = "delta.deletedFileRetentionDuration"


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument(
        "--retention-days",
        type=cli.at_least(7),  # Delta's own check, too, wants a week for those who read or write meanwhile
        default=RETENTION_DAYS,
        help="keep files that were needed in these last days; at least 7, default %(default)s",
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("maintain_tables"), arguments.root)
    tables = [table for table in TABLES.values() if table.storage == "delta" and store.has(table)]
    if not tables:
        raise MissingDataError(f"there is no Delta table below {store.root.path}; ingest_logs makes the first")
    counts = {}
    for table in tables:
        days = crowded(arrow.delta(arguments.root, table), day) if table.dated else []
        compacted = compact(store, table, days)
        counts[table.path] = compacted | vacuum(store, arguments.root, table, arguments.retention_days)
    before = datetime.now(UTC) - timedelta(days=arguments.retention_days)
    totals = {name: sum(one[name] for one in counts.values()) for name in next(iter(counts.values()))}
    return {"rows_written": 0, **totals, "leftovers_deleted": clear(store.root, before), "tables": counts}


def crowded(table, last: date) -> list[date]:
    """The dates up to `last` that have many small files, sorted; `table` is a deltalake.DeltaTable."""
    files = pa.table(table.get_add_actions(flatten=True)).select(["partition.date", "size_bytes"]).to_pylist()
    small = Counter(file["partition.date"] for file in files if file["size_bytes"] < SMALL)
    return sorted(day for day, count in small.items() if count >= MANY and day <= last)


def compact(store: Store, table: Table, days: list[date]) -> dict[str, int]:
    """Merge the small files of some dates in one commit."""
    if not days:
        return {"dates_compacted": 0, "files_compacted": 0, "files_added": 0}
    removed, added = store.commits.compact(table, days, SMALL, MERGED)
    return {"dates_compacted": len(days), "files_compacted": removed, "files_added": added}


def vacuum(store: Store, root: str, table: Table, retention_days: int) -> dict[str, int]:
    """Delete the files that no version of the last days names."""
    kept = f"interval {retention_days} days"
    # VACUUM deletes an old file as soon as the table has forgotten when it was removed, after 7 days if not told.
    if arrow.delta(root, table).metadata().configuration.get(KEPT) != kept:
        store.commits.set_property(table, KEPT, kept)
    before = {file.path: file.size for file in store.root.files(table.path)}
    store.commits.vacuum(table, 24 * retention_days)
    after = {file.path for file in store.root.files(table.path)}
    gone = [size for path, size in before.items() if path not in after]
    return {"files_deleted": len(gone), "bytes_freed": sum(gone)}


def clear(root: Root, before: datetime) -> int:
    """Delete what killed runs left in `_staging` before then, but for a date's only copy; returns how many folders."""
    left = leftovers(root, before)
    for one in left:
        if one.only_copy_of:
            cli.log(f"{one.folder} stays: it holds all that there is of {one.only_copy_of}; run its job again")
        else:
            root.remove(one.folder)
    return sum(not one.only_copy_of for one in left)


if __name__ == "__main__":
    cli.run("maintain_tables", arg_parser().parse_args(), main)
