"""Storage's doorway without a JVM, for trainers, reports and people.

Parquet tables are read where their manifest says they exist; Delta tables are only read here, never written.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow import dataset, parquet

from schemas.storage import delta_log
from schemas.storage import partitions as storage
from schemas.storage.root import Root
from schemas.storage.staging import Staged, publish, stage
from schemas.table import MissingDataError, Table, partition

# Small batches: a row of `retrievals` holds hundreds of ids, and nobody may hold a table of them.
SCAN = {"batch_size": 4096, "batch_readahead": 4, "fragment_readahead": 2}

_ROWS_PER_GROUP = 8192
_ROWS_PER_FILE = 32 * _ROWS_PER_GROUP


class Snapshot:
    """A root whose Delta tables each have one version for a whole run; stands for the root's path in this module.

    A table is opened when it is first read and stays at the version that it has then, whatever is committed later.
    """

    def __init__(self, root: str):
        self._root = str(root)
        self._opened: dict[str, DeltaTable | None] = {}

    def __str__(self) -> str:
        return self._root

    def opened(self, table: Table) -> DeltaTable | None:
        """The table at this run's version; None if it did not exist when the run first looked."""
        if table.path not in self._opened:
            self._opened[table.path] = _newest(self._root, table)
        return self._opened[table.path]

    @property
    def versions(self) -> dict[str, int]:
        """Path -> version of the Delta tables that were read."""
        return {path: held.version() for path, held in sorted(self._opened.items()) if held is not None}


def files(root: str | Snapshot, table: Table, day: date) -> list[str]:
    """Paths of the Parquet files of one date, sorted, for `filesystem(root)`.

    Raises:
        MissingDataError: the date does not exist, or other files are there than its manifest counted.
    """
    return [info.path for info in storage.files(Root.of(root), table, day)]


def read(root: str | Snapshot, table: Table, day: date, columns: Sequence[str] | None = None) -> pa.Table:
    """One date of a table, in memory, without the `date` column.

    Args:
        columns: the columns to read; all if None, an open table's further attributes too.

    Raises:
        MissingDataError: the date does not exist.
        ContractError: the files do not have the contract's columns.
    """
    if table.storage == "delta":
        if day not in dates(root, table):
            raise MissingDataError(_absent(root, table, day))
        source = delta(root, table).to_pyarrow_dataset()
        return source.to_table(columns=_selected(table, source.schema, columns), filter=pc.field("date") == day)
    source = dataset.dataset(files(root, table, day), filesystem=Root.of(root).filesystem)
    check(table, _with_added(table, source.schema))
    return source.to_table(columns=_selected(table, source.schema, columns))


def stream(root: str | Snapshot, table: Table, day: date, columns: Sequence[str]) -> tuple[pa.RecordBatchReader, int]:
    """One date of a Delta table in batches that need not fit in memory together, and the version they are of.

    A date that was replaced by no rows is there too, and has none.

    Raises:
        MissingDataError: the date does not exist.
    """
    held = delta(root, table)
    partitions = {part["date"] for part in held.partitions()}
    if day.isoformat() not in partitions and not any(delta_log.replacements(Root.of(root), table, day)):
        raise MissingDataError(_absent(root, table, day))
    source = held.to_pyarrow_dataset()
    selected = _selected(table, source.schema, columns)
    return source.scanner(columns=selected, filter=pc.field("date") == day, **SCAN).to_reader(), held.version()


def dates(root: str | Snapshot, table: Table) -> list[date]:
    """The dates of a table that exist, sorted; none if the table does not exist."""
    place = Root.of(root)
    if table.storage == "parquet":
        return storage.dates(place, table)
    held = _handle(root, table)
    return sorted({date.fromisoformat(part["date"]) for part in held.partitions()}) if held else []


def newest_date(root: str | Snapshot, table: Table, last: date, days: int | None = None) -> date | None:
    """The newest date of a table at or before `last`, at most `days` before it; None if there is none."""
    present = [day for day in dates(root, table) if day <= last and (days is None or (last - day).days <= days)]
    return max(present, default=None)


def delta(root: str | Snapshot, table: Table) -> DeltaTable:
    """The newest version of a Delta table, or that of a snapshot: its version, history and files.

    Raises:
        MissingDataError: there is no such table.
    """
    held = _handle(root, table)
    if held is None:
        raise MissingDataError(f"there is no {table.path} below {Root.of(root).path}")
    return held


def _handle(root: str | Snapshot, table: Table) -> DeltaTable | None:
    return root.opened(table) if isinstance(root, Snapshot) else _newest(root, table)


def _newest(root: str, table: Table) -> DeltaTable | None:
    place = Root.of(root)
    if not delta_log.exists(place, table):
        return None
    place.check_for_delta()
    return DeltaTable(f"{str(root).rstrip('/')}/{table.path}" if "://" in str(root) else place.at(table.path))


