"""A root: a directory or an object store's URI that holds every table."""

import fcntl
import posixpath
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from schemas.table import MissingDataError

STAGING = "_staging"
# deltalake decodes the one and takes the other for a slash, whichever way the path is handed to it.
_MISREAD = re.compile(r"%[0-9A-Fa-f]{2}|\\")


@dataclass(frozen=True)
class Root:
    """A directory or URI that holds every table: a path, or what both Hadoop and pyarrow read (s3a, gs, abfss)."""

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, root: str) -> "Root":
        """The root at a path or URI.

        Raises:
            MissingDataError: no storage is known, or answers, at that URI.
        """
        scheme, separator, rest = str(root).partition("://")
        if not separator or scheme == "file":  # Hadoop takes a path as it is written; from_uri wants it quoted
            return cls(fs.LocalFileSystem(), str(Path(rest or scheme).absolute()))
        # What Hadoop calls s3a is s3 to pyarrow; deltalake knows both.
        try:
            return cls(*fs.FileSystem.from_uri(f"{'s3' if scheme == 's3a' else scheme}://{rest}"))
        except (OSError, pa.ArrowException) as fault:
            reason = " ".join(str(fault).split())
            raise MissingDataError(
                f"the root {root} cannot be opened: {reason}; a root is a folder, or a URI that begins with "
                "s3a://, gs://, abfss:// or hdfs://"
            ) from fault

    def check_for_delta(self) -> None:
        """Raise a MissingDataError for a path that deltalake would take for another."""
        if self.is_local and (misread := _MISREAD.search(self.path)):
            what = f"deltalake takes {misread[0]} in a path for another character"
            raise MissingDataError(f"the root {self.path} cannot be opened: {what}; rename the folder")

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
        if not self.is_local:
            with self.filesystem.open_output_stream(place) as stream:
                stream.write(text.encode())
            return
        beside = f"{STAGING}/{uuid.uuid4().hex}"
        self.filesystem.create_dir(self.at(beside), recursive=True)
        try:
            with self.filesystem.open_output_stream(self.at(f"{beside}/text")) as stream:
                stream.write(text.encode())
            self.filesystem.move(self.at(f"{beside}/text"), place)
        finally:
            with suppress(OSError):
                self.remove(beside)

    def remove(self, relative: str) -> None:
        if self.kind(relative) == fs.FileType.Directory:
            self.filesystem.delete_dir(self.at(relative))

    @property
    def is_local(self) -> bool:
        """Whether a folder can be renamed in one step; an object store copies and deletes file by file."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Let one run at a time into the block, whatever its process; the lock of a killed one is free at once.

        An object store has no locks: there the block is entered without one.
        """
        if not self.is_local:
            yield
            return
        lock = Path(self.at(f"{STAGING}/{name}.lock"))
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
