"""Whole numbers as times: what a producer's clock counts since 1970, in the unit that `settings.toml` names."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.ingestion import casts
from jobs.ingestion.casts import Cast

_MICROSECONDS = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}
_DIGITS = r"^-?\d+$"


def is_number(landed: str) -> bool:
    """Whether the landed type may hold whole numbers that stand for times; in a text they are digits."""
    return landed in ("tinyint", "smallint", "int", "bigint", "float", "double", "string") or "decimal" in landed


def time(value: Column, landed: str, unit: str) -> Cast:
    """A time from a whole number; a text that is no whole number is a time's text as without a unit.

    A nanosecond is cut off towards the past.
    """
    whole = casts.cast(value, landed, "bigint")
    made, cut = _from_whole(whole.value, unit)
    lost = value.isNotNull() & made.isNull()
    if landed != "string":
        return Cast(made, lost, cut)
    digits, as_text = value.rlike(_DIGITS), casts.cast(value, landed, "timestamp")
    cut = F.when(digits, F.lit(False) if cut is None else cut).otherwise(
        F.lit(False) if as_text.truncates is None else as_text.truncates
    )
    return Cast(F.when(digits, made).otherwise(as_text.value), F.when(digits, lost).otherwise(as_text.loses), cut)


def _from_whole(whole: Column, unit: str) -> tuple[Column, Column | None]:
    if unit == "nanoseconds":
        rest = F.pmod(whole, F.lit(1000))
        below = F.when((whole < 0) & (rest != 0), 1).otherwise(0)  # div rounds towards zero
        return F.timestamp_micros(F.call_function("div", whole, F.lit(1000)) - below), rest != 0
    factor = _MICROSECONDS[unit]
    most = (2**63 - 1) // factor
    return F.timestamp_micros(F.when(whole.between(-most, most), whole * F.lit(factor))), None