def write(root: str, table: Table, day: date, rows: pa.Table, made_from: dict, settings: dict) -> dict:
    """Replace one date of a Parquet table; returns its manifest.

    Raises:
        ContractError: the rows do not have the contract's columns; nothing is written.
    """
    return write_at(root, table, day, partition(table, day), rows, made_from, settings)


def write_at(root: str, table: Table, day: date, folder: str, rows: pa.Table, made_from: dict, settings: dict) -> dict:
    """Like `write`, into a folder of one's own choice: a landing folder, for one."""
    with Writer(root, table, day, folder, made_from, settings) as writer:
        writer.write(rows)
    return writer.manifest


class Writer:
    """Replaces one date with rows that come in pieces and need not fit in memory.

    Used as a context: the pieces go to files beside the folder, which is swapped in when the block ends well
    and left as it was when it does not; `manifest` is there afterwards. Without any rows the date has none.

    Raises:
        ContractError: a piece does not have the contract's columns.
        ConflictError: another run replaced the date meanwhile; its rows stay.
    """

    def __init__(self, root: str, table: Table, day: date, folder: str, made_from: dict, settings: dict):
        self.place, self.table, self.day, self.folder = Root.of(root), table, day, folder
        self.made_from, self.settings = made_from, settings
        self.manifest: dict = {}
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._rows = self._parts = 0
        self._file: parquet.ParquetWriter | None = None
        # In the files' names: a reader half way through what other inputs or settings gave misses its next file,
        # rather than going on with this version's.
        version = json.dumps([table.fingerprint, made_from, settings], sort_keys=True)
        self._version = hashlib.sha256(version.encode()).hexdigest()[:8]
        self._staged: Staged
        self._stack = ExitStack()

    def __enter__(self) -> "Writer":
        with ExitStack() as stack:
            self._staged = stack.enter_context(stage(self.place, self.folder))
            stack.callback(self._close)
            self.place.filesystem.create_dir(self.place.at(self._staged.folder), recursive=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, *_) -> None:
        with self._stack:
            if kind is None:
                self._flush(pa.concat_tables(self._waiting or [self.table.schema.empty_table()]))
                self._file.close()
                self.manifest = publish(self._staged, self.table, self.day, self.made_from, self.settings)

    def _close(self) -> None:
        with suppress(OSError):  # a full disk fails here once more; the first error is the one to tell
            if self._file:
                self._file.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows: whole row groups go to a file, the rest waits for the next piece."""
        check(self.table, rows.schema)
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= _ROWS_PER_GROUP:
            waiting = pa.concat_tables(self._waiting)
            whole = len(waiting) - len(waiting) % _ROWS_PER_GROUP
            self._flush(waiting.slice(0, whole))
            self._waiting, self._waiting_rows = [waiting.slice(whole)], len(waiting) - whole

    def _flush(self, rows: pa.Table) -> None:
        if self._parts and not len(rows):
            return
        if self._file and self._rows >= _ROWS_PER_FILE:
            self._file.close()
            self._file, self._rows = None, 0
        if self._file is None:
            name = f"part-{self._parts:05}-{self._version}.parquet"
            path = self.place.at(f"{self._staged.folder}/{name}")
            self._file = parquet.ParquetWriter(path, rows.schema, filesystem=self.place.filesystem, compression="zstd")
            self._parts += 1
        self._file.write_table(rows, row_group_size=_ROWS_PER_GROUP)
        self._rows += len(rows)


def check(table: Table, schema: pa.Schema) -> None:
    """Raise a ContractError unless the schema has the table's columns with the table's types."""
    wanted = {field.name: _type_name(field.type) for field in table.schema}
    table.check_columns({field.name: _type_name(field.type) for field in schema}, wanted)


def _selected(
    table: Table, schema: pa.Schema, columns: Sequence[str] | None
) -> dict[str, dataset.Expression] | list[str]:
    """The columns to read; null for those that tables of an earlier release lack."""
    names = list(columns) if columns else [name for name in _with_added(table, schema).names if name != "date"]
    types = {column.name: column.type for column in table.lacking(schema.names)}
    if not types.keys() & set(names):
        return names
    return {name: pc.scalar(pa.scalar(None, types[name])) if name in types else pc.field(name) for name in names}


def _with_added(table: Table, schema: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *(pa.field(column.name, column.type) for column in table.lacking(schema.names))])


def _absent(root: str, table: Table, day: date) -> str:
    known = dates(root, table)
    there = f"dates there: {known[0]} to {known[-1]}" if known else "no date of it is there"
    return f"{table.path} has no date {day} below {Root.of(root).path}; {there}"


def _type_name(kind: pa.DataType) -> str:
    """A type's name in which the name of a list's element field does not count."""
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)
