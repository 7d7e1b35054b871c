"""Takes a user out of the producers' landing files: file by file, each replaced whole under its name."""

import json
import posixpath
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from jobs.erasure import parquet_files
from jobs.erasure.user import User, texts
from schemas.storage.partitions import MANIFEST, dates_below
from schemas.storage.root import STAGING, Root
from schemas.storage.settings import PATH, RootSettings
from schemas.table import Table, landing
from schemas.tables.logs import conversions, requests

_MAGIC = b"PAR1"


@dataclass
class Erased:
    """rows and files: how many were taken out, and rewritten. unreadable: path and reason of each file not read."""

    rows: int = 0
    files: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Columns:
    """Where a file has the ids of a log: the name of a column, or the value of all rows; neither if it has none."""

    names: dict[str, str]
    values: dict[str, str]

    @classmethod
    def of(cls, settings: RootSettings, table: Table, path: str, present: list[str]) -> "Columns":
        """Those of user_id and request_id, by the settings of the log."""
        names, values, given = {}, {}, settings.log(table)
        for column in ("user_id", "request_id"):
            mapped = given.columns.get(column, column)
            folder = _folder_value(path, mapped.removeprefix(PATH)) if mapped.startswith(PATH) else None
            if folder is not None:
                values[column] = folder
            elif mapped in present or column in present:
                names[column] = mapped if mapped in present else column
            elif column in given.constants:
                values[column] = str(given.constants[column])
        return cls(names, values)

    def of_rows(self, column: str, rows: pa.Table) -> pa.ChunkedArray | None:
        if column in self.names:
            return rows[self.names[column]]
        if column in self.values:
            return pa.chunked_array([pa.array([self.values[column]] * rows.num_rows, pa.string())])
        return None


def find_requests(root: str, user: User) -> None:
    """Add the requests that the user has in the landing files.

    A row of a folder may be of a date up to `arrives_within_days` before it.
    """
    place, settings = Root.of(root), RootSettings.of(root)
    for day in dates_below(place, f"landing/{requests.name}"):
        for path in _paths(place, requests, day):
            ids = _read(place, path, partial(_requested, place, settings, path, user))
            for reached in _in_reach(settings, day):
                user.landed[reached] |= ids if isinstance(ids, set) else set()


def erase(root: str, table: Table, user: User) -> Erased:
    """Take the user's rows out of every landing file of a log, and the rows of the user's requests."""
    place, settings, erased = Root.of(root), RootSettings.of(root), Erased()
    for day in dates_below(place, f"landing/{table.name}"):
        ids, before = user.requested(_in_reach(settings, day), landed=True), erased.files
        for path in _paths(place, table, day):
            rows = _read(place, path, partial(_erase_file, place, settings, table, path, user, ids))
            if isinstance(rows, str):
                erased.unreadable.append(rows)
            elif rows:
                erased.rows, erased.files = erased.rows + rows, erased.files + 1
        if erased.files > before:
            _count_again(place, landing(table, day))
    return erased


def is_erased(columns: Columns, table: Table, user: User, ids: set[str], rows: pa.Table) -> pa.ChunkedArray:
    """Whether each row is the user's, or belongs to one of the requests.

    A conversion that has a user belongs to that user alone.
    """
    users, named = columns.of_rows("user_id", rows), columns.of_rows("request_id", rows)
    nobody = pa.chunked_array([pa.array([False] * rows.num_rows, pa.bool_())])
    theirs = nobody if users is None else user.is_in(users)
    of_request = nobody if named is None or not ids else pc.is_in(texts(named), pa.array(sorted(ids), pa.string()))
    if table.name == conversions.name:
        of_request = pc.and_(of_request, nobody if users is None else pc.is_null(users))
    return pc.or_(theirs, of_request)


