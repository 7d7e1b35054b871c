"""What `ingest_logs` has to make of landed rows, in plain Python: kept, refused, set aside or a duplicate."""

import math
import re
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

from schemas.table import Table
from schemas.tables import logs

REFUSED = object()
VALID, FAULTY, ASIDE = "valid", "faulty", "aside"
NEED_A_USER = ("requests", "conversions")
MINUTE = 60 * 10**6
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VOCABULARIES = {
    "action": {"click", "favorite", "cart", "purchase"},
    "stage": {"pre_ranking", "ranking", "re_ranking", "shadow_ranking"},
}
NUMBERS = ("tinyint", "int", "bigint", "unsigned", "double", "float", "decimal")


class Cells(list):
    """One landed column's values, with the name of the kind of column they were landed in."""

    def __init__(self, kind: str, values: list):
        super().__init__(values)
        self.kind = kind


def counts(landed: dict[str, list[dict[str, Cells]]], day: date) -> dict[str, tuple[int, int, int, int, int]]:
    """Table -> (rows in, kept, duplicates, quarantined, set aside); a file is column name -> its cells."""
    found, known = {}, {}
    for table in logs.LOGS:
        files = landed.get(table.name, [])
        rows = [row for file in files for row in _rows(table, file, files)]
        has_user = any("user_id" in file and len(file["user_id"]) for file in files)
        states = [_state(table, row, day, known, has_user) for row in rows]
        keys = Counter(
            tuple(row[name] for name in table.key) for row, state in zip(rows, states, strict=True) if state == VALID
        )
        if table is logs.requests:
            # A name that a valid request has is known, whatever else has it.
            named = [(row["request_id"], state) for row, state in zip(rows, states, strict=True) if state != FAULTY]
            known = dict(sorted(named, key=lambda pair: pair[1] == VALID))
        total = Counter(states)
        valid, faulty, aside = total[VALID], total[FAULTY], total[ASIDE]
        found[table.name] = (len(rows), len(keys), valid - len(keys), faulty, aside)
    return found


def _rows(table: Table, file: dict[str, Cells], files: list[dict[str, Cells]]) -> list[dict]:
    """The rows of a file with each value in the contract's type, REFUSED where it does not fit."""
    wanted = {column.name: str(column.type) for column in table.columns}
    wanted |= _attributes(table, files) if table.open else {}
    length = len(next(iter(file.values()), ()))
    columns = {
        name: [fit(value, file[name].kind, kind) for value in file[name]] if name in file else [None] * length
        for name, kind in wanted.items()
    }
    return [{name: values[n] for name, values in columns.items()} for n in range(length)]


def _attributes(table: Table, files: list[dict[str, Cells]]) -> dict[str, str]:
    """The type of each attribute that is taken over: see `_attribute`."""
    kinds: dict[str, set[str]] = {}
    for file in files:
        for name, cells in file.items():
            if name not in table.names and len(cells):
                kinds.setdefault(name, set()).add(cells.kind)
    taken = {}
    for name, found in kinds.items():
        fine = not re.search(r"[ ,;{}()\n\t=`]", name) and name not in ("", "date", "reason") and name[0] != "_"
        wanted = _attribute(found - {"null", "list<null>"})
        if fine and wanted:
            taken[name] = wanted
    return taken


def _attribute(kinds: set[str]) -> str | None:
    """The narrowest type that holds all of these, None if there is none."""
    lists = {kind for kind in kinds if kind.startswith("list<")}
    if lists:
        inner = _attribute({kind[5:-1] for kind in lists}) if lists == kinds else None
        return {"int64": "list<int64>", "double": "list<float>", "string": "list<string>"}.get(inner)
    if not kinds or not kinds <= {*NUMBERS, "string", "date", "bool"}:
        return None
    if kinds == {"bool"}:
        return "bool"
    if kinds & {"string", "date", "bool"}:
        return "string"
    return "double" if kinds & {"double", "float", "decimal", "unsigned"} else "int64"


def fit(value, kind: str, wanted: str):
    """The value in the contract's type, REFUSED if it does not fit; times are microseconds since 1970."""
    if value is None or kind == "null":
        return None
    if wanted.startswith("list<"):
        if not kind.startswith("list<"):
            return REFUSED
        inner = [fit(one, kind[5:-1], re.search(r"(int64|float|string)>$", wanted)[1]) for one in value]
        return REFUSED if any(one is REFUSED for one in inner) else tuple(inner)
    if wanted in ("int64", "int32"):
        return _whole(value, kind, 63 if wanted == "int64" else 31)
    if wanted in ("float", "double"):
        return _real(value, kind, wanted)
    if wanted == "string":
        return _text(value, kind)
    if wanted == "bool":
        return value if kind == "bool" else REFUSED
    return _micros(value, kind)


