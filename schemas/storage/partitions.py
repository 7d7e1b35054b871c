"""Which dates of a Parquet table exist. A partition without a `_manifest.json` does not exist for a reader."""

import hashlib
import json
from contextlib import suppress
from datetime import date

from pyarrow import fs

from schemas.storage.root import Root
from schemas.table import MissingDataError, Table, partition

MANIFEST = "_manifest.json"


def manifest(root: Root, table: Table, day: date) -> dict:
    """The manifest of one date of a Parquet table.

    Raises:
        MissingDataError: the date does not exist; names the dates that do.
    """
    try:
        return json.loads(root.read_text(f"{partition(table, day)}/{MANIFEST}"))
    except FileNotFoundError:
        present = dates(root, table)
    known = f"dates there: {present[0]} to {present[-1]}" if present else "no date of it is there"
    raise MissingDataError(f"{table.path} has no date {day} below {root.path}; {known}")


def files(root: Root, table: Table, day: date) -> list[fs.FileInfo]:
    """The Parquet files of one date of a Parquet table, sorted.

    Raises:
        MissingDataError: the date does not exist, or other files are there than its manifest counted.
    """
    place, counted = partition(table, day), manifest(root, table, day)["bytes"]
    found = root.files(place, ".parquet")
    if (size := sum(info.size for info in found)) != counted:
        raise MissingDataError(
            f"{place} below {root.path} holds {size} bytes of Parquet, its manifest says {counted}: a run is replacing "
            "it, or files were changed by hand; read it again, or let its job make it anew"
        )
    return found


def identity(root: Root, table: Table, day: date) -> str:
    """Names one state of a partition; what a manifest's `made_from` holds for a Parquet input."""
    return _identity(manifest(root, table, day))


def identity_at(root: Root, folder: str) -> str | None:
    """The identity of the partition in a folder, as `made_from` names it; None if it is gone."""
    try:
        return _identity(json.loads(root.read_text(f"{folder}/{MANIFEST}")))
    except FileNotFoundError:
        return None


def _identity(manifest_of_partition: dict) -> str:
    return hashlib.sha256(json.dumps(manifest_of_partition, sort_keys=True).encode()).hexdigest()[:16]


def dates(root: Root, table: Table) -> list[date]:
    """The dates of a Parquet table that exist, sorted."""
    return [day for day in dates_below(root, table.path) if root.exists(f"{partition(table, day)}/{MANIFEST}")]


def dates_below(root: Root, folder: str) -> list[date]:
    """The dates that a folder has folders of, sorted, whether or not they have a manifest (landing has none)."""
    selector = fs.FileSelector(root.at(folder), allow_not_found=True)
    names = [info.base_name for info in root.filesystem.get_file_info(selector)]
    found = []
    for name in names:
        with suppress(ValueError):
            if name.startswith("date="):
                found.append(date.fromisoformat(name.removeprefix("date=")))
    return sorted(found)
