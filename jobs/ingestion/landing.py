"""Landing files as rows with the contract's columns, whatever names and types each file has."""

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.ingestion import attributes, casts, folders, parquet_files, sources, text_ids, units
from jobs.ingestion.casts import Cast
from jobs.ingestion.parquet_files import File
from jobs.ingestion.sources import Source, quoted
from schemas.storage.root import Root
from schemas.storage.settings import ID_COLUMNS, LogSettings, RootSettings
from schemas.storage.spark import ENGINE_FAULTS, Store, sql_type
from schemas.table import Column as ContractColumn
from schemas.table import ContractError, MissingDataError, Table, landing

# Beside the contract's columns, each row of `rows` has these; an attribute's name cannot start with `_`.
WRONG_TYPE = "_wrong_type"  # name of its first column that does not cast, or null
ORIGINAL = "_original"  # struct of the columns as quarantine keeps them
FOLDER = "_folder"  # the date of its landing folder
WORD = "_word"  # the reason to set it aside for a word that is mapped to nothing, or null
TRUNCATED = "_truncated"  # how many of its times were cut off below a microsecond
FILE, ROW = "_file", "_row"  # where it was landed
IN_TEXT = " as text"  # in WRONG_TYPE, after an id that would be kept as text

_READING = re.compile(r"FAILED_READ_FILE|PATH_NOT_FOUND|Parquet error|Arrow error|[Ii]nvalid UTF-?8")