def _whole(value, kind: str, bits: int):
    if kind == "string":
        canonical = isinstance(value, str) and re.fullmatch(r"0|-?[1-9]\d*", value)
        value = int(value) if canonical else math.nan
    if kind not in (*NUMBERS, "string") or value != value or value in (math.inf, -math.inf) or value % 1:
        return REFUSED
    return int(value) if -(2**bits) <= value < 2**bits else REFUSED


def _real(value, kind: str, wanted: str):
    if kind not in NUMBERS:
        return REFUSED
    if wanted == "double":
        whole = kind in ("tinyint", "int", "bigint")
        return REFUSED if whole and int(float(value)) != value else float(value)
    return REFUSED if abs(value) != math.inf and abs(value) > 3.4028235677973366e38 else float(value)


def _text(value, kind: str):
    if kind.startswith("list<"):
        return REFUSED
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return REFUSED
    return str(value).lower() if isinstance(value, bool) else str(value)


def _micros(value, kind: str):
    if kind == "string":
        if isinstance(value, bytes) or not re.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?", value):
            return REFUSED
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return REFUSED
        value = value.replace(tzinfo=UTC)
    if kind in ("micros", "naive"):
        return value
    if kind == "millis":
        return value * 1000
    if kind == "nanos":
        return value // 1000
    if kind == "date":
        since = value * 24 * 60 * MINUTE
        return since if -(2**63) <= since < 2**63 else REFUSED
    if kind != "string":
        return REFUSED
    since = value - EPOCH
    return (since.days * 86400 + since.seconds) * 10**6 + since.microseconds


def _state(table: Table, row: dict, day: date, known: dict[str, str], has_user: bool) -> str:
    """FAULTY, ASIDE or VALID; a column that no file has is a fault, whatever it is."""
    user_may_lack = table.name in NEED_A_USER and has_user
    if not _is_faultless(table, row, day, known, user_may_lack):
        return FAULTY
    without = user_may_lack and row["user_id"] is None
    return ASIDE if without or known.get(row.get("request_id") if _names_a_request(table) else None) == ASIDE else VALID


def _names_a_request(table: Table) -> bool:
    return table.name in ("retrievals", "stages", "impressions")


def _is_faultless(table: Table, row: dict, day: date, known: dict[str, str], user_may_lack: bool) -> bool:
    if any(value is REFUSED for value in row.values()):
        return False
    for column in table.columns:
        value, may_lack = row[column.name], column.name == "scores" or (user_may_lack and column.name == "user_id")
        if value is None and not column.nullable and not may_lack:
            return False
        if value == "" and column.name in table.key and pa.types.is_string(column.type):
            return False
    extra = [value for name, value in row.items() if name not in table.names]
    if any(isinstance(value, tuple) and None in value for value in extra):
        return False
    if table.name in ("users", "items"):
        return True
    items, scores = row.get("item_ids"), row.get("scores") or ()
    start = _micros((day - EPOCH.date()).days, "date")
    within = all(start <= row[name] < start + 86400 * 10**6 for name in ("request_time", "event_time") if name in row)
    attributes = table.name == "requests"  # whose names say nothing of what they hold
    return (
        (attributes or all(row[name] in words for name, words in VOCABULARIES.items() if name in row))
        and (attributes or row.get("position", 1) >= 1)
        and (items is None or None not in items)
        and None not in scores
        and (not scores or len(scores) == len(items))
        and within
        and (attributes or "logged_time" not in row or row["event_time"] - 5 * MINUTE <= row["logged_time"])
        and (not _names_a_request(table) or row["request_id"] in known)
    )


def arrow_array(cells: Cells) -> pa.Array:
    """The column as it is landed."""
    return _array(list(cells), cells.kind)


def _array(values: list, kind: str) -> pa.Array:
    if kind.startswith("list<"):
        whole = [one for value in values for one in value or ()]
        ends = [0]
        for value in values:
            ends.append(ends[-1] + len(value or ()))
        nothing = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), _array(whole, kind[5:-1]), mask=nothing)
    if kind == "string":
        spoiled = [value.encode() if isinstance(value, str) else value for value in values]
        return pa.array(spoiled, pa.binary()).view(pa.string())  # a view does not look at the bytes
    if kind == "decimal":
        return pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(22, 2))
    if kind == "date":
        return pa.array(values, pa.int32()).view(pa.date32())
    types = {
        "tinyint": pa.int8(), "int": pa.int32(), "bigint": pa.int64(), "unsigned": pa.uint64(), "double": pa.float64(),
        "float": pa.float32(), "bool": pa.bool_(), "binary": pa.binary(), "null": pa.null(),
        "micros": pa.timestamp("us", "UTC"), "naive": pa.timestamp("us"), "millis": pa.timestamp("ms", "UTC"),
        "nanos": pa.timestamp("ns"),
    }  # fmt: skip
    return pa.array(values, types[kind])