def _erase_file(place: Root, settings: RootSettings, table: Table, path: str, user: User, ids: set[str]) -> int:
    columns = Columns.of(settings, table, path, parquet_files.columns(place.filesystem, path))
    mask = partial(is_erased, columns, table, user, ids)
    names = sorted(set(columns.names.values()))
    if not names:  # the folder's name says whose file it is; a row group without columns has no length
        names = parquet_files.columns(place.filesystem, path)[:1]
    rows = parquet_files.count(place.filesystem, path, names, mask)
    if rows:
        beside = f"{STAGING}/{uuid.uuid4().hex}"
        try:
            parquet_files.copy_without(place.filesystem, path, place.at(f"{beside}/file"), mask)
            _replace(place, path, place.at(f"{beside}/file"), "user_id" in columns.values)
        finally:
            place.remove(beside)
    return rows


def _replace(place: Root, path: str, new: str, is_named: bool) -> None:
    """Put the new file in place of the old one.

    Args:
        is_named: a folder's name is the user's id: the emptied file goes into the date's folder instead.
    """
    folder, name = posixpath.split(path)
    checksum = posixpath.join(folder, f".{name}.crc")  # Hadoop's, of a local file; the new file would not match it
    if place.filesystem.get_file_info(checksum).type == fs.FileType.File:
        place.filesystem.delete_file(checksum)
    if not is_named:
        return place.filesystem.move(new, path)
    day_folder = path[: path.index("/", path.index("/date=") + 1)]
    place.filesystem.move(new, posixpath.join(day_folder, f"emptied-{sha256(path.encode()).hexdigest()[:8]}.parquet"))
    place.filesystem.delete_file(path)
    while folder != day_folder and not place.filesystem.get_file_info(fs.FileSelector(folder)):
        place.filesystem.delete_dir(folder)
        folder = posixpath.dirname(folder)
    return None


def _count_again(place: Root, folder: str) -> None:
    """Let the manifest of a folder that a job landed say what the folder holds now."""
    if not place.exists(f"{folder}/{MANIFEST}"):
        return
    files = place.files(folder, ".parquet")
    manifest = json.loads(place.read_text(f"{folder}/{MANIFEST}"))
    manifest |= {"bytes": sum(info.size for info in files)}
    manifest |= {"rows": sum(parquet_files.rows(place.filesystem, info.path) for info in files)}
    place.write_text(f"{folder}/{MANIFEST}", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _requested(place: Root, settings: RootSettings, path: str, user: User) -> set[str]:
    present = parquet_files.columns(place.filesystem, path)
    columns = Columns.of(settings, requests, path, present)
    if "request_id" not in columns.names:
        return set()
    ids = set()
    names = sorted(set(columns.names.values()))
    for rows in parquet_files.read(place.filesystem, path, names):
        users = columns.of_rows("user_id", rows)
        if users is not None:
            ids |= set(texts(rows[columns.names["request_id"]]).filter(user.is_in(users)).to_pylist()) - {None, ""}
    return ids


def _read(place: Root, path: str, work: Callable[[], int | set[str]]) -> int | set[str] | str:
    """What the work returns; a line that says why the file cannot be read."""
    try:
        with place.filesystem.open_input_file(path) as source:
            if source.size() < len(_MAGIC) or source.read(len(_MAGIC)) not in (_MAGIC, b"PARE"):
                return f"{path} is no Parquet file"
        return work()
    except (pa.ArrowException, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno:
            raise
        return f"{path} cannot be read: {str(fault).splitlines()[0]}"


def _paths(place: Root, table: Table, day: date) -> list[str]:
    return [info.path for info in place.files(landing(table, day))]


def _in_reach(settings: RootSettings, day: date) -> list[date]:
    return [day - timedelta(days=n) for n in range(settings.arrives_within_days + 1)]


def _folder_value(path: str, name: str) -> str | None:
    """The value of a folder `NAME=value` in the path, decoded as in a URL."""
    for part in path.split("/")[:-1]:
        if part.startswith(f"{name}="):
            return unquote(part.removeprefix(f"{name}="))
    return None
