"""A date that is written again and again, in versions that can be told apart; also by processes that get killed."""

import os
import signal
from contextlib import contextmanager
from datetime import date
from multiprocessing.connection import Connection
from unittest import mock

import pyarrow as pa

from schemas.storage import arrow
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.table import Column, ConflictError, Table, partition
from tests.support.faulty import Steps, filesystem

DAY = date(2020, 1, 1)
TABLE = Table(
    "versions", "reports", "The rows of a version are numbered.", ("number",),
    (Column("number", pa.int64(), ""), Column("version", pa.int64(), "")),
)  # fmt: skip
PLACE = partition(TABLE, DAY)


# Of `arrow`: small files.
SMALL = {"_ROWS_PER_GROUP": 10, "_ROWS_PER_FILE": 20}


def rows_of(version: int) -> int:
    return 12 + 7 * version % 20


def write(root: str, version: int) -> None:
    """Replace the date by this version, in one or two files."""
    rows = pa.table([range(rows_of(version)), [version] * rows_of(version)], schema=TABLE.schema)
    arrow.write(root, TABLE, DAY, rows, {}, {"version": version})


def version_there(root: str) -> int | None:
    """The version that stands, None if none does; fails on anything that is no version, whole."""
    if not Root.of(root).exists(f"{PLACE}/{MANIFEST}"):
        return None
    rows = arrow.read(root, TABLE, DAY)
    (version,) = set(rows["version"].to_pylist())
    assert rows["number"].to_pylist() == list(range(rows_of(version)))
    return version


@contextmanager
def reached_by(name: str, kind: str, steps: Steps, root: str):
    """Within the block `name` is a root: the folder `root` behind a file system with steps."""
    of, made = Root.of, Root(filesystem(kind, steps), root)
    with mock.patch.object(Root, "of", lambda asked: made if asked == name else of(asked)):
        yield


def write_on(root: str, first: int, by: int, done: Connection) -> None:
    """Write versions first, first + by, … until killed; each is sent when it stands, its negative if it gave way."""
    version = first
    vars(arrow).update(SMALL)
    while True:
        try:
            write(root, version)
            done.send(version)
        except ConflictError:
            done.send(-version)
        version += by


def die_at(root: str, version: int, step: int) -> None:
    """Write one version, killed at one step; exits with 0 if there are fewer steps."""

    def kill(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    vars(arrow).update(SMALL)
    with reached_by("dying", "local", Steps(kill), root):
        write("dying", version)


def write_as_anybody(root: str, version: int, told: Connection) -> None:
    """Write one version without root's rights, and tell what came of it."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        write(root, version)
        told.send("written")
    except OSError as fault:
        told.send(str(fault))
