"""The volume benchmark's small version: every engine makes the same rows of a few hundred requests. Not its times."""

import json
from importlib import import_module

import compare_at_volume as benchmark
import duckdb
import pytest
from pyarrow import parquet
from volume import duckdb_sql, equality, generate, plain_spark, polars_frames, report
from volume.measure import measured

from schemas.storage.spark import Store

DAY = generate.DAY


@pytest.fixture(scope="module")
def root(tmp_path_factory, spark):
    """300 requests or so, ingested, and what every engine made of them."""
    place = tmp_path_factory.mktemp("volume")
    generate.land_days(str(place), 300)
    for name, days in (("ingest_logs", generate.DAYS), *((name, [DAY]) for name in benchmark.JOBS)):
        job = import_module(f"jobs.{name}")
        for day in days:
            job.main(job.arg_parser().parse_args(["--root", str(place), "--date", str(day)]), day)
    duckdb_sql.build(str(place), DAY, f"{place}/out/duckdb", list(duckdb_sql.STEPS))
    polars_frames.build(str(place), DAY, f"{place}/out/polars")
    plain_spark.label(Store(spark, str(place)), DAY, f"{place}/out/warm")
    return place


def test_every_engine_makes_the_same_rows(root):
    engines = benchmark.made_by(root)
    found, faults = equality.compared(str(root), DAY, engines)
    assert faults == []
    assert [(table, engine) for table, engine, _, _ in found] == [
        *(("target_groups", engine) for engine in ("jobs", "duckdb", "polars", "plain Spark")),
        *(("increc_samples", engine) for engine in ("jobs", "duckdb", "polars")),
        *(("hccp_samples", engine) for engine in ("jobs", "duckdb", "polars")),
    ]
    assert min(rows for _, _, rows, _ in found) > 50


def test_the_day_has_skewed_users_and_long_lists(root):
    connection = duckdb_sql.connect(str(root), DAY)
    per_request, channels = connection.execute(
        "SELECT sum(len(item_ids)) / count(DISTINCT request_id), count(DISTINCT channel) FROM retrievals"
    ).fetchone()
    assert per_request > 1_000
    assert channels == 5
    most, median = connection.execute(
        "SELECT max(n), median(n) FROM (SELECT count(*) AS n FROM all_asked GROUP BY user_id)"
    ).fetchone()
    assert most > 10 * median


def test_copies_are_as_many_times_the_rows_with_keys_of_their_own(root, tmp_path):
    generate.land_copies(str(root), str(tmp_path), 3)
    for table, key in (("requests", "request_id"), ("conversions", "event_id"), ("users", "user_id")):
        rows, keys = (
            duckdb.execute(f"""SELECT count(*), count(DISTINCT {key})
                               FROM read_parquet('{place}/landing/{table}/date={DAY}/*.parquet')""").fetchone()
            for place in (root, tmp_path)
        )
        assert keys == (3 * rows[0], 3 * rows[1])
    items = [parquet.read_table(f"{place}/landing/items/date={DAY}/") for place in (root, tmp_path)]
    assert items[0].num_rows == items[1].num_rows


@pytest.mark.parametrize("table", ["target_groups", "increc_samples", "hccp_samples"])
def test_a_changed_row_is_a_difference(root, tmp_path, table):
    rows = parquet.read_table(root / "out" / "duckdb" / f"{table}.parquet")
    parquet.write_table(rows.slice(1), tmp_path / "less.parquet")
    engines = [benchmark.made_by(root)[1], equality.Rows("less", {table: str(tmp_path / "less.parquet")})]
    _, faults = equality.compared(str(root), DAY, engines)
    assert [fault.split(": ")[0] for fault in faults] == [table]


def test_draws_from_elsewhere_are_faults(root, tmp_path):
    """The first request's drawn items are replaced by items that nobody retrieved: 10 ranked and 40 filtered ones."""
    place = f"{tmp_path}/wrong.parquet"
    duckdb.execute(f"""COPY (
        SELECT * REPLACE ([CASE WHEN levels[i] IN ('ranked', 'filtered') AND request_id = first THEN -x ELSE x END
                           for x, i in item_ids] AS item_ids)
        FROM '{root}/out/duckdb/hccp_samples.parquet',
            (SELECT min(request_id) AS first FROM '{root}/out/duckdb/hccp_samples.parquet')
    ) TO '{place}'""")
    wrong = equality.draws_at_fault(duckdb_sql.connect(str(root), DAY), place)
    assert wrong | {"out_of_order": 0} == {
        "repeated": 0, "ranked_elsewhere": 10, "exposed": 0, "not_retrieved": 40, "not_dropped": 0, "out_of_order": 0
    }  # fmt: skip


def test_a_cost_counts_what_a_command_leaves_behind(tmp_path):
    """The command starts a second process that outlives it by computing for a while, as a JVM does."""
    burn = "import time; end = time.process_time() + 1\nwhile time.process_time() < end: pass"
    leaver = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}]); print('left')"
    cost = measured(["python3", "-c", leaver], tmp_path, [benchmark.HERE, benchmark.PROJECT])
    assert cost["output"].strip() == "left"
    assert cost["cpu"] > 1
    assert cost["peak"] > 0


def test_the_page_has_medians_and_ratios(tmp_path):
    walls = {"scan": (50, 4), "label_target_groups": (70, 5, 7)}
    cpu = {"scan": 9, "label_target_groups": 18}
    lines = [
        json.dumps({"mode": "warm", "step": step, "round": number, "wall": wall, "cpu": cpu[step]})
        for step, those in walls.items()
        for number, wall in enumerate(those)
    ]
    (tmp_path / "measured.jsonl").write_text("\n".join(lines))
    assert "| 6.0 / 4.0 s = **1.50** | 18.0 / 9.0 s = **2.00** |" in report.page(tmp_path)
