"""The labels, histories and both samples of a date in Polars: `python -m volume.polars_frames ROOT DATE OUT`.

Reads the validated logs (the newest files of each Delta table) and writes OUT/<table>.parquet. Written for speed: lazy,
streaming, requests numbered so that no join but the first is on a string, what was retrieved kept in its lists until a
keyed hash has said which few items may be drawn.
"""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from volume.duckdb_sql import files
from volume.polars_hccp import hccp_samples
from volume.polars_labels import WINDOW, attributed, histories, increc_samples, labels

from schemas.table import Table
from schemas.tables import logs, samples
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.vocabulary import HOMEPAGE


def scan(root: str, table: Table, first: date, last: date) -> pl.LazyFrame:
    return pl.scan_parquet(files(root, table, first, last), hive_partitioning=False)


def build(root: str, day: date, out: str) -> dict[str, float]:
    """Write every table and return the seconds of each."""
    one, seconds = timedelta(1), {}
    Path(out).mkdir(parents=True, exist_ok=True)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    log = {table.name: scan(root, table, day, day) for table in logs.LOGS if table.name not in ("users", "items")}
    targets = scan(root, logs.requests, day - one, day + one).filter(pl.col("scenario") == HOMEPAGE)
    asked = targets.filter(pl.col("request_time").is_between(midnight, midnight + one, closed="left"))
    end = pl.col("event_time") < pl.lit(midnight + one) + WINDOW

    def written(table: Table, started: float, rows: pl.LazyFrame) -> pl.LazyFrame:
        made = rows.collect(engine="streaming")
        made.write_parquet(f"{out}/{table.name}.parquet", compression="zstd")
        seconds[table.name] = time.monotonic() - started
        return made.lazy()

    started = time.monotonic()
    acted = attributed(scan(root, logs.conversions, day, day + one).filter(end), targets).collect().lazy()
    groups = written(target_groups, started, labels(asked, log["impressions"], acted, log["retrievals"]))
    started = time.monotonic()
    history = histories(log["requests"], scan(root, logs.conversions, day - 30 * one, day))
    known = written(user_histories, started, history)
    started = time.monotonic()
    written(samples.increc_samples, started, increc_samples(groups, log["requests"], known))
    started = time.monotonic()
    written(samples.hccp_samples, started, hccp_samples(asked, log, acted, groups, known))
    return seconds


if __name__ == "__main__":
    root, day, out = sys.argv[1:]
    print(json.dumps(build(root, date.fromisoformat(day), out)))
