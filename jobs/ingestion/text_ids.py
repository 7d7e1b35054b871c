"""Ids that a producer writes as text: the number that stands for each inside, and the text as it is kept.

The number is the xxhash64 of the text's UTF-8 bytes with seed 42, which is what Spark's `xxhash64` gives.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.ingestion import casts
from jobs.ingestion.casts import Cast

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_DIGITS = "decimal(38,0)"


def identifier(text: Column) -> Column:
    """The number of an id's text, null for no text: xxhash64 itself has a number for null."""
    return F.when(text != "", F.xxhash64(text))


def identifiers(texts: Column) -> Column:
    """The numbers of a list of texts."""
    return F.transform(texts, identifier)


def text(value: Column, landed: str) -> Cast:
    """The text of a landed id: an integer's digits, a UUID's 36 characters, any text as it is."""
    if landed in ("float", "double"):
        whole = casts.cast(value, landed, "bigint")
        return Cast(whole.value.cast("string"), whole.loses)
    if landed.startswith("decimal"):
        digits = value.try_cast(_DIGITS)
        loses = value.isNotNull() & (digits.isNull() | (digits.try_cast(landed) != value))
        return Cast(F.when(~loses, digits).cast("string"), None if landed.endswith(",0)") else loses)
    if landed in ("null", "string", "binary", "uuid", *_INTEGERS):
        return casts.cast(value, landed, "string")
    return Cast(F.lit(None).cast("string"), value.isNotNull())


def texts(value: Column, landed: str) -> Cast:
    """The texts of a landed list of ids."""
    if landed == "null":
        return Cast(F.lit(None).cast("array<string>"))
    if not landed.startswith("array<"):
        return Cast(F.lit(None).cast("array<string>"), value.isNotNull())
    inner = landed[len("array<") : -1]
    if inner in ("null", *_INTEGERS):
        return Cast(value.cast("array<string>"))
    if inner == "string":
        # Joined, the bytes are checked without a lambda, which Spark interprets; a comma spoils no character.
        spoilt = value.isNotNull() & ~F.is_valid_utf8(F.array_join(value, ","))
        return Cast(F.when(~spoilt, value), spoilt)
    loses = text(F.lit(None), inner).loses is not None
    spoilt = F.exists(value, lambda one: F.coalesce(text(one, inner).loses, F.lit(False))) if loses else None
    made = F.transform(value, lambda one: text(one, inner).value)
    return Cast(made if spoilt is None else F.when(~spoilt, made), spoilt)
