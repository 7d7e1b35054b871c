"""What validation made of one table's landed rows: kept, duplicate or refused, each counted."""

from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.command.cli import WorkFailedError
from jobs.ingestion import counts, duplicates, landing
from jobs.ingestion import rules as refusals
from jobs.ingestion.counts import REFUSAL, Census
from jobs.ingestion.landing import Landed
from schemas.storage.spark import Store, sql_type
from schemas.table import Table

REASON = "_reason"  # of a refused row


@dataclass
class Outcome:
    """One table's rows after the rules: rows in = kept + duplicates + quarantined."""

    landed: Landed
    valid: DataFrame
    refused: DataFrame
    kept: DataFrame
    refused_for: dict[str, int] = field(default_factory=dict)
    counts: Census = field(default_factory=Census)
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
    rows = rows.withColumn(REFUSAL, refusals.refusal(list(rules.values())))
    valid = rows.where(F.col(REFUSAL).isNull())
    reason = F.element_at(F.array(*map(F.lit, rules)), F.col(REFUSAL) + 1)
    refused = rows.where(F.col(REFUSAL).isNotNull()).withColumn(REASON, reason)
    counted = counts.take(landed.table, rows)
    # Without a refused row the rules need not be worked out again when the rows are written.
    valid = valid if counted.refused else whole
    refused_for = {list(rules)[index]: count for index, count in counted.refused.items()}
    outcome = Outcome(landed, valid, refused, valid, refused_for, counted)
    if counted.repeated:
        chosen = duplicates.winners(landed.table, valid, counted.repeated_keys, counted.repeated).cache()
        outcome.duplicates, outcome.conflicting = duplicates.counts(chosen)
        outcome.kept = duplicates.kept(landed.table, valid, chosen, counted.repeated)
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
