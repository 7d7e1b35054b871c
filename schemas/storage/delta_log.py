"""A Delta table's commits, read from its log: one JSON file a version, `commitInfo` among its lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

from pyarrow import fs

from schemas.storage.root import Root
from schemas.table import MissingDataError, Table

GONE = "_gone"  # of a row that a merge is given: whether it deletes the row of this key, else it puts the row
_MERGE = "MERGE"
# What the commit of an erasure says; no id in it, since a log outlives the rows.
ERASURE = json.dumps({"erasure": True})
RETYPED = "retyped"  # what a commit records that gave attributes other types


@dataclass(frozen=True)
class FileChange:
    """A commit added a file of one date, or took it away; `path` is relative to the table."""

    version: int
    date: date
    path: str
    removed: bool
    changes_rows: bool  # a compaction's do not, nor do an erasure's, which changes every later table itself


def commits(root: Root, table: Table) -> Iterator[tuple[int, dict]]:
    """(version, commitInfo) of each commit whose file is still there, newest first.

    Raises:
        MissingDataError: there is no such table.
    """
    found = False
    for number, actions in _actions(root, table):
        found = True
        yield number, next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    if not found:
        raise MissingDataError(f"there is no {table.path} below {root.path}")


def version(root: Root, table: Table) -> int:
    """The newest version."""
    return next(commits(root, table))[0]


def replacements(root: Root, table: Table, day: date) -> Iterator[tuple[int, dict, int]]:
    """(version, recorded, rows) of the commits that wrote one date, newest first.

    recorded: what `Store.replace` and `Store.update` say there. rows: how many the commit put or took away.
    """
    for number, recorded, info in _recorded(root, table):
        if recorded["date"] == day.isoformat():
            yield number, recorded, _rows(info)


def settings(root: Root, table: Table, day: date, version: int) -> dict:
    """The settings with which one date was last written, as a version of the table has it.

    Raises:
        MissingDataError: no commit up to that version wrote the date.
    """
    for number, recorded, _ in replacements(root, table, day):
        if number <= version:
            return recorded["settings"]
    raise MissingDataError(f"{table.path} was never written for {day} below {root.path}")


def newest(root: Root, table: Table) -> dict[date, tuple[int, dict]]:
    """Date -> version and record of the commit that wrote it last; none if there is no such table."""
    writers: dict[date, tuple[int, dict]] = {}
    if exists(root, table):
        for number, recorded, _ in _recorded(root, table):
            writers.setdefault(date.fromisoformat(recorded["date"]), (number, recorded))
    return writers


def exists(root: Root, table: Table) -> bool:
    """Whether a Delta table has a version.

    A folder alone is no table: a full disk, a kill or a run that is making the table leaves an empty `_delta_log`.
    """
    return bool(_commit_files(root, table))


def file_changes(root: Root, table: Table, since: int) -> list[FileChange]:
    """What the commits after a version did to the table's files."""
    found = []
    for number, actions in _actions(root, table):
        if number <= since:
            break
        quiet = any(_changes_no_rows(action.get("commitInfo", {}).get("userMetadata")) for action in actions)
        for kind, file in ((kind, action[kind]) for action in actions for kind in ("add", "remove") if kind in action):
            day = date.fromisoformat(file["partitionValues"]["date"])
            changes_rows = file["dataChange"] and not quiet
            found.append(FileChange(number, day, unquote(file["path"]), kind == "remove", changes_rows))
    return found


def _changes_no_rows(metadata: object) -> bool:
    """Whether a commit wrote files anew for which nothing has to follow: an erasure, or attributes of other types."""
    return metadata == ERASURE or (isinstance(metadata, str) and metadata.startswith(f'{{"{RETYPED}"'))


def _recorded(root: Root, table: Table) -> Iterator[tuple[int, dict, dict]]:
    """(version, recorded, commitInfo) of the commits that wrote a date, newest first."""
    for number, info in commits(root, table):
        recorded = _record(info.get("userMetadata"))
        if recorded is not None:
            yield number, recorded, info


def _record(metadata: object) -> dict | None:
    """What one of our commits records; None for a commit of anybody else, whose metadata may be any text."""
    try:
        recorded = json.loads(metadata) if isinstance(metadata, str) else None
    except ValueError:
        return None
    ours = isinstance(recorded, dict) and isinstance(recorded.get("date"), str) and "settings" in recorded
    return recorded if ours else None


def _rows(info: dict) -> int:
    names = [f"numtargetrows{done}" for done in ("inserted", "updated", "deleted")]
    names = names if info.get("operation") == _MERGE else ["numoutputrows"]
    # delta-spark says numTargetRowsInserted, delta-rs num_target_rows_inserted
    metrics = {name.replace("_", "").lower(): value for name, value in info.get("operationMetrics", {}).items()}
    return sum(int(metrics.get(name, 0)) for name in names)


def _actions(root: Root, table: Table) -> Iterator[tuple[int, list[dict]]]:
    """(version, its lines) of each commit whose file is still there, newest first."""
    for info in reversed(_commit_files(root, table)):
        with root.filesystem.open_input_stream(info.path) as stream:
            yield int(info.base_name[:-5]), [json.loads(line) for line in stream.read().decode().splitlines()]


def _commit_files(root: Root, table: Table) -> list[fs.FileInfo]:
    """The commits' files, oldest first; Delta names each after its version."""
    return [info for info in root.files(f"{table.path}/_delta_log", ".json") if info.base_name[:-5].isdigit()]
