"""The labels, histories and both samples of a date in DuckDB: `python -m volume.duckdb_sql ROOT DATE OUT`.

Reads the validated logs (the newest files of each Delta table) and writes OUT/<table>.parquet. Written for speed: what
was retrieved stays in its lists, to which the few touched items of a request come by a join, and from which only those
leave that a keyed hash may draw.
"""

import json
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
from volume.duckdb_hccp import HCCP_SAMPLES
from volume.duckdb_labels import ATTRIBUTED, HISTORIES, INCREC_SAMPLES, LABELS

from schemas.storage import arrow
from schemas.table import Table
from schemas.tables import logs

STEPS = {
    "target_groups": ATTRIBUTED + LABELS,
    "user_histories": HISTORIES,
    "increc_samples": INCREC_SAMPLES,
    "hccp_samples": HCCP_SAMPLES,
}
SCAN = """
SELECT count(*), min(user_id), max(request_time) FROM requests;
SELECT count(DISTINCT request_id), sum(len(item_ids)), max(list_max(item_ids)), min(channel) FROM retrievals;
SELECT count(*), max(item_id), min(position), min(request_id) FROM impressions;
SELECT count(*), max(item_id), max(event_time), max(action), max(scenario), max(request_id), max(event_id), max(user_id)
FROM conversions;
"""


def files(root: str, table: Table, first: date, last: date) -> list[str]:
    """The newest files of a Delta table's dates first..last."""
    return arrow.delta(root, table).file_uris(
        file_pruning_predicate=[("date", ">=", str(first)), ("date", "<=", str(last))]
    )


def connect(root: str, day: date, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection with the logs that the date needs as views; one thread a core."""
    connection = duckdb.connect(config={"threads": threads})
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    connection.execute(f"CREATE TEMP MACRO day() AS TIMESTAMPTZ '{day} 00:00:00+00'")
    one = timedelta(1)
    views = (
        ("requests", logs.requests, day - one, day + one),
        ("all_asked", logs.requests, day, day),
        ("retrievals", logs.retrievals, day, day),
        ("stages", logs.stages, day, day),
        ("impressions", logs.impressions, day, day),
        ("conversions", logs.conversions, day, day + one),
        ("history_conversions", logs.conversions, day - 30 * one, day),
    )
    for view, table, first, last in views:
        found = files(root, table, first, last)
        connection.execute(f"CREATE TEMP VIEW {view} AS FROM read_parquet({found}, hive_partitioning = false)")
    return connection


def build(root: str, day: date, out: str, tables: list[str]) -> dict[str, float]:
    """Write the tables, in the order of STEPS, and return the seconds of each; `scan` is the columns of labels read."""
    connection, seconds = connect(root, day), {}
    Path(out).mkdir(parents=True, exist_ok=True)
    if "scan" in tables:
        started = time.monotonic()
        connection.execute(SCAN)
        seconds["scan"] = time.monotonic() - started
    for table in STEPS:
        if table in tables:
            started = time.monotonic()
            connection.execute(STEPS[table])
            connection.execute(f"COPY {table} TO '{out}/{table}.parquet' (COMPRESSION zstd)")
            seconds[table] = time.monotonic() - started
    return seconds


if __name__ == "__main__":
    root, day, out, *tables = sys.argv[1:]
    print(json.dumps(build(root, date.fromisoformat(day), out, tables or list(STEPS))))