@dataclass(frozen=True)
class Landed:
    """The landing folders of one table that a date reads, as producers dropped them.

    `contract` is the log's contract, `table` the same with the attributes of these files as further columns;
    `dropped` says of each column that is not taken over in how many rows it was, `retyped` which attributes of the log
    get another type.
    """

    contract: Table
    table: Table
    files: tuple[File, ...]
    dropped: dict[str, int]
    settings: RootSettings
    retyped: dict[str, pa.DataType] = field(default_factory=dict)

    @property
    def row_count(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def log(self) -> LogSettings:
        return self.settings.log(self.contract)

    @property
    def text_ids(self) -> tuple[str, ...]:
        """The id columns that are text in the files."""
        names = (*ID_COLUMNS, "item_ids")
        return tuple(name for name in self.contract.names if name in names and self.settings.is_text(name))

    def source(self, file: File, name: str) -> Source:
        return sources.source(self.log, name, file.types, file.folders)

    def has(self, name: str) -> bool:
        """Whether some file with rows has the column."""
        return any(file.rows and self.source(file, name) != sources.NO_SOURCE for file in self.files)

    def kinds(self, name: str) -> set[str]:
        """The landed types of a column, over the files with rows."""
        return {self.source(file, name).kind for file in self.files if file.rows} - {None}

    def groups(self) -> dict[tuple[date, tuple[Source, ...]], list[str]]:
        """Paths of the files that have rows, by folder and by the sources of the columns that are taken over."""
        found: dict[tuple, list[str]] = {}
        for file in self.files:
            if file.rows:
                key = file.day, tuple(self.source(file, name) for name in self.table.names)
                found.setdefault(key, []).append(file.read_from)
        return found


def find(root: str, table: Table, day: date, settings: RootSettings, reset: Collection[str] = ()) -> Landed | None:
    """What was landed of a table for a date; None if an optional table has nothing.

    Snapshots arrive with their date. Rows of other logs may lie in the folders of the dates after it, which need not
    exist.

    Args:
        reset: attributes that take the landed type, whatever the log has.

    Raises:
        MissingDataError: the table is not optional and its folder of the date is missing or has no Parquet file.
        ContractError: a file is no Parquet file, or a column of the contract has a type that cannot be read.
        SettingsError: a column that the settings name is in no file.
    """
    require(root, table, day)
    return find_in(root, table, folders.folder_dates(table, day, settings), settings, reset)


def require(root: str, table: Table, day: date) -> None:
    """Raise a MissingDataError if a date's folder has no file but must have one."""
    place, folder = Root.of(root), landing(table, day)
    if not table.optional and not place.files(folder):
        raise MissingDataError(
            f"{folder} has no Parquet file below {place.path}; a Parquet file without rows says that nothing happened"
        )


def find_in(
    root: str, table: Table, days: list[date], settings: RootSettings, reset: Collection[str] = ()
) -> Landed | None:
    """What lies in these folders of a table, None if nothing does; raises as `find`, but for a missing folder."""
    place = Root.of(root)
    found = parquet_files.read_footers(place, parquet_files.landed(place, table, days))
    return of_files(root, table, found, settings, reset) if found else None


def files_in(folder: str, day: date) -> tuple[File, ...]:
    """The files of any folder, as if they were landed for a date.

    Raises:
        MissingDataError: the folder has no Parquet file.
        ContractError: a file is no Parquet file.
    """
    place = Root.of(folder)
    found = [(info, day) for info in place.files("")]
    if not found:
        raise MissingDataError(f"{folder} has no Parquet file")
    return parquet_files.read_footers(place, found)


def landed_files(root: str, table: Table, day: date, settings: RootSettings) -> tuple[File, ...]:
    """The files that `find` looks at; raises ContractError if one is no Parquet file."""
    place = Root.of(root)
    days = folders.folder_dates(table, day, settings)
    return parquet_files.read_footers(place, parquet_files.landed(place, table, days))


def of_files(
    root: str, table: Table, files: tuple[File, ...], settings: RootSettings, reset: Collection[str] = ()
) -> Landed:
    """These files as one log's; raises as `find`."""
    sources.check(table, settings)
    filled = [file for file in files if file.rows]
    if filled:
        paths = [file.path for file in filled]
        sources.check_present(table, settings.log(table), [file.types for file in filled], paths)
    return _contract(root, table, files, settings, reset)


def rows(store: Store, landed: Landed) -> DataFrame:
    """Every landed row: the contract's columns, null where a value does not cast, and this module's own.

    A column whose ids are text has its texts in `text_column(name)`. There has to be at least one row.
    """
    kept_as_text = {name for name in landed.table.names if pa.types.is_string(quarantine_type(landed, name))}
    frames = [_read(store, landed, *group, paths, kept_as_text) for group, paths in landed.groups().items()]
    return reduce(DataFrame.unionByName, frames)


def text_column(name: str) -> str:
    """The column of `rows` that has the texts of an id column."""
    return f"_text_{name}"


@contextmanager
def unreadable_files_named(root: str, landed: Collection[Landed]) -> Iterator[None]:
    """Say in one line which landing file the engine could not read, and why.

    Raises:
        ContractError: there was such a file.
    """
    try:
        yield
    except ENGINE_FAULTS as fault:
        text = str(fault)
        if not _READING.search(text):
            raise
        place = Root.of(root)
        unreadable = (parquet_files.fault(place, file) for each in landed for file in each.files)
        told = next((line for line in unreadable if line), None) or parquet_files.told_by_engine(text)
        raise ContractError(told) from fault


def quarantine_type(landed: Landed, name: str) -> pa.DataType:
    """The contract's type if each file's type always fits it whole, else text."""
    column = _column(landed.table, name)
    if name in landed.text_ids:
        return pa.string()
    kinds = landed.kinds(name)
    made = [_cast(landed, column, F.col(quoted(name)), kind) for kind in kinds]
    fits = all(each.loses is None and each.truncates is None for each in made)
    return column.type if fits else pa.string()


def _contract(
    root: str, table: Table, files: tuple[File, ...], settings: RootSettings, reset: Collection[str]
) -> Landed:
    landed = Landed(table, table, files, {}, settings)
    filled = [file for file in files if file.rows]
    faults = [
        f"{file.path}: column {source.column} has a type that cannot be read, should be {column.type}"
        for file in filled
        for column in table.columns
        for source in (landed.source(file, column.name),)
        if source.kind is None
    ]
    used = {(file.path, landed.source(file, name).column) for file in filled for name in table.names}
    extra = {name for file in filled for name in file.types if (file.path, name) not in used}
    mapped = set(landed.log.columns) | set(landed.log.constants) if table.open else set()
    recorded = attributes.recorded(root, table) if table.open else {}
    named = sorted((extra - set(landed.log.columns.values()) | mapped) - set(table.names)) if table.open else []
    taken_over, wrong = _attributes(root, landed, named, recorded, reset)
    faults += wrong
    read = {column for _, column in used if column}
    plain = [name for name in table.names if name not in landed.log.columns]
    faults += _differ_by_case([*plain, *sorted(read | extra)])
    faults += _differ_by_case([*table.names, *recorded, *taken_over])
    if faults:
        raise ContractError(f"{table.path} cannot take over what was landed: " + "; ".join(dict.fromkeys(faults)))
    columns = (ContractColumn(name, kind, "An attribute.", nullable=True) for name, kind in taken_over.items())
    whole = dataclasses.replace(table, columns=(*table.columns, *columns))
    taken = {landed.source(file, name).column for file in filled for name in whole.names}
    dropped = {name: sum(file.rows for file in files if name in file.types) for name in sorted(extra - taken)}
    retyped = {name: kind for name, kind in taken_over.items() if name in recorded and recorded[name] != kind}
    return Landed(table, whole, files, dropped, settings, retyped)


def _differ_by_case(names: list[str]) -> list[str]:
    spelled: dict[str, str] = {}
    pairs = ((spelled.setdefault(name.lower(), name), name) for name in names)
    return [f"columns {first} and {name} differ only by case" for first, name in pairs if first != name]


def _attributes(
    root: str, landed: Landed, names: list[str], recorded: Mapping[str, pa.DataType], reset: Collection[str]
) -> tuple[dict[str, pa.DataType], list[str]]:
    """Name -> type of each attribute that is taken over, and what is wrong with others."""
    taken, faults = {}, []
    for name in names:
        kind, had = _attribute_type(landed, name), recorded.get(name)
        if had is None or kind is None:
            kind = had if kind is None and landed.kinds(name) <= {"null", "array<null>"} else kind
        elif name not in reset and kind != had:
            wider = attributes.joined({kind, had})
            if wider != had and pa.types.is_string(kind) and _texts_are_numbers(root, landed, name, had):
                wider = had
            if wider is None:
                faults.append(
                    f"attribute {name} is {had} in the log and was landed as {kind}; --reset-attribute "
                    f"{landed.contract.name}.{name} takes the new type and empties the column on older dates"
                )
            kind = wider
        if kind is not None:
            taken[name] = kind
    return taken, faults


def _texts_are_numbers(root: str, landed: Landed, name: str, wanted: pa.DataType) -> bool:
    sources_of = {file.path: landed.source(file, name) for file in landed.files if file.rows}
    columns = {path: each.column for path, each in sources_of.items() if each.column and each.kind == "string"}
    constant = any(each.kind == "string" and each.column is None for each in sources_of.values())
    numbers = wanted in (attributes.INT, attributes.NUMBER) and not constant and name not in landed.log.values
    return numbers and attributes.texts_are_numbers(Root.of(root), landed.files, columns, wanted)


def _attribute_type(landed: Landed, name: str) -> pa.DataType | None:
    """The type that holds what every file has; None if there is none."""
    if not attributes.may_be_named(name):
        return None
    if name in landed.log.values:
        return attributes.TEXT
    return attributes.of_landed(landed.source(file, name).kind for file in landed.files if file.rows)


def _column(table: Table, name: str) -> ContractColumn:
    return table.columns[table.names.index(name)]


def _read(
    store: Store, landed: Landed, folder: date, group: tuple[Source, ...], paths: list[str], kept_as_text: set[str]
) -> DataFrame:
    """The files of one group, which agree in folder, names and types of every column that is taken over."""
    table = landed.table
    columns = {source.column: source.kind for source in group if source.column is not None}
    schema = ", ".join(f"{quoted(name)} {casts.read_type(kind)}" for name, kind in columns.items())
    # No column at all: Spark would look for those of the files.
    frame = store.read_files(map(_uri(store), paths), schema or "`_none` int")
    values, wrong, original, texts, words, truncated = [], [], [], [], [], []
    for column, source in zip(table.columns, group, strict=True):
        name, landed_value = column.name, source.expression
        made = _cast(landed, column, landed_value, source.kind)
        value = made.value
        if name in landed.text_ids:
            texts.append(value.alias(text_column(name)))
            value = text_ids.identifiers(value) if pa.types.is_list(column.type) else text_ids.identifier(value)
        if name in landed.log.values and pa.types.is_string(column.type):
            words.append(sources.set_aside(name, landed.log.values[name], value))
            value = sources.meaning(landed.log.values[name], value)
        value = _never_null(landed, column, value)
        values.append(value.alias(name))
        if made.loses is not None:
            wrong.append(F.when(made.loses, F.lit(name + (IN_TEXT if _would_be_text(name, source.kind) else ""))))
        if made.truncates is not None:
            truncated.append(F.when(made.truncates, 1).otherwise(0))
        kept: Column = casts.text(landed_value, source.kind) if name in kept_as_text else made.value
        original.append(kept.alias(name))
    words = [word for word in words if word is not None]
    return frame.select(
        *values,
        *texts,
        F.coalesce(*wrong, F.lit(None).cast("string")).alias(WRONG_TYPE),
        F.struct(*original).alias(ORIGINAL),
        F.coalesce(*words, F.lit(None).cast("string")).alias(WORD),
        sum(truncated, F.lit(0)).alias(TRUNCATED),
        F.lit(folder).alias(FOLDER),
        F.col("_metadata.file_path").alias(FILE),
        F.col("_metadata.row_index").alias(ROW),
    )


def _cast(landed: Landed, column: ContractColumn, value: Column, kind: str) -> Cast:
    """A landed value in the contract's type; an id that is text, as its text."""
    if column.name in landed.text_ids:
        return text_ids.texts(value, kind) if pa.types.is_list(column.type) else text_ids.text(value, kind)
    unit = landed.log.units.get(column.name)
    if unit and units.is_number(kind):
        return units.time(value, kind, unit)
    return casts.cast(value, kind, sql_type(column.type))


def _would_be_text(name: str, kind: str) -> bool:
    """Whether an id that is no int64 would be kept as text."""
    return name.removesuffix("s") in ID_COLUMNS and any(
        word in kind for word in ("string", "decimal", "binary", "uuid")
    )


def _never_null(landed: Landed, column: ContractColumn, value: Column) -> Column:
    """Null scores, and a null list of an attribute, mean that there are none."""
    is_attribute = column.name not in landed.contract.names
    if pa.types.is_list(column.type) and (is_attribute or column.name == "scores"):
        return F.coalesce(value, F.array().cast(sql_type(column.type)))
    return value


def _uri(store: Store):
    """From a path of the root's file system to what Spark opens."""
    inside = store.root.path.rstrip("/") + "/"

    def uri(path: str) -> str:
        if store.root.is_local and not path.startswith(inside):
            return f"file://{path}"
        return store.uri(path.removeprefix(inside))

    return uri
