"""Landed files that an engine cannot read, written anew as plain ones while a job runs.

Nanoseconds become whole numbers, UUIDs bytes, dictionaries and columns of nulls what they hold: the types of
`casts.read_type`. Rows keep their order. A file is rewritten row group by row group, so none has to fit in memory.
"""

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pyarrow as pa
from pyarrow import parquet

from jobs.ingestion.landing import Landed
from jobs.ingestion.parquet_files import File, cause, is_list, landed_type, open_parquet
from schemas.storage.root import STAGING, Root
from schemas.table import ContractError

_ROWS_AT_ONCE = 16_384
_AT_ONCE = 4  # files
_PLAIN = {
    "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "boolean": pa.bool_(), "string": pa.string(), "binary": pa.binary(), "date": pa.date32(),
    "null": pa.int32(), "nanos": pa.int64(), "uuid": pa.binary(), "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}  # fmt: skip


class Copies:
    """The plain copies of one run, in a folder of their own below `_staging`."""

    def __init__(self, place: Root, usual_only: bool = False):
        """
        Args:
            place: the root that the engine can read below.
            usual_only: whether the engine reads usual types only.
        """
        self.place, self._usual_only = place, usual_only
        self.folder = f"{STAGING}/{uuid.uuid4().hex}"
        self._made: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, landed: Landed) -> Landed:
        """The same, with a plain copy of each file that needs one.

        Raises:
            ContractError: a file cannot be read at all.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dataclasses.replace(landed, files=tuple(pool.map(self._of_file, landed.files)))

    def _of_file(self, file: File) -> File:
        odd = file.oddity or (file.unusual if self._usual_only else "")
        if not odd or not file.rows:
            return file
        with self._lock:
            path = self._made.setdefault(file.path, self.place.at(f"{self.folder}/{len(self._made):05}.parquet"))
            self.place.filesystem.create_dir(self.place.at(self.folder), recursive=True)
        self._make(file, odd, path)
        return dataclasses.replace(file, plain_copy=path)

    def _make(self, file: File, odd: str, path: str) -> None:
        with self.place.filesystem.open_output_stream(path) as sink:
            writer = None
            try:
                for batch in plain_batches(self.place, file):
                    writer = writer or parquet.ParquetWriter(sink, batch.schema, compression="zstd")
                    writer.write_batch(batch)
            except (pa.ArrowException, OSError) as fault:
                raise ContractError(f"{file.path} cannot be read: {cause(fault)} (it has {odd})") from fault
            finally:
                if writer:
                    writer.close()


@contextmanager
def copies(place: Root, usual_only: bool = False) -> Iterator[Copies]:
    """Plain copies that are gone after the block."""
    made = Copies(place, usual_only)
    try:
        yield made
    finally:
        with suppress(OSError):
            place.remove(made.folder)


def plain_batches(place: Root, file: File) -> Iterator[pa.RecordBatch]:
    """A file's rows in order, without the columns that no log can hold."""
    wanted = [name for name, kind in file.types.items() if kind is not None]
    with open_parquet(place, file.path) as opened:
        some = None if len(wanted) == len(file.types) else wanted
        for batch in opened.iter_batches(_ROWS_AT_ONCE, columns=some, use_threads=False):
            columns = [_plain(batch.column(name)) for name in wanted]
            yield pa.RecordBatch.from_arrays(columns, names=wanted)


def _plain(values: pa.Array) -> pa.Array:
    wanted = _plain_type(values.type)
    return values if values.type == wanted else values.cast(wanted, safe=False)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    landed = landed_type(kind)
    if landed.startswith("decimal"):
        precision, scale = map(int, landed[len("decimal(") : -1].split(","))
        return pa.decimal128(precision, scale)
    return _PLAIN[landed]
