"""What becomes of a landed row that is not kept: it is refused or set aside, for the first reason that holds.

A row of a later date's folder that does not belong to the date is set aside before it is looked at: whatever is wrong
with it is refused when its own date, or its folder's, is ingested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.ingestion import sources
from jobs.ingestion.landing import FOLDER, IN_TEXT, WORD, WRONG_TYPE, Landed, text_column
from schemas.storage import days
from schemas.storage.settings import ID_COLUMNS
from schemas.table import Table
from schemas.vocabulary import CLOCK_SKEW

_SKEW_MINUTES = CLOCK_SKEW // timedelta(minutes=1)
# What is known of the request that a row names: null where no request in reach has the row's request_id.
REQUEST_STATUS = "_request_status"
KEPT, SET_ASIDE, OTHER_DATE = 0, 1, 2
ANOTHER_DATE = "another date"
NO_USER, REQUEST_SET_ASIDE = "no user", "its request is set aside"

_TIMES_OF_DATE = {"requests": "request_time", "conversions": "event_time"}
_LEAST_FLOAT = -3.4028234663852886e38
_REQUEST_LOGS = ("retrievals", "stages", "impressions")
_NEED_A_USER = ("requests", "conversions")

# Column -> number of an id whose text is taken -> (the text that has it, the texts that came later).
Collisions = Mapping[str, Mapping[int, tuple[str, list[str]]]]


@dataclass(frozen=True)
class Verdict:
    """A reason why a row is not kept; the row is refused, or set aside, which is no fault of it."""

    reason: str
    holds: Column
    sets_aside: bool = False


def verdicts(landed: Landed, day: date, collisions: Collisions) -> list[Verdict]:
    """The reasons not to keep a row of `landing.rows`, in the order in which they count."""
    table, zone = landed.contract, landed.settings.time_zone
    first, last = day - timedelta(landed.settings.arrives_within_days), day
    elsewhere = later = []
    if table.name in _TIMES_OF_DATE:
        name = _TIMES_OF_DATE[table.name]
        outside = Verdict(f"{name}: outside the date", ~within(F.col(name), first, last, zone))
        elsewhere, belongs = [outside], within(F.col(name), day, day, zone)
    elif names_a_request(table):
        status = F.col(REQUEST_STATUS)
        elsewhere = [Verdict("request_id: no valid request of the date", status.isNull())]
        belongs = F.coalesce(status != OTHER_DATE, F.lit(False))
    if elsewhere and first < day:
        later = [Verdict(ANOTHER_DATE, (F.col(FOLDER) != F.lit(day)) & ~F.coalesce(belongs, F.lit(False)), True)]
        elsewhere = [*elsewhere, Verdict(ANOTHER_DATE, ~belongs, True)]
    refused = [Verdict(reason, holds) for reason, holds in faults(landed).items()]
    return [*later, *refused, *_collided(landed, collisions), *elsewhere, *_asides(landed)]


def faults(landed: Landed) -> dict[str, Column]:
    """Reason -> whether a row is at fault, whatever its date."""
    table = landed.contract
    found = _wrong_types(landed) | _missing(landed)
    for name, vocabulary in sources.VOCABULARIES.items():
        if name in table.names:
            words = [*vocabulary, *sources.words_aside(landed.log, name)]
            found[f"{name}: unknown"] = ~F.col(name).isin(words)
    if "position" in table.names:
        found["position: below 1"] = F.col("position") < 1
    if "item_ids" in table.names:
        found |= _list_rules()
    for column in landed.table.columns:
        if column.name not in table.names and pa.types.is_list(column.type):
            values = F.col(f"`{column.name}`")
            found[f"{column.name}: null inside the list"] = F.exists(values, lambda value: value.isNull())
    if "logged_time" in table.names:
        late = F.col("event_time") - F.lit(CLOCK_SKEW) > F.col("logged_time")
        found[f"event_time: later than logged_time by more than {_SKEW_MINUTES} minutes"] = late
    return found


def within(time: Column, first: date, last: date, zone: str) -> Column:
    """Whether a time is on the local dates first..last."""
    begin, end = days.midnight(first, zone), days.midnight(last + timedelta(1), zone)
    return (time >= F.lit(begin)) & (time < F.lit(end))


def names_a_request(table: Table) -> bool:
    """Whether a row of the table is about one request, which must be known."""
    return table.name in _REQUEST_LOGS


def first_that_holds(holds: list[Column]) -> Column:
    """The index of the first verdict that holds, or null for a row that is kept."""
    return F.coalesce(*(F.when(condition, F.lit(index)) for index, condition in enumerate(holds)))


def _wrong_types(landed: Landed) -> dict[str, Column]:
    found = {}
    for column in landed.table.columns:
        name, kind = column.name, "text" if column.name in landed.text_ids else _type_name(column.type)
        reason = f"{name}: does not cast to {kind} without loss"
        found[reason] = F.col(WRONG_TYPE) == name
        identifier = name.removesuffix("s")
        if identifier in ID_COLUMNS and name in landed.contract.names and name not in landed.text_ids:
            found[f'{reason}; [ids] {identifier} = "text" takes it'] = F.col(WRONG_TYPE) == name + IN_TEXT
    return found


def _missing(landed: Landed) -> dict[str, Column]:
    table, found = landed.contract, {}
    for column in table.columns:
        value = F.col(column.name)
        if column.name in table.key and pa.types.is_string(column.type):
            found[f"{column.name}: null or empty"] = value.isNull() | (value == "")
        elif not column.nullable and not _may_lack(landed, column.name):
            found[f"{column.name}: null"] = value.isNull()
    return found


def _may_lack(landed: Landed, name: str) -> bool:
    """Whether a row without the column is set aside; a column that no file has is a fault of the producer's."""
    return name == "user_id" and landed.contract.name in _NEED_A_USER and landed.has(name)


