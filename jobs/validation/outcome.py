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

    Only keys and counts are computed here, in one pass and two more where a key is repeated; the rows are
    read again when they are written.
    """
    if not landed.row_count:
        nothing = empty(store, landed.table)
        return Outcome(landed, nothing, nothing, nothing)
    whole = rows = landing.rows(store, landed)
    if known_requests is not None and refusals.names_a_request(landed.table):
        rows = rows.join(F.broadcast(known_requests), on="request_id", how="left")
    rules = refusals.rules(landed.table, day)
    rows = rows.withColumn(_REFUSAL, refusals.refusal(list(rules.values())))
    valid = rows.where(F.col(_REFUSAL).isNull())
    reason = F.element_at(F.array(*map(F.lit, rules)), F.col(_REFUSAL) + 1)
    refused = rows.where(F.col(_REFUSAL).isNotNull()).withColumn(REASON, reason)
    refused_for, repeated, count = _count(landed.table, rows, list(rules))
    # Without a refused row the rules need not be worked out again when the rows are written.
    valid = valid if refused_for else whole
    outcome = Outcome(landed, valid, refused, valid, refused_for)
    if count:
        chosen = duplicates.winners(landed.table, valid, repeated, count).cache()
        outcome.duplicates, outcome.conflicting = duplicates.counts(chosen)
        outcome.kept = duplicates.kept(landed.table, valid, chosen, count)
    return outcome


def known_requests(outcome: Outcome) -> DataFrame:
    """request_id of every valid request, once. Cached: three tables ask for it, up to three times each."""
    return outcome.kept.select("request_id", F.lit(True).alias(refusals.KNOWN_REQUEST)).cache()


def empty(store: Store, table: Table) -> DataFrame:
    """No rows, with the contract's columns."""
    columns = (F.lit(None).cast(sql_type(column.type)).alias(column.name) for column in table.columns)
    return store.spark.range(0).select(*columns)


def agree(table: Table, what: str, count: int, other: str, expected: int) -> None:
    """Raise a WorkFailedError unless both counts are the same: no row may be lost or made up."""
    if count != expected:
        raise WorkFailedError(f"{table.path}: {count} {what}, but {expected} {other}; did a landing file change?")


def _count(table: Table, rows: DataFrame, reasons: list[str]) -> tuple[dict[str, int], DataFrame, int]:
    """Refused rows by reason, the repeated keys of the others (a plan, not run yet), and how many keys these are.

    The refused rows lose their keys before they are grouped, so that one grouping gives both counts.
    """
    valid = F.col(_REFUSAL).isNull()
    keys = [F.when(valid, F.col(name)).alias(name) for name in table.key]
    # No rule reads the nullable columns. They are counted so that a broken page is met before any log changes.
    nullable = [f"`{column.name}`" for column in table.columns if column.nullable]
    seen = sum((F.count(name) for name in nullable), F.lit(0))
    grouped = rows.select(_REFUSAL, *keys, *nullable).groupBy(_REFUSAL, *table.key)
    groups = grouped.agg(F.count(F.lit(1)).alias("rows"), seen.alias("seen"))
    totals = groups.groupBy(_REFUSAL).agg(F.sum("rows"), F.count_if(F.col("rows") > 1), F.sum("seen")).collect()
    sums = {index: (row_count, repeated) for index, row_count, repeated, _ in totals}
    _, count = sums.pop(None, (0, 0))
    refused_for = {reasons[index]: sums[index][0] for index in sorted(sums)}
    return refused_for, groups.where(valid & (F.col("rows") > 1)).select(*table.key), count
