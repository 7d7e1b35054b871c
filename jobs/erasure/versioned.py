"""Takes a user out of the Delta tables: one commit a table, which rewrites only the files that hold the rows."""

import re
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from jobs.erasure.landed import Erased
from jobs.erasure.user import User
from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.table import ConflictError, Table

_RETENTION, _DEFAULT_DAYS = "delta.deletedFileRetentionDuration", 7
_NOTE = {
    "commit_properties": CommitProperties(custom_metadata={"userMetadata": delta_log.ERASURE}),
    "post_commithook_properties": PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False),
}


def exists(root: str, table: Table) -> bool:
    return delta_log.exists(Root.of(root), table)


def find_requests(root: str, table: Table, user: User) -> None:
    """Add the requests that the user has in a Delta table."""
    if user.id is None or not exists(root, table):
        return
    columns, theirs = ["date", "request_id"], pc.field("user_id") == user.id
    for row in arrow.delta(root, table).to_pyarrow_dataset().to_table(columns=columns, filter=theirs).to_pylist():
        user.requests[row["date"]].add(row["request_id"])


def erase(root: str, table: Table, user: User) -> Erased:
    """Take out the rows with the user's id; of a table without user_id, those of the user's requests.

    Raises:
        ConflictError: another run changed the table at the same moment; running again goes on from there.
    """
    keys = _keys(table, user)
    if not exists(root, table) or keys is None or not keys.num_rows:
        return Erased()
    rows = _rows(root, table, keys)
    if not rows.num_rows:
        return Erased()
    conflict = f"{table.path} was changed by another run while rows were erased from it; run this again, alone"
    try:
        files = _delete(arrow.delta(root, table), keys, _dates(rows))
    except CommitFailedError as fault:
        raise ConflictError(conflict) from fault
    if _rows(root, table, keys).num_rows:
        raise ConflictError(conflict)
    return Erased(rows.num_rows, files)


def retention_days(root: str, table: Table) -> int:
    """How many days the files of older versions stay, at least, before a vacuum deletes them."""
    told = arrow.delta(root, table).metadata().configuration.get(_RETENTION, "")
    days = re.fullmatch(r"(?:interval )?(\d+) days?", told)
    return int(days[1]) if days else _DEFAULT_DAYS


def vacuum(root: str, table: Table) -> int:
    """Delete at once every file that the newest version does not name; returns how many."""
    try:
        return len(
            arrow.delta(root, table).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True, **_NOTE)
        )
    except DeltaError as fault:
        raise ConflictError(f"{table.path} could not be vacuumed: {fault}; run this again, alone") from fault


def _keys(table: Table, user: User) -> pa.Table | None:
    """The values by which the user's rows are known; None if the user has no id inside the tables."""
    if not table.dated:
        return None if user.id is None else pa.table({"id": pa.array([user.id], pa.int64())})
    if "user_id" in table.names:
        return None if user.id is None else pa.table({"user_id": pa.array([user.id], pa.int64())})
    pairs = sorted((day, each) for day, ids in user.requests.items() for each in ids)
    days, ids = ([pair[n] for pair in pairs] for n in (0, 1))
    return pa.table({"date": pa.array(days, pa.date32()), "request_id": pa.array(ids, pa.string())})


def _rows(root: str, table: Table, keys: pa.Table) -> pa.Table:
    """The keys of the rows that are to go."""
    names = keys.column_names
    wanted = pc.field(names[-1]).isin(keys[names[-1]].combine_chunks())
    if "date" in names:
        wanted &= pc.field("date").isin(pc.unique(keys["date"].combine_chunks()))
    columns = names if "date" in names or not table.dated else ["date", *names]
    rows = arrow.delta(root, table).to_pyarrow_dataset().to_table(columns=columns, filter=wanted)
    return rows.join(keys, keys=names, join_type="left semi")


def _dates(rows: pa.Table) -> list[date]:
    return sorted(set(rows["date"].to_pylist())) if "date" in rows.column_names else []


def _delete(table: DeltaTable, keys: pa.Table, days: list[date]) -> int:
    """A merge, whose commit names no id, unlike a delete's; returns how many files it rewrote."""
    same = [f"target.{name} = gone.{name}" for name in keys.column_names]
    if days:
        listed = ", ".join(f"DATE '{day}'" for day in days)
        same.append(f"target.date IN ({listed})")
    merge = table.merge(
        keys, " AND ".join(same), source_alias="gone", target_alias="target",
        writer_properties=WriterProperties(compression="ZSTD"), **_NOTE,
    )  # fmt: skip
    return merge.when_matched_delete().execute()["num_target_files_removed"]
