"""How a folder below a root comes to be replaced: written beside its place, swapped in, manifest last.

    _staging/<run>/new/<place>        what a run is writing; every run has a folder of its own
    _staging/<run>/retired/<place>    what it replaced, from the moment it is moved away until the new one is in

A kill at any moment leaves the old folder, the new one, or none that has a manifest, which a run of the job mends.
Where folders can be renamed one run swaps at a time, and between the two renames nothing is there. An object store
copies and deletes: the manifest goes first, then the old files, then the new ones come, and the manifest last, once
exactly they are there. It has no locks either: each run looks before it touches anything, before its manifest and
after it, and gives way if it finds another's traces. Two runs that swap at the same moment may both lose, and say
so; so a scheduler should not start one date twice.
"""

import json
import os
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pyarrow import fs, parquet

from schemas.storage.partitions import MANIFEST
from schemas.storage.root import STAGING, Root
from schemas.table import ConflictError, Table

# A folder's state: its manifest's text if it has one, and each file's path below it and size.
_State = tuple[str | None, dict[str, int]]


@dataclass(frozen=True)
class Staged:
    """One run's new version of the folder `place`; `found` is the state that the run saw there when it began."""

    root: Root
    place: str
    run: str
    found: _State
    manifest: str = MANIFEST

    @property
    def folder(self) -> str:
        """Where the new version is written, relative to the root; not there yet."""
        return f"{STAGING}/{self.run}/new/{self.place}"

    @property
    def retired(self) -> str:
        return f"{STAGING}/{self.run}/retired/{self.place}"


@contextmanager
def stage(root: Root, place: str, manifest: str = MANIFEST) -> Iterator[Staged]:
    """A folder beside `place` to write its new version into, removed at the end if it was not swapped in.

    Args:
        manifest: name of the file without which `place` does not exist.
    """
    with root.locked("swap"):
        found = _state(root, place, manifest)
    staged = Staged(root, place, uuid.uuid4().hex, found, manifest)
    try:
        yield staged
    finally:
        # What cannot be removed is a leftover; it must not hide why the block failed, nor fail one that is done.
        with suppress(OSError):
            only_copy = root.exists(staged.retired) and not root.exists(place)
            root.remove(staged.folder if only_copy else f"{STAGING}/{staged.run}")


