"""The settings of a root, which a person writes into `ROOT/settings.toml`; without the file each has its default."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from zoneinfo import available_timezones

from schemas.storage.root import Root
from schemas.table import TIME, SettingsError, Table
from schemas.tables.logs import LOGS
from schemas.vocabulary import HOMEPAGE, Action, Stage

FILE = "settings.toml"
INT64, TEXT = "int64", "text"
ID_COLUMNS = ("user_id", "item_id")
UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
PATH = "path:"  # before the name of a folder `name=value` whose value is the column's
_VOCABULARIES = {"action": tuple(map(str, Action)), "stage": tuple(map(str, Stage))}
_LOGS = {table.name: table for table in LOGS}


@dataclass(frozen=True)
class LogSettings:
    """How a producer's files become the columns of one log.

    columns: contract's column -> the producer's column, or `path:NAME` for the value of a folder `NAME=value`.
    units: time column -> the unit of its whole numbers since 1970, one of `UNITS`.
    constants: column that the producer does not log -> its value.
    values: text column -> the producer's word -> the contract's word, or "" to set the row aside.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def recorded(self) -> dict:
        """What a commit or manifest says of these settings; empty for the defaults."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: part for name, part in parts.items() if part}


@dataclass(frozen=True)
class RootSettings:
    """What holds for every job of a root.

    time_zone: IANA name; a row's date is its local date there.
    arrives_within_days: rows of a date may also lie in the landing folders of this many dates after it.
    scenarios: the target scenarios.
    ids: `user_id` and `item_id` -> `int64` or `text`.
    logs: log's name -> its settings, for the logs that have a section.
    """

    time_zone: str = "UTC"
    arrives_within_days: int = 0
    scenarios: tuple[str, ...] = (HOMEPAGE,)
    ids: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(ID_COLUMNS, INT64))
    logs: Mapping[str, LogSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Root | str) -> "RootSettings":
        """The settings of a root.

        Raises:
            SettingsError: names the first wrong key or value, and what would be right.
        """
        place = root if isinstance(root, Root) else Root.of(root)
        if not place.exists(FILE):
            return cls()
        try:
            return cls.parse(place.read_text(FILE))
        except UnicodeDecodeError as fault:
            raise SettingsError(f"{place.at(FILE)} is no UTF-8: {fault}") from None
        except SettingsError as fault:
            raise SettingsError(f"{place.at(FILE)}: {fault}") from None

    @classmethod
    def parse(cls, text: str) -> "RootSettings":
        """The settings that a TOML text holds; raises SettingsError."""
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as fault:
            raise SettingsError(f"this is no TOML: {fault}") from None
        _check_keys("", given, cls.__dataclass_fields__)
        logs = _table("logs", given.get("logs", {}))
        _check_keys("logs", logs, _LOGS)
        return cls(
            time_zone=_word("time_zone", given.get("time_zone", "UTC"), available_timezones(), "an IANA time zone"),
            arrives_within_days=_whole_number("arrives_within_days", given.get("arrives_within_days", 0)),
            scenarios=_scenarios(given.get("scenarios", [HOMEPAGE])),
            ids=_ids(_table("ids", given.get("ids", {}))),
            logs={name: _log_settings(_LOGS[name], _table(f"logs.{name}", each)) for name, each in logs.items()},
        )

    def log(self, table: Table) -> LogSettings:
        """The settings of one log; the defaults if it has no section."""
        return self.logs.get(table.name, LogSettings())

    def is_text(self, id_column: str) -> bool:
        """Whether `user_id` or `item_id` is text in the producer's files; `item_ids` is as `item_id`."""
        return self.ids.get(id_column.removesuffix("s"), INT64) == TEXT


def _log_settings(table: Table, given: dict) -> LogSettings:
    where = f"logs.{table.name}"
    _check_keys(where, given, LogSettings.__dataclass_fields__)
    parts = {name: _table(f"{where}.{name}", part) for name, part in given.items()}
    for name, part in parts.items():
        _check_columns(f"{where}.{name}", part, table, name)
    constants = parts.get("constants", {})
    for name, value in parts.get("columns", {}).items():
        if not isinstance(value, str) or value in ("", PATH):
            raise SettingsError(f'{where}.columns.{name} is {value!r}, should be a column of the files or "{PATH}NAME"')
        if name in constants:
            raise SettingsError(f"{where}: {name} is in columns and in constants, should be in one of them")
    for name, value in parts.get("units", {}).items():
        _word(f"{where}.units.{name}", value, UNITS)
    for name, value in constants.items():
        if not isinstance(value, str | int | float | bool) or value == "":
            raise SettingsError(f"{where}.constants.{name} is {value!r}, should be a text, a number or a boolean")
        if table.key == (name,):
            raise SettingsError(f"{where}.constants.{name}: it is the key, which cannot be the same in every row")
    for name, words in parts.get("values", {}).items():
        _check_words(f"{where}.values.{name}", _table(f"{where}.values.{name}", words), _VOCABULARIES.get(name))
    return LogSettings(**parts)


def _check_columns(where: str, part: Mapping, table: Table, kind: str) -> None:
    """Refuse a name that is no column of the log; an open log may have attributes of any name."""
    columns = table.columns
    if kind == "units":
        columns = [column for column in columns if column.type == TIME]
    if kind == "values":
        columns = [column for column in columns if str(column.type) == "string"]
    if not (table.open and kind != "units"):
        _check_keys(where, part, [column.name for column in columns])


def _check_words(where: str, words: Mapping, vocabulary: tuple[str, ...] | None) -> None:
    for word, meaning in words.items():
        if not isinstance(meaning, str):
            raise SettingsError(f'{where}.{word} is {meaning!r}, should be a text, "" to set the rows aside')
        if vocabulary and meaning:
            _word(f"{where}.{word}", meaning, vocabulary, f'"" or one of {", ".join(vocabulary)}')


def _ids(given: Mapping) -> dict[str, str]:
    _check_keys("ids", given, ID_COLUMNS)
    kinds = {name: _word(f"ids.{name}", kind, (INT64, TEXT)) for name, kind in given.items()}
    return dict.fromkeys(ID_COLUMNS, INT64) | kinds


def _scenarios(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(name, str) and name for name in given):
        raise SettingsError(f'scenarios is {given!r}, should be a list of texts such as ["{HOMEPAGE}"]')
    return tuple(dict.fromkeys(given))


def _whole_number(name: str, given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise SettingsError(f"{name} is {given!r}, should be a whole number from 0")
    return given


def _table(name: str, given: object) -> dict:
    if not isinstance(given, dict):
        raise SettingsError(f"{name} is {given!r}, should be a table: [{name}]")
    return given


def _check_keys(where: str, given: Mapping, known: Collection[str]) -> None:
    for key in given:
        if key not in known:
            name = f"{where}.{key}" if where else key
            raise SettingsError(f"{name} is no setting{_hint(key, known)}; known are {', '.join(known) or 'none'}")


def _word(name: str, given: object, known: Collection[str], right: str | None = None) -> str:
    if not isinstance(given, str) or given not in known:
        hint = _hint(str(given), known)
        raise SettingsError(f"{name} is {given!r}, should be {right or 'one of ' + ', '.join(known)}{hint}")
    return given


def _hint(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
