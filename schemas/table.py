"""What a table is: named, documented, typed columns, a key, and a place below the root."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

ID = pa.int64()
TIME = pa.timestamp("us", tz="UTC")
IDS = pa.list_(pa.int64())
STRINGS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float32())


class ContractError(ValueError):
    """Rows or columns are not what the table's contract says."""


class SettingsError(ContractError):
    """`settings.toml` has a key or a value that is wrong, or settings that cannot hold together."""


class MissingDataError(FileNotFoundError):
    """A table, a date of it or a file is not where it has to be."""


class ConflictError(RuntimeError):
    """Two runs replaced the same rows at once, and this one gave way; the other's result stands."""


@dataclass(frozen=True)
class Column:
    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False
    added: bool = False  # after the first release: tables written before lack it, readers see null


@dataclass(frozen=True)
class Table:
    """One table's contract.

    `columns` are the columns inside the files; `date` is a partition column beside them.
    `storage` is `delta` where rows change after they were written, `parquet` where people and
    trainers read plain files. An `open` table may hold further attributes after its columns.
    An `optional` table may be absent from a landing folder. A table that is not `dated` has no column `date`.
    """

    name: str
    layer: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    storage: str = "parquet"
    open: bool = False
    optional: bool = False
    dated: bool = True

    @property
    def path(self) -> str:
        """Where the table lives, relative to the root."""
        return f"{self.layer}/{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def grows(self) -> bool:
        """Whether a newer table may have columns that an older one lacks."""
        return self.open or any(column.added for column in self.columns)

    def lacking(self, present: Collection[str]) -> list[Column]:
        """The columns that tables of an earlier release may lack, and this one, which has `present`, does."""
        return [column for column in self.columns if column.added and column.name not in present]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the table's files, without the partition column."""
        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])

    @property
    def fingerprint(self) -> str:
        """Changes when a name, a type, a nullability or the key does; prose does not count."""
        parts = [self.path, *self.key, *(f"{c.name} {c.type} {c.nullable}" for c in self.columns)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def check_columns(self, found: dict[str, str], wanted: dict[str, str]) -> None:
        """Raise one ContractError that names every column that is missing or of another type.

        `found` and `wanted` map column names to type names, in the words of one engine.
        """
        faults = [f"{name}: missing, should be {kind}" for name, kind in wanted.items() if name not in found]
        faults += [
            f"{name}: is {found[name]}, should be {kind}"
            for name, kind in wanted.items()
            if name in found and found[name] != kind
        ]
        if not self.open:
            faults += [f"{name}: not a column of this table" for name in found if name not in wanted]
        if faults:
            raise ContractError(f"{self.path} breaks its contract: " + "; ".join(faults))


def partition(table: Table, day: date) -> str:
    """The folder of one date of a table, relative to the root."""
    return f"{table.path}/date={day.isoformat()}"


def landing(table: Table, day: date) -> str:
    """The folder where producers drop one date of a log, relative to the root."""
    return f"landing/{table.name}/date={day.isoformat()}"