def _asides(landed: Landed) -> list[Verdict]:
    found = []
    if _may_lack(landed, "user_id"):
        found.append(Verdict(NO_USER, F.col("user_id").isNull(), True))
    if names_a_request(landed.contract):
        found.append(Verdict(REQUEST_SET_ASIDE, F.col(REQUEST_STATUS) == SET_ASIDE, True))
    for name in landed.log.values:
        for word in sources.words_aside(landed.log, name):
            reason = f"{name}: {word}"
            found.append(Verdict(reason, F.col(WORD) == reason, True))
    return found


def _collided(landed: Landed, collisions: Collisions) -> list[Verdict]:
    found = []
    for name in landed.text_ids:
        texts = F.col(text_column(name))
        for taken, later in collisions.get(name.removesuffix("s"), {}).values():
            lists = name != name.removesuffix("s")
            holds = F.arrays_overlap(texts, F.array(*map(F.lit, later))) if lists else texts.isin(later)
            found.append(Verdict(f"{name}: hash collision with {taken}", holds))
    return found


def _list_rules() -> dict[str, Column]:
    items, scores = F.col("item_ids"), F.col("scores")
    other_length = (F.size(scores) > 0) & (F.size(scores) != F.size(items))
    return {
        "item_ids: null inside the list": _null_inside(items, F.lit(-(2**63))),
        "scores: null inside the list": _null_inside(scores, F.lit(_LEAST_FLOAT).cast("float")),
        "scores: as many as item_ids or none": other_length,
    }


def _null_inside(values: Column, rare: Column) -> Column:
    """Whether a list has a null: array_contains of a value that is not there is null exactly then.

    exists() alone says the same in five times the processor time, since Spark interprets its lambda; it is left
    for the lists that have the rare value.
    """
    contains = F.array_contains(values, rare)
    return contains.isNull() | (contains & F.exists(values, lambda value: value.isNull()))


def _type_name(kind: pa.DataType) -> str:
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)