def publish(
    staged: Staged, table: Table, day: date, made_from: dict, settings: dict, engine: str | None = None
) -> dict:
    """Count what was staged for one date, write its manifest and swap it in; returns the manifest.

    Args:
        made_from: input table -> Delta version, or manifest identity for a Parquet input.
        settings: every setting and seed that the rows depend on.
        engine: what wrote the files, with its version; None if it was pyarrow.

    Raises:
        ConflictError: another run published this date meanwhile; its result stays.
    """
    root = staged.root
    files = root.files(staged.folder, ".parquet")
    manifest = {
        "table": table.path,
        "date": day.isoformat(),
        "rows": sum(_rows(root, info.path) for info in files),
        "bytes": sum(info.size for info in files),
        "contract": table.fingerprint,
        "made_from": made_from,
        "seed": settings.get("seed"),
        "settings": settings,
        **({"engine": engine} if engine else {}),
    }
    root.write_text(f"{staged.folder}/{staged.manifest}", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    swap(staged)
    return manifest


def carry_over(staged: Staged, name: str) -> None:
    """Take a file of the version that stands into the new one as it is; on a local disk, without a copy."""
    root = staged.root
    source, target = root.at(f"{staged.place}/{name}"), root.at(f"{staged.folder}/{name}")
    root.filesystem.create_dir(posixpath.dirname(target), recursive=True)
    if root.is_local:
        with suppress(OSError):  # a disk without links
            os.link(source, target)
            return
    root.filesystem.copy_file(source, target)


def swap(staged: Staged) -> None:
    """Put what was staged, its manifest included, in its place.

    Raises:
        ConflictError: another run changed the place since this one began; what it left there stays.
    """
    root, place = staged.root, staged.place
    with root.locked("swap"):
        if _state(root, place, staged.manifest) != staged.found:
            raise _conflict(staged, "was replaced by another run while this one wrote it; the other's rows stay")
        if root.is_local:
            _rename(staged)
        else:
            _copy(staged)


def withdraw(root: Root, place: str) -> None:
    """Make the folder `place` not exist any more; a kill on the way leaves one without a manifest."""
    with root.locked("swap"):
        if root.exists(f"{place}/{MANIFEST}"):
            root.filesystem.delete_file(root.at(f"{place}/{MANIFEST}"))
        root.remove(place)


@dataclass(frozen=True)
class Leftover:
    """What a run left in `_staging`: its folder, relative to the root, and when anything in it last changed.

    `only_copy_of` names the place that does not exist now and whose last version lies here, because the run was
    killed between two renames; a run of its job mends it. Empty if there is none.
    """

    folder: str
    modified: datetime
    size: int
    only_copy_of: str


def leftovers(root: Root, before: datetime) -> list[Leftover]:
    """The folders in `_staging` in which nothing changed since `before`, sorted.

    A run that lives may be silent for as long as its longest task: `before` has to lie further back than that.
    """
    selector = fs.FileSelector(root.at(STAGING), allow_not_found=True)
    runs = [info.path for info in root.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory]
    found = [_leftover(root, posixpath.relpath(run, root.path)) for run in sorted(runs)]
    return [one for one in found if one and one.modified < before.astimezone(UTC)]


def _leftover(root: Root, folder: str) -> Leftover | None:
    within = root.filesystem.get_file_info(fs.FileSelector(root.at(folder), recursive=True, allow_not_found=True))
    # A retired file keeps the time at which it was written: the folders' own times count too, where there are any.
    times = [info.mtime for info in [root.filesystem.get_file_info(root.at(folder)), *within] if info.mtime]
    if not times:
        return None
    retired = _sizes(root, f"{folder}/retired")
    place = posixpath.commonpath(map(posixpath.dirname, retired)) if retired else ""
    size = sum(info.size or 0 for info in within)
    return Leftover(folder, max(times).astimezone(UTC), size, "" if not place or root.exists(place) else place)


def _rename(staged: Staged) -> None:
    root, place, retired = staged.root, staged.place, staged.retired
    for path in (place, retired):
        root.filesystem.create_dir(posixpath.dirname(root.at(path)), recursive=True)
    try:
        if root.exists(place):
            root.filesystem.move(root.at(place), root.at(retired))
        root.filesystem.move(root.at(staged.folder), root.at(place))
    except BaseException:
        if root.exists(retired) and not root.exists(place):
            root.filesystem.move(root.at(retired), root.at(place))
        raise


def _copy(staged: Staged) -> None:
    root, place = staged.root, staged.place
    manifest, (said, new) = f"{place}/{staged.manifest}", _state(root, staged.folder, staged.manifest)
    try:
        if staged.found[0] is not None:
            root.filesystem.delete_file(root.at(manifest))
        for path in staged.found[1]:
            root.filesystem.delete_file(root.at(f"{place}/{path}"))
    except FileNotFoundError as fault:
        raise _conflict(staged, "is being replaced by another run too; the place may be empty now") from fault
    for folder in sorted({posixpath.dirname(f"{place}/{path}") for path in new} | {place}):
        root.filesystem.create_dir(root.at(folder), recursive=True)
    for path in new:
        root.filesystem.move(root.at(f"{staged.folder}/{path}"), root.at(f"{place}/{path}"))
    mixed = "was replaced by two runs at once; this one gave way, and the place may be empty now"
    there = _state(root, place, staged.manifest)
    if there == (said, new):
        return  # of two runs with the same inputs and settings, whose files have the same names, the other was faster
    if there != (None, new):
        for path in new.keys() & there[1].keys():
            root.filesystem.delete_file(root.at(f"{place}/{path}"))
        raise _conflict(staged, mixed)
    root.filesystem.move(root.at(f"{staged.folder}/{staged.manifest}"), root.at(manifest))
    if _sizes(root, place).keys() != {staged.manifest, *new}:
        root.filesystem.delete_file(root.at(manifest))
        raise _conflict(staged, mixed)


def _state(root: Root, place: str, manifest: str) -> _State:
    sizes = _sizes(root, place)
    if sizes.pop(manifest, None) is None:
        return None, sizes
    try:
        return root.read_text(f"{place}/{manifest}"), sizes
    except FileNotFoundError:  # another run's swap has begun
        return None, sizes


def _sizes(root: Root, folder: str) -> dict[str, int]:
    """Each file below a folder, hidden ones too, and its size."""
    selector = fs.FileSelector(root.at(folder), recursive=True, allow_not_found=True)
    found = [info for info in root.filesystem.get_file_info(selector) if info.is_file]
    return {posixpath.relpath(info.path, root.at(folder)): info.size for info in found}


def _conflict(staged: Staged, what: str) -> ConflictError:
    return ConflictError(f"{staged.place} below {staged.root.path} {what}; run this again, alone")


def _rows(root: Root, path: str) -> int:
    with root.filesystem.open_input_file(path) as source:
        return parquet.read_metadata(source).num_rows
