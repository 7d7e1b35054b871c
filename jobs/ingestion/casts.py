"""One value from the type it was landed with to the type the contract wants, without loss.

A landed type is named as Spark names it, with three more words for what Spark has no name for: `nanos`, a
timestamp in nanoseconds (pandas' default), which Spark reads as a bigint; `uuid`, 16 bytes; and `null`, a column of
nulls only.
"""

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_FLOATS = ("float", "double")
_NUMBERS = (*_INTEGERS, *_FLOATS)
# Every value of the types on the right fits the type on the left as it is.
_WIDENS = {
    "bigint": ("null", *_INTEGERS),
    "int": ("null", "tinyint", "smallint", "int"),
    "float": ("null", "float"),
    "double": ("null", "tinyint", "smallint", "int", *_FLOATS),
    "string": ("null",),
    "boolean": ("null", "boolean"),
    "timestamp": ("null", "timestamp", "timestamp_ntz"),
}
# What Spark parses beyond this depends on today's date ("10:30") or drops digits.
_TIME = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9}0*)?)?(Z| ?UTC|[+-]\d{2}(:?\d{2})?)?)?$"
_BELOW_A_MICROSECOND = r"\.\d{6}\d*[1-9]"
# As producers write them -> as Spark parses them.
_AS_SPARK = (
    (r"(\.\d{6})\d+", "$1"),
    (" UTC$", "UTC"),
    (r"([ T]\d{2}:\d{2})(Z|UTC|[+-].*)$", "$1:00$2"),
    (r"(:\d{2}(?:\.\d{1,6})?[+-]\d{2})$", "$1:00"),
    (r"(:\d{2}(?:\.\d{1,6})?[+-]\d{2})(\d{2})$", "$1:$2"),
)
_INFINITY = float("inf")
_MOST_DAYS = 2**63 // (86_400 * 10**6)  # before or after 1970, in microseconds
_BEYOND_BIGINT = 2.0**63  # Spark casts this double to 2**63 - 1


@dataclass(frozen=True)
class Cast:
    """The value in the wanted type, null where it does not fit.

    loses: whether it does not fit; None if it always does. truncates: whether digits below a microsecond were cut off;
    None if they never are.
    """

    value: Column
    loses: Column | None = None
    truncates: Column | None = None


def read_type(landed: str) -> str:
    """The type with which Spark reads a landed type."""
    return landed.replace("nanos", "bigint").replace("uuid", "binary").replace("null", "int")


def cast(value: Column, landed: str, wanted: str) -> Cast:
    """A column from its landed type to the wanted one.

    A number becomes a float by rounding, which is no loss here unless it overflows. A time without a zone is
    UTC; what it has below a microsecond is cut off. A whole number as a time is refused, since its unit is anybody's
    guess.
    """
    if landed == "null":
        return Cast(F.lit(None).cast(wanted))
    if wanted.startswith("array<"):
        return _cast_list(value, landed, wanted)
    if landed in _WIDENS.get(wanted, ()):
        return Cast(value.cast(wanted))
    if landed == "nanos":
        return _cast_nanoseconds(value, wanted)
    if wanted == "string":
        return _cast_to_text(value, landed)
    if wanted == "timestamp" and landed == "date":
        return _unless(
            value, F.lit(False), F.when(F.unix_date(value).between(-_MOST_DAYS, _MOST_DAYS), value).cast(wanted)
        )
    if wanted == "timestamp" and landed == "string":
        return _cast_time_text(value)
    if wanted in _NUMBERS and (landed in _NUMBERS or landed == "string" or landed.startswith("decimal")):
        return _cast_number(value, landed, wanted)
    return Cast(F.lit(None).cast(wanted), value.isNotNull())


