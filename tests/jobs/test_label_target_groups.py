"""Labels: the contract's worked example, and an oracle in plain loops over generated requests."""

from collections import Counter
from datetime import date, timedelta

import pytest
from pyarrow import parquet
from pyspark.sql import functions as F

from jobs import label_target_groups as job
from jobs.funnel.labelling import Labelling
from schemas.storage import arrow
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from tests.support import worked_example as example
from tests.support.generated_logs import DAYS, generated, oracle, put_logs
from tests.support.landed import flags, frame, put, rows_of

DAY_2 = example.DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def worked(spark, tmp_path_factory):
    root = tmp_path_factory.mktemp("worked")
    one, two = example.DAY, example.DAY + timedelta(days=1)
    put(spark, root, "requests", one, example.REQUESTS)
    put(spark, root, "retrievals", one, example.RETRIEVALS)
    put(spark, root, "impressions", one, example.IMPRESSIONS)
    for day in (one, two):
        put(spark, root, "conversions", day, [row for row in example.CONVERSIONS if row[4].date() == day])
    return root


def test_worked_example(spark, worked):
    counts = job.main(flags(job, worked, example.DAY), example.DAY)
    rows = rows_of(spark, worked, "target_groups", example.DAY)
    assert set(rows) == example.EXPECTED
    assert len(rows) == len(example.EXPECTED)
    # Acted on: 2, 3 and 9 after r1, 4 and 8 after r2, 5 after r3; no channel had 9 and 5.
    assert counts == {
        "rows_written": 11, "unlabelable": 1, "unattributed": 1, "mature": True, "acted": 6, "itg": 2
    }  # fmt: skip


def test_labelling_again_changes_nothing(spark, worked):
    job.main(flags(job, worked, example.DAY), example.DAY)
    job.main(flags(job, worked, example.DAY), example.DAY)
    assert set(rows_of(spark, worked, "target_groups", example.DAY)) == example.EXPECTED


def test_every_request_gets_an_unnamed_conversion(spark, worked):
    """r1 and r2 both hold u1's events from 12:00 to 10:00 the next day; the named ones stay with r1."""
    job.main(flags(job, worked, example.DAY, "--attribution", "every_request"), example.DAY)
    rows = rows_of(spark, worked, "target_groups", example.DAY)
    acted = {(row[0], row[2], row[3]) for row in rows if row[4]}
    assert acted == {
        ("r1", 3, "ETG"), ("r1", 3, "RTG"), ("r1", 9, "ITG"), ("r1", 2, "RTG"), ("r1", 4, "RTG"),
        ("r2", 4, "ETG"), ("r2", 4, "RTG"), ("r2", 8, "ETG"), ("r2", 8, "RTG"), ("r3", 5, "ITG"),
    }  # fmt: skip


def test_a_date_without_logs_is_one_clear_error(spark, worked):
    """Day 2 has conversions, but nobody ingested the others."""
    with pytest.raises(MissingDataError) as fault:
        job.main(flags(job, worked, DAY_2), DAY_2)
    said = str(fault.value)
    assert "logs/requests has no date 2024-03-02" in said
    assert "logs/retrievals has no date 2024-03-02" in said
    assert "dates there: 2024-03-01 to 2024-03-01" in said
    assert "logs/conversions" not in said


def test_a_request_id_may_be_used_again_on_another_date(spark, tmp_path):
    """Ids count from 1 every day. The 1st is user 1's on both days, the 2nd user 1's and then user 2's."""
    requests = {
        example.DAY: [("1", 1, "homepage", example.at("20:00")), ("2", 1, "homepage", example.at("21:00"))],
        DAY_2: [("1", 1, "homepage", example.at("08:00", 2)), ("2", 2, "homepage", example.at("08:30", 2))],
    }
    acted = [
        (1, 11, example.at("20:05"), "1"),
        (1, 12, example.at("21:05"), "2"),
        (1, 13, example.at("08:05", 2), "1"),  # the later of the two whose window it is in
        (2, 14, example.at("08:35", 2), "2"),
        (2, 15, example.at("08:40", 2), None),
    ]
    conversions = [
        (f"e{n}", user, item, "click", time, "homepage", request, time)
        for n, (user, item, time, request) in enumerate(acted)
    ]
    for day, rows in requests.items():
        put(spark, tmp_path, "requests", day, rows)
        put(spark, tmp_path, "retrievals", day, [(row[0], "hot", [1], []) for row in rows])
        put(spark, tmp_path, "impressions", day, [])
        put(spark, tmp_path, "conversions", day, [row for row in conversions if row[4].date() == day])
    found = {}
    for day in requests:
        job.main(flags(job, tmp_path, day), day)
        found[day] = {(row[0], row[2], row[7]) for row in rows_of(spark, tmp_path, "target_groups", day)}
    assert found == {example.DAY: {("1", 11, 1), ("2", 12, 1)}, DAY_2: {("1", 13, 1), ("2", 14, 1), ("2", 15, 1)}}


