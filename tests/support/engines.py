"""Spark and Sail in one process, by turns, and tables compared by content."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pyarrow as pa
from pyarrow import parquet

from schemas.storage import arrow
from schemas.storage.engines import ENGINE
from schemas.table import Table, partition

_CONNECT_MODE = "SPARK_CONNECT_MODE_ENABLED"


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Within the block jobs run on this engine; Spark has to be started by the fixture `spark`."""
    earlier = {key: os.environ.get(key) for key in (ENGINE, _CONNECT_MODE)}
    os.environ[ENGINE] = name
    if name == "spark":
        os.environ.pop(_CONNECT_MODE, None)
    try:
        yield
    finally:
        for key, value in earlier.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def content(root, table: Table, day: date) -> list[dict]:
    """The rows of one date, each as a dict, in an order that depends on the rows alone."""
    return sorted(arrow.read(str(root), table, day).to_pylist(), key=repr)


def written_types(root, table: Table, day: date) -> list[tuple[str, str]]:
    """The columns of a date's files and their types; a list's element has another name in each engine's files."""
    folder = f"{root}/{partition(table, day)}"
    files = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
    (kinds,) = {tuple((f.name, _plain(f.type)) for f in parquet.read_schema(f"{folder}/{name}")) for name in files}
    return list(kinds)


def _plain(kind: pa.DataType) -> str:
    return f"list<{_plain(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)