def text(value: Column, landed: str) -> Column:
    """The landed value as text, for a person who wants to know what was refused."""
    if landed == "nanos":
        rest = F.pmod(value, F.lit(1000))
        micros = F.date_format(_microseconds(value), "yyyy-MM-dd HH:mm:ss.SSSSSS")
        return F.concat(micros, F.lpad(rest.cast("string"), 3, "0"))
    if landed == "uuid":
        return _uuid(value)
    made = value.cast("string")
    if "string" in landed or "binary" in landed:
        # Bytes that are no UTF-8 would make the whole file unreadable.
        return F.when(F.is_valid_utf8(made), made).otherwise(F.concat(F.lit("0x"), F.hex(made)))
    return made


def _cast_number(value: Column, landed: str, wanted: str) -> Cast:
    made = value.try_cast(wanted)
    if wanted == "float" or (wanted == "double" and landed not in _INTEGERS):
        overflows = F.abs(made) == _INFINITY
        return _unless(value, overflows & (F.abs(value.try_cast("double")) != _INFINITY), made)
    loses = made.try_cast(landed) != value
    if landed in _FLOATS or wanted == "double":
        loses = loses | ((value if landed in _FLOATS else made) >= _BEYOND_BIGINT)
    return _unless(value, loses, made)


def _cast_nanoseconds(value: Column, wanted: str) -> Cast:
    if wanted == "timestamp":
        return Cast(_microseconds(value), truncates=F.pmod(value, F.lit(1000)) != 0)
    if wanted == "string":
        return Cast(text(value, "nanos"))
    return Cast(F.lit(None).cast(wanted), value.isNotNull())


def _cast_time_text(value: Column) -> Cast:
    """A time's text; digits below a microsecond are cut off, which is towards the past."""
    parsed = value
    for pattern, replacement in _AS_SPARK:
        parsed = F.regexp_replace(parsed, pattern, replacement)
    made = _unless(value, ~value.rlike(_TIME), parsed.try_cast("timestamp"))
    return Cast(made.value, made.loses, made.value.isNotNull() & value.rlike(_BELOW_A_MICROSECOND))


def _microseconds(nanoseconds: Column) -> Column:
    below = (nanoseconds < 0) & (F.pmod(nanoseconds, F.lit(1000)) != 0)  # div rounds towards zero
    return F.timestamp_micros(F.call_function("div", nanoseconds, F.lit(1000)) - F.when(below, 1).otherwise(0))


def _cast_to_text(value: Column, landed: str) -> Cast:
    if landed == "uuid":
        return Cast(_uuid(value))
    made = value.cast("string")
    if landed in ("string", "binary"):
        return _unless(value, ~F.is_valid_utf8(made), made)
    if landed.startswith(("array<", "struct<", "map<")):
        return Cast(F.lit(None).cast("string"), value.isNotNull())
    return Cast(made)


def _uuid(value: Column) -> Column:
    """The 36 characters of 16 bytes."""
    digits = F.lower(F.hex(value))
    parts = (F.substring(digits, start, length) for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12)))
    return F.when(value.isNotNull(), F.concat_ws("-", *parts))


def _cast_list(value: Column, landed: str, wanted: str) -> Cast:
    if not landed.startswith("array<"):
        return Cast(F.lit(None).cast(wanted), value.isNotNull())
    inner, element = landed[len("array<") : -1], wanted[len("array<") : -1]
    if inner in _WIDENS.get(element, ()):
        return Cast(value.cast(wanted))
    overflow = F.exists(value, lambda one: F.coalesce(cast(one, inner, element).loses, F.lit(False)))
    if (inner, element) == ("double", "float"):
        # Two passes without a lambda over the usual list; NaN counts as the greatest.
        made = value.cast(wanted)
        suspect = (F.array_max(made) >= _INFINITY) | (F.array_min(made) <= -_INFINITY)
        return _unless(value, suspect & overflow, made)
    return _unless(value, overflow, F.transform(value, lambda one: cast(one, inner, element).value))


def _unless(value: Column, loses: Column, made: Column) -> Cast:
    """`made`, but null where it loses; a value that became null has lost all."""
    lost = value.isNotNull() & (made.isNull() | F.coalesce(loses, F.lit(False)))
    return Cast(F.when(~lost, made), lost)
