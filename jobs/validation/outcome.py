"""What validation made of one table's landed rows: kept, duplicate or refused, each counted."""

from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.command import WorkFailedError
from jobs.validation import duplicates, landing, refusals
from jobs.validation.landing import Landed
from schemas.spark import Store, sql_type
from schemas.table import Table

REASON = "_reason"  # of a refused row
_REFUSAL = "_refusal"  # its index


@dataclass
class Outcome:
    """One table's rows after the rules: rows in = kept + duplicates + quarantined."""

    landed: Landed
    valid: DataFrame
    refused: DataFrame
    kept: DataFrame
    refused_for: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicting: int = 0

    @property
    def rows_in(self) -> int:
        return self.landed.row_count

    @property
    def quarantined(self) -> int:
        return sum(self.refused_for.values())

    @property
    def rows_kept(self) -> int:
        return self.rows_in - self.quarantined - self.duplicates

    @property
    def refused_share(self) -> float:
        return self.quarantined / self.rows_in if self.rows_in else 0.0


def validate(store: Store, landed: Landed, day: date, known_requests: DataFrame | None) -> Outcome:
    """Apply the rules to what was landed of one table and choose one row of each key.

    Only keys and counts are computed here, in one pass and one more where a key is repeated; the rows are read
    again when they are written.
    """
    if not landed.row_count:
        nothing = empty(store, landed.table)
        return Outcome(landed, nothing, nothing, nothing)
    rows = landing.rows(store, landed)
    if known_requests is not None and refusals.names_a_request(landed.table):
        rows = rows.join(F.broadcast(known_requests), on="request_id", how="left")
    rules = refusals.rules(landed.table, day)
    rows = rows.withColumn(_REFUSAL, refusals.refusal(list(rules.values())))
    valid = rows.where(F.col(_REFUSAL).isNull())
    reason = F.element_at(F.array(*map(F.lit, rules)), F.col(_REFUSAL) + 1)
    refused = rows.where(F.col(_REFUSAL).isNotNull()).withColumn(REASON, reason)
    outcome = Outcome(landed, valid, refused, valid)
    _count(outcome, rows, list(rules))
    return outcome


def known_requests(outcome: Outcome) -> DataFrame:
    """request_id of every valid request, once. Cached: three tables ask for it, twice each."""
    ids = outcome.valid.select("request_id").distinct()
    return ids.withColumn(refusals.KNOWN_REQUEST, F.lit(True)).cache()


def empty(store: Store, table: Table) -> DataFrame:
    """No rows, with the contract's columns."""
    columns = (F.lit(None).cast(sql_type(column.type)).alias(column.name) for column in table.columns)
    return store.spark.range(0).select(*columns)


def agree(table: Table, what: str, count: int, other: str, expected: int) -> None:
    """Raise a WorkFailedError unless both counts are the same: no row may be lost or made up."""
    if count != expected:
        raise WorkFailedError(f"{table.path}: {count} {what}, but {expected} {other}; did a landing file change?")


def _count(outcome: Outcome, rows: DataFrame, reasons: list[str]) -> None:
    """Count the refused rows by reason and the rows that a repeated key leaves out.

    The refused rows lose their keys before they are grouped, so that one grouping gives both: a row for each
    reason and a row for each repeated key. That is little, and cached because three questions are asked of it.
    """
    table, valid = outcome.landed.table, F.col(_REFUSAL).isNull()
    keys = [F.when(valid, F.col(name)).alias(name) for name in table.key]
    groups = rows.select(_REFUSAL, *keys).groupBy(_REFUSAL, *table.key).agg(F.count(F.lit(1)).alias("rows"))
    few = groups.where(~valid | (F.col("rows") > 1)).cache()
    sums = {row[0]: row[1:] for row in few.groupBy(_REFUSAL).agg(F.sum("rows"), F.count(F.lit(1))).collect()}
    _, repeated = sums.pop(None, (0, 0))
    outcome.refused_for = {reasons[index]: sums[index][0] for index in sorted(sums)}
    if repeated:
        chosen = duplicates.winners(table, outcome.valid, few.where(valid).select(*table.key), repeated).cache()
        outcome.duplicates, outcome.conflicting = duplicates.counts(chosen)
        outcome.kept = duplicates.kept(table, outcome.valid, chosen, repeated)
