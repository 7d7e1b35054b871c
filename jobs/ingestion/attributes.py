"""Further columns of an open log: which types they may have, and how a type changes from one date to another.

An attribute is a number, a text, a boolean, or a list of numbers or texts. A date becomes its text. The type is the
narrowest one that holds what the log has and what was landed: int64 < double < text, boolean < text, and the same
within lists. A list and a single value have no type in common.
"""

import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingestion.parquet_files import File, open_parquet
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import MissingDataError, Table

_NAME = re.compile(r"[^_ ,;{}()\n\t=`][^ ,;{}()\n\t=`]*")
_NEVER = ("date", "reason")  # the partition's column, and the quarantine's
INT, NUMBER, TEXT, BOOLEAN = pa.int64(), pa.float64(), pa.string(), pa.bool_()
INTS, NUMBERS, TEXTS = pa.list_(INT), pa.list_(pa.float32()), pa.list_(TEXT)
_WIDER = {INT: (NUMBER, TEXT), NUMBER: (TEXT,), BOOLEAN: (TEXT,), INTS: (NUMBERS, TEXTS), NUMBERS: (TEXTS,)}
_SINGLE = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), INT),
    **dict.fromkeys(("float", "double", "decimal"), NUMBER),
    **dict.fromkeys(("string", "date"), TEXT),
    "boolean": BOOLEAN,
}
_LISTS = {INT: INTS, NUMBER: NUMBERS, TEXT: TEXTS}


def may_be_named(name: str) -> bool:
    """Whether an attribute may have this name."""
    return name not in _NEVER and _NAME.fullmatch(name) is not None


def of_landed(kinds: Iterable[str | None]) -> pa.DataType | None:
    """The type that holds every landed type; None if there is none, or if all are columns of nulls."""
    types = set()
    for kind in kinds:
        if kind not in ("null", "array<null>"):
            types.add(_of_one(kind))
    if not types or None in types:
        return None
    return joined(types)


def joined(types: Iterable[pa.DataType]) -> pa.DataType | None:
    """The narrowest type that holds all of these, None if there is none."""
    types = set(types)
    reaches = [{kind, *_WIDER.get(kind, ())} for kind in types]
    common = set.intersection(*reaches)
    order = (INT, NUMBER, BOOLEAN, INTS, NUMBERS, TEXT, TEXTS)
    return next((kind for kind in order if kind in common), None)


def _of_one(kind: str | None) -> pa.DataType | None:
    if kind is None:
        return None
    if kind.startswith("array<"):
        inner = _of_one(kind[len("array<") : -1])
        return _LISTS.get(inner)
    return _SINGLE.get(kind.split("(")[0])


def recorded(root: str, table: Table) -> dict[str, pa.DataType]:
    """The attributes that the log already has."""
    try:
        schema = pa.schema(arrow.delta(root, table).schema().to_arrow())
    except MissingDataError:
        return {}
    taken = {*table.names, "date"}
    return {field.name: _plain(field.type) for field in schema if field.name not in taken}


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type in which the name of a list's element field does not count."""
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind


def texts_are_numbers(place: Root, files: Iterable[File], columns: dict[str, str], wanted: pa.DataType) -> bool:
    """Whether each text of a column is a number, so that a log of numbers can keep its type.

    Args:
        columns: path of a file -> its name of the column, of the files that have it as text.
    """
    for file in files:
        if file.path in columns and not _all_numbers(place, file.path, columns[file.path], wanted):
            return False
    return True


def _all_numbers(place: Root, path: str, column: str, wanted: pa.DataType) -> bool:
    with open_parquet(place, path) as opened:
        for batch in opened.iter_batches(columns=[column]):
            try:
                texts = pc.drop_null(batch.column(0).cast(pa.string()))
                texts.cast(wanted)
            except pa.ArrowInvalid:
                return False
    return True