def test_a_conversion_may_be_five_minutes_earlier_than_the_request_it_names(spark, tmp_path):
    """Over midnight: r2 is of 00:02 on day 2. What names it and is more than five minutes earlier belongs to r1."""
    requests = {
        example.DAY: [("r1", 1, "homepage", example.at("20:00"))],
        DAY_2: [("r2", 1, "homepage", example.at("00:02", 2))],
    }
    acted = [(11, example.at("23:57"), "r2"), (12, example.at("23:56:59"), "r2"), (13, example.at("23:58"), None)]
    conversions = [(f"e{item}", 1, item, "click", time, "homepage", request, time) for item, time, request in acted]
    for day, rows in requests.items():
        put(spark, tmp_path, "requests", day, rows)
        put(spark, tmp_path, "retrievals", day, [(row[0], "hot", [1], []) for row in rows])
        put(spark, tmp_path, "impressions", day, [])
        put(spark, tmp_path, "conversions", day, [row for row in conversions if row[4].date() == day])
    for attribution in ("last_request", "every_request"):
        found = {}
        for day in requests:
            job.main(flags(job, tmp_path, day, "--attribution", attribution), day)
            found[day] = {(row[0], row[2]) for row in rows_of(spark, tmp_path, "target_groups", day)}
        assert found == {example.DAY: {("r1", 12), ("r1", 13)}, DAY_2: {("r2", 11)}}


def test_an_empty_scenario_is_none(spark, worked):
    job.main(flags(job, worked, example.DAY, "--scenario="), example.DAY)
    assert set(rows_of(spark, worked, "target_groups", example.DAY)) == example.EXPECTED


def test_a_scenario_that_no_request_has_is_said(spark, worked, capsys):
    job.main(flags(job, worked, example.DAY, "--scenario", "Homepage"), example.DAY)
    assert "no request has the target scenario 'Homepage'; the requests' scenarios are homepage, search" in (
        capsys.readouterr().err
    )


def test_labels_of_an_earlier_release_are_read_and_relabelled(spark, tmp_path):
    """They lack request_scenario; their commit knows one scenario and no time zone."""
    recorded = {"window_hours": 24, "attribution": "last_request", "scenario": "homepage", "mature": True}
    assert Labelling.recorded(recorded) == Labelling(24, "last_request", ("homepage",), "UTC")
    older = frame(spark, target_groups, list(example.EXPECTED)).drop("request_scenario")
    older = older.withColumn("date", F.lit(example.DAY))
    older.write.format("delta").partitionBy("date").save(f"{tmp_path}/labels/target_groups")
    assert set(rows_of(spark, tmp_path, "target_groups", example.DAY)) == {
        (*row[:-1], None) for row in example.EXPECTED
    }
    assert arrow.read(str(tmp_path), target_groups, example.DAY)["request_scenario"].null_count == 11
    put(spark, tmp_path, "target_groups", DAY_2, list(example.EXPECTED))
    assert set(rows_of(spark, tmp_path, "target_groups", DAY_2)) == example.EXPECTED


def test_files_hold_the_contracts_columns_and_no_date(spark, worked):
    """The date is the folder's."""
    files = list((worked / "logs/requests").glob("date=*/*.parquet"))
    assert files
    for file in files:
        assert parquet.read_schema(file).names == ["request_id", "user_id", "scenario", "request_time"]


# --- generated logs against plain loops


@pytest.fixture(scope="module")
def many(spark, tmp_path_factory):
    root, logs = tmp_path_factory.mktemp("generated"), generated(seed=7)
    put_logs(spark, root, logs)
    return root, logs


@pytest.mark.parametrize(("hours", "attribution"), [(6, "every_request"), (24, "last_request")])
def test_generated_logs_against_plain_loops(spark, many, hours, attribution):
    root, logs = many
    assert len(logs["requests"]) >= 10_000
    for day in DAYS:
        counts = job.main(flags(job, root, day, "--window-hours", str(hours), "--attribution", attribution), day)
        rows, unlabelable, unattributed = oracle(logs, day, hours, attribution)
        found = rows_of(spark, root, "target_groups", day)
        assert set(found) == rows
        assert len(found) == len(rows)
        counted = {"rows_written": len(rows), "unlabelable": unlabelable, "unattributed": unattributed}
        groups = Counter(row[3] for row in rows)
        counted |= {"acted": groups["RTG"] + groups["ITG"], "itg": groups["ITG"]}
        assert counts == {**counted, "mature": True}


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York"])
def test_local_days_and_two_scenarios_against_plain_loops(spark, tmp_path, zone):
    """New York's clock changes on the third of the dates, a day of 23 hours."""
    logs, first = generated(seed=8, per_day=300), date(2024, 3, 8)
    shift = timedelta(days=7)
    for name, place in (("requests", 3), ("impressions", 3), ("conversions", 4)):
        logs[name] = [(*row[:place], row[place] + shift, *row[place + 1 :]) for row in logs[name]]
    put_logs(spark, tmp_path, logs, zone=zone)
    (tmp_path / "settings.toml").write_text(f'time_zone = "{zone}"\nscenarios = ["homepage", "search"]')
    for day in (first, first + timedelta(days=1), first + timedelta(days=2)):
        counts = job.main(flags(job, tmp_path, day), day)
        rows, unlabelable, unattributed = oracle(logs, day, 24, "last_request", ("homepage", "search"), zone)
        assert set(rows_of(spark, tmp_path, "target_groups", day)) == rows
        assert (counts["unlabelable"], counts["unattributed"]) == (unlabelable, unattributed)
