"""Landing files as rows with the contract's columns, whatever types each file has."""

import dataclasses
import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from pyarrow import parquet
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.ingestion import casts
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.storage.spark import Store, fault_in_one_line, sql_type
from schemas.table import Column as ContractColumn
from schemas.table import ContractError, MissingDataError, Table, landing
from schemas.tables.logs import LOGS

# Beside the contract's columns, each row of `rows` has these; an attribute's name cannot start with `_`.
WRONG_TYPE = "_wrong_type"  # name of its first column that does not cast, or null
ORIGINAL = "_original"  # struct of the columns as quarantine keeps them
FILE, ROW = "_file", "_row"  # where it was landed

_ATTRIBUTE_NAME = re.compile(r"[^_ ,;{}()\n\t=`][^ ,;{}()\n\t=`]*")
_ATTRIBUTE_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), pa.int64()),
    **dict.fromkeys(("float", "double", "decimal"), pa.float64()),
    "string": pa.string(),
    "null": None,
}
_SCALARS = {
    "int8": "tinyint", "uint8": "smallint", "int16": "smallint", "uint16": "int", "int32": "int", "uint32": "bigint",
    "int64": "bigint", "uint64": "decimal(20,0)", "float": "float", "double": "double", "bool": "boolean",
    "string": "string", "large_string": "string", "string_view": "string", "binary": "binary",
    "large_binary": "binary", "binary_view": "binary", "date32[day]": "date", "date64[ms]": "date", "null": "null",
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """One Parquet file: its rows and the landed type of each column; None if Spark cannot read that type."""

    path: str
    rows: int
    types: dict[str, str | None]


@dataclass(frozen=True)
class Landed:
    """One date of one table as producers dropped it.

    `table` is the contract with the attributes of this date's files as further columns; `dropped` says of each
    column that is not taken over in how many rows it was.
    """

    table: Table
    files: tuple[File, ...]
    dropped: dict[str, int]

    @property
    def row_count(self) -> int:
        return sum(file.rows for file in self.files)

    def groups(self) -> dict[tuple, list[str]]:
        """Paths of the files that have rows, by the landed types of the columns that are taken over."""
        found: dict[tuple, list[str]] = {}
        for file in self.files:
            if file.rows:
                found.setdefault(tuple(file.types.get(name) for name in self.table.names), []).append(file.path)
        return found


def find(root: str, table: Table, day: date) -> Landed | None:
    """What was landed of a table for a date; None if an optional table has nothing.

    Raises:
        MissingDataError: the table is not optional and its folder is missing or has no Parquet file.
        ContractError: a file is no Parquet file, or a column of the contract has a type that cannot be read.
    """
    place, folder = Root.of(root), landing(table, day)
    paths = [info.path for info in place.files(folder, ".parquet")]
    if not paths:
        if table.optional and not place.files(folder):
            return None
        raise MissingDataError(
            f"{folder} has no .parquet file below {place.path}; a Parquet file without rows says that nothing happened"
        )
    with ThreadPoolExecutor(8) as pool:
        files = tuple(pool.map(lambda path: _file(place, path), paths))
    return _contract(root, table, files)


def fingerprint(root: str, day: date) -> str | None:
    """Names the files that are landed for a date: another name once one is added, taken away or written again.

    None if a table that is not optional has none: raw logs may be cleared away once they are ingested.
    """
    place, told = Root.of(root), []
    for table in LOGS:
        files = place.files(landing(table, day), ".parquet")
        if not files and not table.optional:
            return None
        told += [f"{info.path.removeprefix(place.path)} {info.size} {info.mtime_ns}" for info in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def rows(store: Store, landed: Landed) -> DataFrame:
    """Every landed row: the contract's columns, null where a value does not cast, and this module's own four.

    There has to be at least one row.
    """
    table, groups = landed.table, landed.groups()
    kept_as_text = [name for name in table.names if pa.types.is_string(quarantine_type(landed, name))]
    frames = [_read(store, table, types, paths, kept_as_text) for types, paths in groups.items()]
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole


def unreadable_files_named() -> AbstractContextManager[None]:
    """Say in one line which landing file's pages Spark could not read.

    Raises:
        ContractError: there was such a file.
    """
    told = "{} cannot be read: its footer is whole, its pages are not"
    return fault_in_one_line(r"FAILED_READ_FILE.*? reading file (\S*\.parquet)", told)


def quarantine_type(landed: Landed, name: str) -> pa.DataType:
    """The contract's type if each file's type always fits it, else text."""
    wanted = _column(landed.table, name).type
    index = landed.table.names.index(name)
    types = {group[index] for group in landed.groups()} - {None}
    fits = all(casts.cast(F.col(name), kind, sql_type(wanted)).loses is None for kind in types)
    return wanted if fits else pa.string()


def _file(place: Root, path: str) -> File:
    try:
        with place.filesystem.open_input_file(path) as source, parquet.ParquetFile(source) as opened:
            physical = opened.metadata.schema
            leaves = map(physical.column, range(len(physical)))
            old_times = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
            fields = opened.schema_arrow
            twice = [name for name, count in Counter(fields.names).items() if count > 1]
            if twice:
                raise ContractError(f"{path} has the column {twice[0]} {fields.names.count(twice[0])} times")
            types = {
                field.name: "timestamp" if field.name in old_times else _landed_type(field.type) for field in fields
            }
            return File(path, opened.metadata.num_rows, types)
    except (pa.ArrowException, OSError) as fault:
        raise ContractError(f"{path} cannot be read as Parquet: {str(fault).splitlines()[0]}") from fault


def _landed_type(kind: pa.DataType) -> str | None:
    if pa.types.is_dictionary(kind):
        return _landed_type(kind.value_type)
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.precision <= 38 else None
    if pa.types.is_timestamp(kind):
        return "nanos" if kind.unit == "ns" else "timestamp" if kind.tz else "timestamp_ntz"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _landed_type(kind.value_type)
        return inner and f"array<{inner}>"
    return _SCALARS.get(str(kind))


def _contract(root: str, table: Table, files: tuple[File, ...]) -> Landed:
    faults = [
        f"{file.path}: column {column.name} has a type that cannot be read, should be {column.type}"
        for file in files
        for column in table.columns
        if file.rows and column.name in file.types and file.types[column.name] is None
    ]
    present = {name for file in files if file.rows for name in file.types}
    extra = present - set(table.names)
    recorded = _recorded_attributes(root, table) if table.open else {}
    attributes = {name: recorded.get(name) or _attribute_type(files, name) for name in sorted(extra) if table.open}
    attributes = {name: kind for name, kind in attributes.items() if kind is not None}
    spelled: dict[str, str] = {}
    for name in [*table.names, *recorded, *sorted(extra)]:
        other = spelled.setdefault(name.lower(), name)
        if other != name:
            faults.append(f"columns {other} and {name} differ only by case")
    if faults:
        raise ContractError(f"{table.path} cannot take over what was landed: " + "; ".join(faults))
    columns = (ContractColumn(name, kind, "An attribute.", nullable=True) for name, kind in attributes.items())
    dropped = {name: sum(file.rows for file in files if name in file.types) for name in sorted(extra - set(attributes))}
    return Landed(dataclasses.replace(table, columns=(*table.columns, *columns)), files, dropped)


def _recorded_attributes(root: str, table: Table) -> dict[str, pa.DataType]:
    """The attributes that the log already has, whose types stay."""
    try:
        schema = pa.schema(arrow.delta(root, table).schema().to_arrow())
    except MissingDataError:
        return {}
    kinds = {"int64": pa.int64(), "double": pa.float64(), "string": pa.string()}
    taken = {*table.names, "date"}
    return {field.name: kinds[str(field.type)] for field in schema if field.name not in taken}


def _attribute_type(files: tuple[File, ...], name: str) -> pa.DataType | None:
    """A whole number, a number or text, whichever holds what every file has; None for anything else."""
    if name in ("date", "reason") or not _ATTRIBUTE_NAME.fullmatch(name):
        return None
    landed = {str(file.types[name]).split("(")[0] for file in files if file.rows and name in file.types}
    if not landed <= set(_ATTRIBUTE_TYPES):
        return None
    kinds = {_ATTRIBUTE_TYPES[kind] for kind in landed} - {None}
    if pa.string() in kinds:
        return pa.string()
    return pa.float64() if pa.float64() in kinds else pa.int64() if kinds else None


def _column(table: Table, name: str) -> ContractColumn:
    return table.columns[table.names.index(name)]


def _read(store: Store, table: Table, types: tuple, paths: list[str], kept_as_text: list[str]) -> DataFrame:
    """The files of one group, which agree in the types of every column that is taken over."""
    landed = {name: kind for name, kind in zip(table.names, types, strict=True) if kind is not None}
    schema = ", ".join(f"`{name}` {casts.read_type(kind)}" for name, kind in landed.items())
    # The lookup keeps Spark from taking `date=` in the path for a column.
    frame = store.spark.read.schema(schema).option("recursiveFileLookup", "true").parquet(*map(_uri(store), paths))
    values, wrong, original = [], [], []
    for column in table.columns:
        source, kind = F.col(f"`{column.name}`"), landed.get(column.name, "null")
        source = F.lit(None).cast("int") if column.name not in landed else source
        made = casts.cast(source, kind, sql_type(column.type))
        value = made.value if table.open else _absent_scores(column.name, made.value)
        values.append(value.alias(column.name))
        if made.loses is not None:
            wrong.append(F.when(made.loses, F.lit(column.name)))
        kept: Column = casts.text(source, kind) if column.name in kept_as_text else made.value
        original.append(kept.alias(column.name))
    return frame.select(
        *values,
        F.coalesce(*wrong, F.lit(None).cast("string")).alias(WRONG_TYPE),
        F.struct(*original).alias(ORIGINAL),
        F.col("_metadata.file_path").alias(FILE),
        F.col("_metadata.row_index").alias(ROW),
    )


def _absent_scores(name: str, value: Column) -> Column:
    """Null scores mean that there are none."""
    return F.coalesce(value, F.array().cast("array<float>")) if name == "scores" else value


def _uri(store: Store):
    """From a path of the root's file system to what Spark opens."""
    return lambda path: store.uri(path.removeprefix(store.root.path).lstrip("/"))
