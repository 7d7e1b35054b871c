"""A Delta table's commits, read from its log: one JSON file a version, `commitInfo` among its lines."""

import json
from collections.abc import Iterator

from schemas.storage import Root
from schemas.table import MissingDataError, Table


def commits(root: Root, table: Table) -> Iterator[tuple[int, dict]]:
    """(version, commitInfo) of each commit whose file is still there, newest first.

    Raises:
        MissingDataError: there is no such table.
    """
    files = [info for info in root.files(f"{table.path}/_delta_log", ".json") if info.base_name[:-5].isdigit()]
    if not files:
        raise MissingDataError(f"there is no {table.path} below {root.path}")
    for info in reversed(files):
        with root.filesystem.open_input_stream(info.path) as stream:
            lines = stream.read().decode().splitlines()
        actions = (json.loads(line) for line in lines)
        yield int(info.base_name[:-5]), next((a["commitInfo"] for a in actions if "commitInfo" in a), {})


def version(root: Root, table: Table) -> int:
    """The newest version."""
    return next(commits(root, table))[0]


def replacements(root: Root, table: Table, day: str) -> Iterator[tuple[int, dict, int]]:
    """(version, recorded, rows) of the commits that replaced one date, newest first; see `Store.replace`."""
    for number, info in commits(root, table):
        recorded = json.loads(info.get("userMetadata") or "{}")
        if recorded.get("date") == day:
            yield number, recorded, int(info["operationMetrics"].get("numOutputRows", 0))
