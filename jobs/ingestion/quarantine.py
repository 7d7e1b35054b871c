"""Where refused rows are kept, whole, for whoever has to find out why."""

import dataclasses
from datetime import date

import pyarrow as pa
from pyspark.sql import functions as F

from jobs.ingestion.landing import ORIGINAL, quarantine_type
from jobs.ingestion.result import REASON, Outcome, agree
from schemas.storage.spark import Store
from schemas.storage.staging import publish, stage, withdraw
from schemas.table import Column, Table, partition


def of(table: Table) -> Table:
    """The quarantine of a log: its columns and `reason`."""
    columns = (*table.columns, Column("reason", pa.string(), "The first rule that refused the row."))
    return dataclasses.replace(table, layer="quarantine", storage="parquet", columns=columns)


def write(store: Store, outcome: Outcome, day: date, settings: dict) -> None:
    """Replace the quarantine of a date; without refused rows there is none.

    Raises:
        WorkFailedError: other rows were written than were counted.
    """
    landed = outcome.landed
    if not outcome.quarantined:
        return remove(store, landed.table, day)
    kinds = {name: quarantine_type(landed, name) for name in landed.table.names}
    columns = (dataclasses.replace(column, type=kinds[column.name]) for column in landed.table.columns)
    table = of(dataclasses.replace(landed.table, columns=tuple(columns)))
    kept = (F.col(f"{ORIGINAL}.`{name}`") for name in landed.table.names)
    rows = outcome.refused.select(*kept, F.col(REASON).alias("reason"))
    with stage(store.root, partition(table, day)) as staged:
        rows.write.parquet(store.uri(staged.folder))
        written = publish(staged, table, day, store.made_from, settings)["rows"]
    agree(table, "rows written", written, "rows refused", outcome.quarantined)


def remove(store: Store, table: Table, day: date) -> None:
    """Remove the quarantine of a date, if there is one."""
    withdraw(store.root, partition(of(table), day))
