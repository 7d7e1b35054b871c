"""Landed files: which there are, what each one's footer says, and why one cannot be read."""

import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches

import pyarrow as pa
from pyarrow import fs, parquet

from jobs.ingestion import sources
from schemas.storage.root import Root
from schemas.table import ContractError, Table, landing
from schemas.tables.logs import LOGS

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_SIGNATURE = 28  # bytes after the metadata of a footer that is in the open beside encrypted columns
_ODD_CODECS, _ODD_ENCODING = ("BROTLI", "LZO"), "BYTE_STREAM_SPLIT"
_OTHER_FORMATS = {b"\x1f\x8b": "gzip", b"PK": "zip", b"Obj": "Avro", b"ORC": "ORC", b"{": "JSON", _ENCRYPTED: "Parquet"}
_SCALARS = {
    "int8": "tinyint", "uint8": "smallint", "int16": "smallint", "uint16": "int", "int32": "int", "uint32": "bigint",
    "int64": "bigint", "uint64": "decimal(20,0)", "halffloat": "float", "float": "float", "double": "double",
    "bool": "boolean", "string": "string", "large_string": "string", "string_view": "string", "binary": "binary",
    "large_binary": "binary", "binary_view": "binary", "date32[day]": "date", "date64[ms]": "date", "null": "null",
}  # fmt: skip
_USUAL = {
    "int8", "int16", "int32", "int64", "float", "double", "bool", "string", "large_string", "date32[day]",
    *(f"timestamp[{unit}{zone}]" for unit in ("ms", "us") for zone in ("", ", tz=UTC")),
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """One Parquet file.

    path: where it was landed, which every message names. rows: its number of rows. types: the landed type of each
    column, None for one that no log can hold. day: its landing folder's date. folders: the value of each folder
    `name=value` above it. oddity: what Spark cannot read of it, empty if nothing; unusual: what other
    engines cannot read though Spark can. plain_copy: the file that is read instead.
    """

    path: str
    rows: int
    types: dict[str, str | None]
    day: date
    folders: dict[str, str] = field(default_factory=dict)
    oddity: str = ""
    unusual: str = ""
    plain_copy: str | None = None

    @property
    def read_from(self) -> str:
        return self.plain_copy or self.path


def landed(place: Root, table: Table, days: Iterable[date]) -> list[tuple[fs.FileInfo, date]]:
    """Every file in the landing folders of some dates, whatever its ending, with its folder's date."""
    return [(info, day) for day in days for info in place.files(landing(table, day))]


def unknown_folders(place: Root) -> list[str]:
    """A line for each folder of `landing/` that is no log's."""
    names = [table.name for table in LOGS]
    selector = fs.FileSelector(place.at("landing"), allow_not_found=True)
    found = sorted(
        each.base_name for each in place.filesystem.get_file_info(selector) if each.type == fs.FileType.Directory
    )
    lines = []
    for name in found:
        if name not in names and name[0] not in "_.":
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; logs are {', '.join(names)}"
            lines.append(f"landing/{name} is no log, nothing of it is read{hint}")
    return lines


def read_footers(place: Root, found: Iterable[tuple[fs.FileInfo, date]]) -> tuple[File, ...]:
    """What the footers say.

    Raises:
        ContractError: a file is no Parquet file, or has a column twice.
    """
    with ThreadPoolExecutor(8) as pool:
        return tuple(pool.map(lambda each: _file(place, *each), found))


def open_parquet(place: Root, path: str) -> parquet.ParquetFile:
    """A Parquet file with its physical types: no extension types, old 96-bit times as microseconds."""
    source = place.filesystem.open_input_file(path)
    return parquet.ParquetFile(source, coerce_int96_timestamp_unit="us", arrow_extensions_enabled=False)


def cause(fault: BaseException) -> str:
    """The first line of the innermost cause."""
    while inner := fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__):
        fault = inner
    lines = str(fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__


def fault(place: Root, file: File) -> str | None:
    """Why a file cannot be read, by reading it; None if it can."""
    try:
        with open_parquet(place, file.path) as opened:
            for _ in opened.iter_batches():
                pass
    except (pa.ArrowException, OSError) as found:
        return f"{file.path} cannot be read: {cause(found)}"
    return None


def told_by_engine(text: str) -> str:
    """The file and the innermost cause of a fault of Spark's that has a stack trace, in one line."""
    path = re.search(r"reading file (\S.*?)\.? +SQLSTATE", text)
    causes = re.findall(r"^\s*Caused by: (?:[\w.$]+: )?(.*)$", text, re.MULTILINE)
    return f"{path[1] if path else 'a landing file'} cannot be read: {causes[-1] if causes else text.splitlines()[0]}"


def _file(place: Root, info: fs.FileInfo, day: date) -> File:
    path = info.path
    try:
        _check_magic(place, info)
        with open_parquet(place, path) as opened:
            fields, metadata = opened.schema_arrow, opened.metadata
            twice = [name for name, count in Counter(fields.names).items() if count > 1]
            if twice:
                raise ContractError(f"{path} has the column {twice[0]} {fields.names.count(twice[0])} times")
            _check_encryption(place, info, opened)
            types = {each.name: landed_type(each.type) for each in fields}
            below = path.removeprefix(place.path)
            oddity = _odd_name(below) or _odd_type(fields) or _odd_pages(metadata)
            return File(path, metadata.num_rows, types, day, sources.folders(below), oddity, _unusual_type(fields))
    except (pa.ArrowException, OSError) as fault:
        raise ContractError(f"{path} cannot be read as Parquet: {cause(fault)}") from fault


def _check_magic(place: Root, info: fs.FileInfo) -> None:
    if not info.size:
        raise pa.ArrowInvalid("it is empty; begin the names of files that are no logs with _ or .")
    with place.filesystem.open_input_stream(info.path, compression=None) as stream:
        head = stream.read(16)
    if head.startswith(_MAGIC):
        return
    known = next((name for magic, name in _OTHER_FORMATS.items() if head.startswith(magic)), None)
    if head.startswith(_ENCRYPTED):
        raise pa.ArrowInvalid("its footer is encrypted; land it without encryption")
    what = f"it is {known}" if known else f"it begins with {head.decode(errors='replace')!r}"
    raise pa.ArrowInvalid(f"{what}; land Parquet, and begin the names of files that are no logs with _ or .")


def _check_encryption(place: Root, info: fs.FileInfo, opened: parquet.ParquetFile) -> None:
    """Refuse a file with encrypted columns; asked for such a column's chunk, pyarrow ends the process."""
    with place.filesystem.open_input_file(info.path) as source:
        source.seek(info.size - 8)
        length = int.from_bytes(source.read(4), "little")
    if length - opened.metadata.serialized_size != _SIGNATURE:
        return
    for name in opened.schema_arrow.names:
        try:
            next(opened.iter_batches(1, columns=[name]), None)
        except OSError as fault:
            raise pa.ArrowInvalid(f"column {name} is encrypted: {cause(fault)}; land it without encryption") from None


def _odd_name(below: str) -> str:
    """Hadoop takes the text before a colon in a file's or folder's name for a scheme."""
    return "a colon in its name" if ":" in below else ""


def _odd_type(schema: pa.Schema) -> str:
    odd = (each.name for each in schema if pa.types.is_float16(_element(each.type)))
    return next((f"the type of column {name}" for name in odd), "")


def _unusual_type(schema: pa.Schema) -> str:
    odd = (each for each in schema if landed_type(each.type) and str(_element(each.type)) not in _USUAL)
    return next((f"the type {each.type} of column {each.name}" for each in odd), "")


def _element(kind: pa.DataType) -> pa.DataType:
    return _element(kind.value_type) if is_list(kind) else kind


def _odd_pages(metadata: parquet.FileMetaData) -> str:
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for number in range(chunks.num_columns):
            chunk = chunks.column(number)
            if chunk.compression in _ODD_CODECS:
                return f"the codec {chunk.compression}"
            if _ODD_ENCODING in chunk.encodings:
                return f"the encoding {_ODD_ENCODING}"
    return ""


def landed_type(kind: pa.DataType) -> str | None:
    """A type in the words of `casts`; None for one that no column of a log can be made of."""
    if isinstance(kind, pa.BaseExtensionType) and kind != pa.uuid():
        return landed_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return landed_type(kind.value_type)
    if kind == pa.uuid() or (pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16):
        return "uuid"
    if pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.precision <= 38 else None
    if pa.types.is_timestamp(kind):
        return "nanos" if kind.unit == "ns" else "timestamp" if kind.tz else "timestamp_ntz"
    if is_list(kind):
        inner = landed_type(kind.value_type)
        return inner and f"array<{inner}>"
    return _SCALARS.get(str(kind))


def is_list(kind: pa.DataType) -> bool:
    tests = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)
