"""Takes a user out of the dates of a Parquet table: each is swapped in whole, and its manifest counts what is left."""

import json
import posixpath
from collections.abc import Iterable
from datetime import date
from functools import partial
from hashlib import sha256

from jobs.erasure import parquet_files
from jobs.erasure.landed import Columns, Erased, is_erased
from jobs.erasure.user import User, texts
from schemas.storage import partitions
from schemas.storage.partitions import MANIFEST, dates_below
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.storage.staging import carry_over, stage, swap, withdraw
from schemas.table import Table, partition

QUARANTINE = "quarantine"
_COLUMNS = ("user_id", "request_id")


def find_requests(root: str, table: Table, user: User) -> None:
    """Add the requests that the user has in a table."""
    place = Root.of(root)
    for day in dates_below(place, table.path):
        for info in place.files(partition(table, day), ".parquet"):
            for rows in parquet_files.read(place.filesystem, info.path, _COLUMNS):
                ids = texts(rows["request_id"]).filter(user.is_in(rows["user_id"])).to_pylist()
                user.requests[day] |= set(ids) - {None, ""}


def erase(root: str, table: Table, user: User) -> tuple[Erased, dict[str, str]]:
    """Take the user's rows, and the rows of the user's requests, out of every date of a table.

    Returns:
        What was erased; and the identity of each changed partition before -> its identity now.
    """
    place, erased, identities = Root.of(root), Erased(), {}
    for day in dates_below(place, table.path):
        files = [info.path for info in place.files(partition(table, day), ".parquet")]
        masks = {path: _mask(place, table, path, user, day) for path in files}
        rows = {path: parquet_files.count(place.filesystem, path, *mask) for path, mask in masks.items()}
        hit = {path: masks[path][1] for path, count in rows.items() if count}
        if hit:
            identities |= _rewrite(place, table, day, hit)
            erased.rows, erased.files = erased.rows + sum(rows.values()), erased.files + len(hit)
    return erased, identities


def follow(root: str, tables: Iterable[Table], identities: dict[str, str]) -> None:
    """Let manifests that name a changed partition name what it is now: the erasure made nothing out of step."""
    place = Root.of(root)
    for table in tables if identities else ():
        for day in partitions.dates(place, table):
            manifest = partitions.manifest(place, table, day)
            made_from = {path: identities.get(state, state) for path, state in manifest["made_from"].items()}
            if made_from != manifest["made_from"]:
                place.write_text(f"{partition(table, day)}/{MANIFEST}", _text(manifest | {"made_from": made_from}))


def _mask(place: Root, table: Table, path: str, user: User, day: date) -> tuple[list[str], parquet_files.Mask]:
    """The columns that decide, and the mask."""
    present = parquet_files.columns(place.filesystem, path)
    columns, ids = (
        Columns.of(RootSettings(), table, path, present),
        user.requested([day], landed=table.layer == QUARANTINE),
    )
    return sorted(columns.names.values()), partial(is_erased, columns, table, user, ids)


def _rewrite(place: Root, table: Table, day: date, hit: dict[str, parquet_files.Mask]) -> dict[str, str]:
    """Swap in a date without the rows that the masks hit; returns its identity before -> its identity now."""
    folder = partition(table, day)
    if not place.exists(f"{folder}/{MANIFEST}"):  # no reader's: what a killed run left
        place.remove(folder)
        return {}
    before, manifest = partitions.identity(place, table, day), partitions.manifest(place, table, day)
    with stage(place, folder) as staged:
        for info in place.files(folder):
            name = posixpath.relpath(info.path, place.at(folder))
            if info.path in hit:
                target = place.at(f"{staged.folder}/{_new_name(name)}")
                parquet_files.copy_without(place.filesystem, info.path, target, hit[info.path])
            else:
                carry_over(staged, name)
        left = place.files(staged.folder, ".parquet")
        manifest["bytes"] = sum(info.size for info in left)
        manifest["rows"] = sum(parquet_files.rows(place.filesystem, info.path) for info in left)
        if table.layer != QUARANTINE or manifest["rows"]:
            place.write_text(f"{staged.folder}/{MANIFEST}", _text(manifest))
            swap(staged)
            return {before: partitions.identity(place, table, day)}
    withdraw(place, folder)
    return {}


def _new_name(name: str) -> str:
    """Another name: a reader half way through the old files misses the file rather than mixing the two."""
    return f"{posixpath.splitext(name)[0].split('.erased')[0]}.erased{sha256(name.encode()).hexdigest()[:8]}.parquet"


def _text(manifest: dict) -> str:
    return json.dumps(manifest, indent=1, sort_keys=True) + "\n"
