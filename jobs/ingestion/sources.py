"""Where each column of a log comes from in a producer's file, as `settings.toml` says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from urllib.parse import unquote

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.storage.settings import PATH, LogSettings, RootSettings
from schemas.table import TIME, SettingsError, Table
from schemas.vocabulary import Action, Stage

VOCABULARIES = {"action": tuple(map(str, Action)), "stage": tuple(map(str, Stage))}
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # what Hive calls the folder of rows without a value
_KINDS = {bool: "boolean", int: "bigint", float: "double", str: "string"}

Constant = str | int | float | bool


@dataclass(frozen=True)
class Source:
    """A column of a log in one file: the producer's `column`, or else one `value` for all of its rows.

    kind: the landed type, None if Spark cannot read it.
    """

    kind: str | None
    column: str | None = None
    value: Constant | None = None

    @property
    def expression(self) -> Column:
        """The landed value."""
        return F.col(quoted(self.column)) if self.column is not None else F.lit(self.value)


NO_SOURCE = Source("null")


def quoted(name: str) -> str:
    """A column's name as SQL writes it."""
    return "`" + name.replace("`", "``") + "`"


def source(log: LogSettings, name: str, types: Mapping[str, str | None], folders: Mapping[str, str]) -> Source:
    """Where a column comes from; a mapped column wins over one of the contract's own name.

    Args:
        types: the file's column -> its landed type.
        folders: name -> value of each folder `name=value` above the file.
    """
    if name in log.constants:
        value = log.constants[name]
        return Source(_KINDS[type(value)], value=value)
    mapped = log.columns.get(name, name)
    if mapped.startswith(PATH):
        folder = mapped.removeprefix(PATH)
        if folder in folders:
            value = folders[folder]
            return NO_SOURCE if value == _NO_VALUE else Source("string", value=value)
    for column in (mapped, name):
        if column in types:
            return Source(types[column], column=column)
    return NO_SOURCE


def folders(path: str) -> dict[str, str]:
    """Name -> URL-decoded value of each folder `name=value` of a path."""
    pairs = (folder.split("=", 1) for folder in path.split("/")[:-1] if "=" in folder)
    return {unquote(name): unquote(value) for name, value in pairs}


def meaning(words: Mapping[str, str], landed: Column) -> Column:
    """The contract's word of a producer's; a word without one, or set aside, stays as it is."""
    value = landed
    for word, means in words.items():
        if means:
            value = F.when(landed == word, F.lit(means)).otherwise(value)
    return value


def set_aside(name: str, words: Mapping[str, str], landed: Column) -> Column | None:
    """The reason to set a row aside for its word, null for none; None if no word is mapped to nothing."""
    nothing = [word for word, means in words.items() if not means]
    return F.when(landed.isin(nothing), F.concat(F.lit(f"{name}: "), landed)) if nothing else None


def words_aside(log: LogSettings, name: str) -> list[str]:
    """The producer's words of a column whose rows are set aside."""
    return [word for word, means in log.values.get(name, {}).items() if not means]


def check(table: Table, root: RootSettings) -> None:
    """Raise a SettingsError for a constant that its column cannot hold."""
    log = root.log(table)
    for name, value in log.constants.items():
        if name not in table.names:
            continue
        where, kind = f"logs.{table.name}.constants.{name}", table.columns[table.names.index(name)].type
        right = _constant_fault(kind, value, root.is_text(name))
        if right:
            raise SettingsError(f"settings.toml: {where} is {value!r}, should be {right}")
        words = (*VOCABULARIES.get(name, ()), *log.values.get(name, ()))
        if name in VOCABULARIES and value not in words:
            raise SettingsError(f"settings.toml: {where} is {value!r}, should be one of {', '.join(words)}")


def check_present(table: Table, log: LogSettings, types: list[Mapping[str, str | None]], paths: list[str]) -> None:
    """Raise a SettingsError for a mapped column or folder that no file has."""
    there = sorted({name for file in types for name in file})
    above = sorted({name for path in paths for name in folders(path)})
    for name, mapped in log.columns.items():
        known = above if mapped.startswith(PATH) else there
        if mapped.removeprefix(PATH) in known:
            continue
        near = get_close_matches(mapped.removeprefix(PATH), known, n=1)
        what = "folder of that name above" if mapped.startswith(PATH) else "column of that name in"
        raise SettingsError(
            f"settings.toml: logs.{table.name}.columns.{name} is {mapped!r}, but there is no {what} the landed files"
            f"{f' (did you mean {near[0]}?)' if near else ''}; there are {', '.join(known) or 'none'}"
        )


def _constant_fault(kind: pa.DataType, value: Constant, text_id: bool) -> str | None:
    """What would be right, if the value is not."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if pa.types.is_list(kind):
        return "left out: a list cannot be a constant"
    if kind == TIME:
        return None if isinstance(value, str) and _is_time(value) else "a time such as 2024-03-01T10:00:00Z"
    if pa.types.is_string(kind) or text_id:
        return None if isinstance(value, str) or (text_id and whole) else "a text"
    bits = kind.bit_width - 1
    return None if whole and -(2**bits) <= value < 2**bits else "a whole number"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
