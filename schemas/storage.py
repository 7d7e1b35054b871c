"""How a date of a Parquet table comes to exist: written beside its place, swapped in, manifest last.

A partition without a `_manifest.json` does not exist for a reader.
"""

import hashlib
import json
import posixpath
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyarrow import fs, parquet

from schemas.table import MissingDataError, Table, partition

MANIFEST = "_manifest.json"
_STAGING = "_staging"


@dataclass(frozen=True)
class Root:
    """A directory or URI that holds every table: a path, or what both Hadoop and pyarrow read (s3a, gs, abfss)."""

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, root: str) -> "Root":
        scheme, separator, rest = str(root).partition("://")
        if not separator or scheme == "file":  # Hadoop takes a path as it is written; from_uri wants it quoted
            return cls(fs.LocalFileSystem(), str(Path(rest or scheme).absolute()))
        # What Hadoop calls s3a is s3 to pyarrow; deltalake knows both.
        return cls(*fs.FileSystem.from_uri(f"{'s3' if scheme == 's3a' else scheme}://{rest}"))

    def at(self, relative: str) -> str:
        return posixpath.join(self.path, relative)

    def kind(self, relative: str) -> fs.FileType:
        return self.filesystem.get_file_info(self.at(relative)).type

    def exists(self, relative: str) -> bool:
        return self.kind(relative) != fs.FileType.NotFound

    def files(self, relative: str, suffix: str = "") -> list[fs.FileInfo]:
        """The files below a folder, sorted; a name, of a file or folder, that starts with `_` or `.` is not data."""
        selector = fs.FileSelector(self.at(relative), recursive=True, allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(
            (info for info in found if info.path.endswith(suffix) and not self._hidden(info.path, relative)),
            key=lambda info: info.path,
        )

    def _hidden(self, path: str, relative: str) -> bool:
        return any(name[0] in "_." for name in posixpath.relpath(path, self.at(relative)).split("/"))

    def read_text(self, relative: str) -> str:
        with self.filesystem.open_input_stream(self.at(relative)) as stream:
            return stream.read().decode()

    def write_text(self, relative: str, text: str) -> None:
        """Write a small file so that a reader sees the old one or the new one, whole."""
        place = self.at(relative)
        self.filesystem.create_dir(posixpath.dirname(place), recursive=True)
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            with self.filesystem.open_output_stream(place) as stream:
                stream.write(text.encode())
            return
        beside = posixpath.join(posixpath.dirname(place), f".{posixpath.basename(place)}.new")
        with self.filesystem.open_output_stream(beside) as stream:
            stream.write(text.encode())
        self.filesystem.move(beside, place)

    def remove(self, relative: str) -> None:
        if self.kind(relative) == fs.FileType.Directory:
            self.filesystem.delete_dir(self.at(relative))

    def swap(self, staged: str, place: str) -> None:
        """Put the folder `staged` where `place` is; its manifest appears last, the old one goes first."""
        self.filesystem.create_dir(posixpath.dirname(self.at(place)), recursive=True)
        if isinstance(self.filesystem, fs.LocalFileSystem):
            retired = f"{_STAGING}/retired/{place}"
            self.remove(retired)
            if self.exists(place):
                self.filesystem.create_dir(posixpath.dirname(self.at(retired)), recursive=True)
                self.filesystem.move(self.at(place), self.at(retired))
            self.filesystem.move(self.at(staged), self.at(place))
            self.remove(retired)
            return
        if self.exists(f"{place}/{MANIFEST}"):
            self.filesystem.delete_file(self.at(f"{place}/{MANIFEST}"))
        self.remove(place)
        for info in self.files(staged):
            self.filesystem.move(info.path, self.at(f"{place}/{info.base_name}"))
        self.filesystem.move(self.at(f"{staged}/{MANIFEST}"), self.at(f"{place}/{MANIFEST}"))
        self.remove(staged)


def staging(place: str) -> str:
    """Where a new version of the folder `place` is written before it is swapped in, relative to the root."""
    return f"{_STAGING}/new/{place}"


def publish(root: Root, table: Table, day: date, place: str, made_from: dict, settings: dict) -> dict:
    """Count what was staged for one date, write its manifest and swap it in; returns the manifest.

    Args:
        place: the partition's folder, relative to the root; its new files are in `staging(place)`.
        made_from: input table -> Delta version, or manifest identity for a Parquet input.
        settings: every setting and seed that the rows depend on.
    """
    staged = staging(place)
    files = root.files(staged, ".parquet")
    manifest = {
        "table": table.path,
        "date": day.isoformat(),
        "rows": sum(_rows(root, info.path) for info in files),
        "bytes": sum(info.size for info in files),
        "contract": table.fingerprint,
        "made_from": made_from,
        "seed": settings.get("seed"),
        "settings": settings,
    }
    root.write_text(f"{staged}/{MANIFEST}", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    root.swap(staged, place)
    return manifest


def manifest(root: Root, table: Table, day: date) -> dict:
    """The manifest of one date of a Parquet table.

    Raises:
        MissingDataError: the date does not exist; names the dates that do.
    """
    if not root.exists(f"{partition(table, day)}/{MANIFEST}"):
        present = dates(root, table)
        known = f"dates there: {present[0]} to {present[-1]}" if present else "no date of it is there"
        raise MissingDataError(f"{table.path} has no date {day} below {root.path}; {known}")
    return json.loads(root.read_text(f"{partition(table, day)}/{MANIFEST}"))


def identity(root: Root, table: Table, day: date) -> str:
    """Names one state of a partition; what a manifest's `made_from` holds for a Parquet input."""
    text = json.dumps(manifest(root, table, day), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dates(root: Root, table: Table, folder: str | None = None) -> list[date]:
    """The dates of a Parquet table that exist, sorted.

    With `folder`, the dates of that folder whether or not they have a manifest (landing has none).
    """
    place = folder or table.path
    selector = fs.FileSelector(root.at(place), allow_not_found=True)
    found = []
    for info in root.filesystem.get_file_info(selector):
        name = info.base_name
        if name.startswith("date=") and (folder or root.exists(f"{place}/{name}/{MANIFEST}")):
            try:
                found.append(date.fromisoformat(name.removeprefix("date=")))
            except ValueError:
                continue
    return sorted(found)


def _rows(root: Root, path: str) -> int:
    with root.filesystem.open_input_file(path) as source:
        return parquet.read_metadata(source).num_rows
