"""What validation made of one table's landed rows: kept, duplicate, refused or set aside, each counted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.command.cli import WorkFailedError
from jobs.ingestion import counts, duplicates, landing, rules
from jobs.ingestion.counts import VERDICT, Census
from jobs.ingestion.landing import Landed
from jobs.ingestion.rules import ANOTHER_DATE, Collisions, Verdict
from schemas.storage.spark import Store, sql_type
from schemas.table import Table

REASON = "_reason"  # of a refused row


@dataclass
class Outcome:
    """One table's rows after the rules: rows in = kept + duplicates + quarantined + set aside.

    `aside` are the rows of the date that are set aside, without those of other dates.
    """

    landed: Landed
    refused: DataFrame
    kept: DataFrame
    aside: DataFrame
    refused_for: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)
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
    def rows_set_aside(self) -> int:
        return sum(self.set_aside.values())

    @property
    def rows_valid(self) -> int:
        """The rows to keep and their duplicates."""
        return self.rows_in - self.quarantined - self.rows_set_aside

    @property
    def rows_kept(self) -> int:
        return self.rows_valid - self.duplicates

    @property
    def refused_share(self) -> float:
        """Of the rows that are not set aside."""
        looked_at = self.rows_in - self.rows_set_aside
        return self.quarantined / looked_at if looked_at else 0.0

    @property
    def counted(self) -> dict:
        """What the job's JSON line says of the table."""
        return {
            "rows_in": self.rows_in,
            "rows_written": self.rows_kept,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "set_aside": self.set_aside,
            "repeated_items": self.counts.repeated_items,
            "truncated": self.counts.truncated,
            "conflicting": self.conflicting,
            "refused_for": self.refused_for,
        }

    @property
    def set_aside_share(self) -> float:
        """Of the rows that may be the date's: how many folders are there is no news of it."""
        of_others = self.set_aside.get(ANOTHER_DATE, 0)
        of_date = self.rows_in - of_others
        return (self.rows_set_aside - of_others) / of_date if of_date else 0.0


def validate(
    store: Store, landed: Landed, day: date, requests: DataFrame | None, collisions: Collisions | None = None
) -> Outcome:
    """Apply the rules to what was landed of one table and choose one row of each key.

    Only keys and counts are computed here, in one pass and two more where a key is repeated; the rows are
    read again when they are written.

    Args:
        requests: `known_requests`, for a table whose rows name one.
    """
    if not landed.row_count:
        nothing = empty(store, landed.table)
        return Outcome(landed, nothing, nothing, nothing)
    whole = rows = landing.rows(store, landed)
    if requests is not None and rules.names_a_request(landed.contract):
        rows = rows.join(F.broadcast(requests), on="request_id", how="left")
    verdicts = rules.verdicts(landed, day, collisions or {})
    rows = rows.withColumn(VERDICT, rules.first_that_holds([verdict.holds for verdict in verdicts]))
    counted = counts.take(landed.table, rows, len(verdicts))
    # Without a row that is not kept the rules need not be worked out again when the rows are written.
    valid = rows.where(F.col(VERDICT).isNull()) if counted.not_kept else whole
    if counted.repeated_items:
        valid = duplicates.without_repeated_items(valid)
    aside = rows.where(_is_one_of(verdicts, lambda verdict: verdict.sets_aside and verdict.reason != ANOTHER_DATE))
    outcome = Outcome(landed, _refused(rows, verdicts), valid, aside, counts=counted)
    for index, count in counted.not_kept.items():
        verdict = verdicts[index]
        counts_of = outcome.set_aside if verdict.sets_aside else outcome.refused_for
        counts_of[verdict.reason] = counts_of.get(verdict.reason, 0) + count
    if counted.repeated:
        chosen = duplicates.winners(landed, valid, counted.repeated_keys, counted.repeated).cache()
        outcome.duplicates, outcome.conflicting = duplicates.counts(chosen)
        outcome.kept = duplicates.kept(landed.table, valid, chosen, counted.repeated)
    return outcome


def _refused(rows: DataFrame, verdicts: list[Verdict]) -> DataFrame:
    reasons = F.array(*(F.lit(verdict.reason) for verdict in verdicts))
    refused = rows.where(_is_one_of(verdicts, lambda verdict: not verdict.sets_aside))
    return refused.withColumn(REASON, F.element_at(reasons, F.col(VERDICT) + 1))


def _is_one_of(verdicts: list[Verdict], wanted: Callable[[Verdict], bool]) -> Column:
    return F.col(VERDICT).isin([index for index, verdict in enumerate(verdicts) if wanted(verdict)])


def empty(store: Store, table: Table) -> DataFrame:
    """No rows, with the contract's columns."""
    columns = (F.lit(None).cast(sql_type(column.type)).alias(column.name) for column in table.columns)
    return store.spark.range(0).select(*columns)


def agree(table: Table, what: str, count: int, other: str, expected: int) -> None:
    """Raise a WorkFailedError unless both counts are the same: no row may be lost or made up."""
    if count != expected:
        raise WorkFailedError(f"{table.path}: {count} {what}, but {expected} {other}; did a landing file change?")
