"""Why a landed row does not become a row of the logs. A row has the first reason that holds."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.ingestion.landing import WRONG_TYPE
from schemas.table import Table
from schemas.vocabulary import Action, Stage

CLOCK_SKEW_MINUTES = 5
KNOWN_REQUEST = "_known_request"  # true where a valid request of the date has the row's request_id

_VOCABULARIES = {"action": Action, "stage": Stage}
_TIMES_WITHIN_DATE = ("request_time", "event_time")
_LEAST_FLOAT = -3.4028234663852886e38
_REQUEST_LOGS = ("retrievals", "stages", "impressions")


def rules(table: Table, day: date) -> dict[str, Column]:
    """Reason -> whether it holds for a row of `landing.rows`, in the order in which reasons count."""
    wrong = {
        f"{column.name}: does not cast to {_type_name(column.type)} without loss": F.col(WRONG_TYPE) == column.name
        for column in table.columns
    }
    missing = {}
    for column in table.columns:
        value = F.col(f"`{column.name}`")
        if column.name in table.key and pa.types.is_string(column.type):
            missing[f"{column.name}: null or empty"] = value.isNull() | (value == "")
        elif not column.nullable:
            missing[f"{column.name}: null"] = value.isNull()
    found = wrong | missing
    if table.open:
        return found  # what its attributes are called says nothing of what they hold
    for name, vocabulary in _VOCABULARIES.items():
        if name in table.names:
            found[f"{name}: unknown"] = ~F.col(name).isin(*map(str, vocabulary))
    if "position" in table.names:
        found["position: below 1"] = F.col("position") < 1
    if "item_ids" in table.names:
        found |= _list_rules()
    for name in _TIMES_WITHIN_DATE:
        if name in table.names:
            found[f"{name}: outside the date"] = ~_within(F.col(name), day)
    if "logged_time" in table.names:
        skew = F.expr(f"INTERVAL {CLOCK_SKEW_MINUTES} MINUTES")
        late = F.col("event_time") - skew > F.col("logged_time")
        found[f"event_time: later than logged_time by more than {CLOCK_SKEW_MINUTES} minutes"] = late
    if names_a_request(table):
        found["request_id: no valid request of the date"] = F.col(KNOWN_REQUEST).isNull()
    return found


def names_a_request(table: Table) -> bool:
    """Whether a row of the table is about one request, which must be known."""
    return table.name in _REQUEST_LOGS


def refusal(holds: list[Column]) -> Column:
    """The index of the first rule that holds, or null for a row that is kept."""
    return F.coalesce(*(F.when(condition, F.lit(index)) for index, condition in enumerate(holds)))


def _list_rules() -> dict[str, Column]:
    items, scores = F.col("item_ids"), F.col("scores")
    other_length = (F.size(scores) > 0) & (F.size(scores) != F.size(items))
    return {
        "item_ids: null inside the list": _null_inside(items, F.lit(-(2**63))),
        "scores: null inside the list": _null_inside(scores, F.lit(_LEAST_FLOAT).cast("float")),
        "scores: as many as item_ids or none": other_length,
        "item_ids: an item twice": F.size(F.array_distinct(items)) < F.size(items),
    }


def _null_inside(values: Column, rare: Column) -> Column:
    """Whether a list has a null: array_contains of a value that is not there is null exactly then.

    exists() alone says the same in five times the processor time, since Spark interprets its lambda; it is left
    for the lists that have the rare value.
    """
    contains = F.array_contains(values, rare)
    return contains.isNull() | (contains & F.exists(values, lambda value: value.isNull()))


def _within(time: Column, day: date) -> Column:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return (time >= F.lit(start)) & (time < F.lit(start + timedelta(days=1)))


def _type_name(kind: pa.DataType) -> str:
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)
