"""Late rows of any log: whatever the order in which they arrive, the end is that of labelling from scratch."""

import random
from datetime import timedelta

import pytest

from jobs import build_increc_samples, build_user_histories, label_target_groups, relabel_late
from schemas.storage import arrow, delta_log
from schemas.storage.spark import Store
from schemas.table import MissingDataError
from schemas.tables.logs import conversions
from schemas.tables.registry import TABLES
from schemas.tables.samples import increc_samples
from tests.support import worked_example as example
from tests.support.generated_logs import DAYS, generated, oracle, put_logs
from tests.support.landed import flags, put, rows_of
from tests.support.project import LONG

# Each schedule takes a minute of Spark. The first is the unusual one: the worked example has the defaults.
SCHEDULES = [(seed, *((36, "every_request"), (24, "last_request"))[seed % 2]) for seed in range(20 if LONG else 1)]
DAY_2 = example.DAY + timedelta(days=1)
MADE_FROM = ("logs/requests", "logs/retrievals", "logs/impressions", "labels/target_groups")


def relabel(root, day) -> dict:
    return relabel_late.main(flags(relabel_late, root, day), day)


def redeliver(spark, root, conversions: list[tuple], days) -> None:
    """What a second ingest of these dates leaves behind."""
    for day in days:
        put(spark, root, "conversions", day, [row for row in conversions if row[4].date() == day])


@pytest.fixture
def worked(spark, tmp_path):
    """The worked example, labelled before its two purchases and day 2 were known; samples were built from that."""
    early = [row for row in example.CONVERSIONS if row[3] != "purchase" and row[4].date() == example.DAY]
    for name in ("requests", "retrievals", "impressions"):
        put(spark, tmp_path, name, example.DAY, getattr(example, name.upper()))
    redeliver(spark, tmp_path, early, [example.DAY])
    label_target_groups.main(flags(label_target_groups, tmp_path, example.DAY), example.DAY)
    version = arrow.delta(str(tmp_path), label_target_groups.target_groups).version()
    made_from = {"labels/target_groups": version}
    arrow.write(str(tmp_path), increc_samples, example.DAY, increc_samples.schema.empty_table(), made_from, {})
    return tmp_path


def test_worked_example_with_late_purchases(spark, worked):
    assert relabel(worked, example.DAY) == {"rows_written": 0, "relabelled_dates": [], "stale_dates": []}
    assert build_increc_samples.stale(str(worked), [example.DAY, DAY_2]) == []
    redeliver(spark, worked, example.CONVERSIONS, [example.DAY, DAY_2])
    counts = relabel(worked, example.DAY)
    assert build_increc_samples.stale(str(worked), [example.DAY, DAY_2]) == [example.DAY]
    found = rows_of(spark, worked, "target_groups", example.DAY)
    assert set(found) == example.EXPECTED
    assert len(found) == len(example.EXPECTED)
    # Anew: both groups of r1's item 3 and r2's item 8, r1's RTG 2 and r3's ITG 5; gone: r2's ETG 8 without action is
    # the same key, so it is changed.
    assert counts == {
        "rows_written": 6, "relabelled_dates": ["2024-03-01"], "stale_dates": ["2024-03-01"],
    }  # fmt: skip
    assert relabel(worked, example.DAY) == {"rows_written": 0, "relabelled_dates": [], "stale_dates": ["2024-03-01"]}


def test_samples_are_stale_when_only_a_weaker_action_changed(spark, worked):
    """r1's click on item 3 moves out of the scenario. Its purchase stands for both in the labels, which stay as they
    are; the in-scenario action of hccp_samples does not."""
    redeliver(spark, worked, example.CONVERSIONS, [example.DAY, DAY_2])
    relabel(worked, example.DAY)
    version = arrow.delta(str(worked), label_target_groups.target_groups).version()
    made_from = {"labels/target_groups": version}
    arrow.write(str(worked), increc_samples, example.DAY, increc_samples.schema.empty_table(), made_from, {})
    assert build_increc_samples.stale(str(worked), [example.DAY]) == []
    moved = [(*row[:5], "search", None, row[7]) if row[0] == "e0" else row for row in example.CONVERSIONS]
    redeliver(spark, worked, moved, [example.DAY])
    counts = relabel(worked, example.DAY)
    assert counts == {"rows_written": 0, "relabelled_dates": [], "stale_dates": ["2024-03-01"]}


def test_a_redelivered_event_with_another_item_takes_its_old_row_away(spark, worked):
    moved = [(*row[:2], 6, *row[3:]) if row[2] == 9 else row for row in example.CONVERSIONS]
    redeliver(spark, worked, moved, [example.DAY, DAY_2])
    relabel(worked, example.DAY)
    found = rows_of(spark, worked, "target_groups", example.DAY)
    assert set(found) == {(*row[:2], 6, *row[3:]) if row[2] == 9 else row for row in example.EXPECTED}


def test_a_date_whose_old_files_are_vacuumed_is_labelled_anew(spark, worked):
    redeliver(spark, worked, example.CONVERSIONS, [example.DAY, DAY_2])
    arrow.delta(str(worked), conversions).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    relabel(worked, example.DAY)
    assert set(rows_of(spark, worked, "target_groups", example.DAY)) == example.EXPECTED


def test_without_labels_it_says_what_to_run(spark, tmp_path):
    with pytest.raises(MissingDataError, match="no date up to 2024-03-01 is labelled"):
        relabel(tmp_path, example.DAY)


@pytest.mark.parametrize(
    ("name", "late", "expected"),
    [
        # r3 had been shown item 3 alone: item 5, acted on, was exposed too.
        ("impressions", ("r3", 5, 2, example.at("23:30:01")), {("r3", 5, "ETG"), ("r3", 5, "RTG")}),
        # A channel that returned item 9 for r1 makes it RTG.
        ("retrievals", ("r1", "als", [9], []), {("r1", 9, "RTG")}),
        # A request of u1 at 11:59 takes the cart of 11:59:59, item 9, from r1; it has no list, so no label.
        ("requests", ("r0", 1, "homepage", example.at("11:59")), set()),
    ],
)
def test_a_late_row_of_another_log(spark, tmp_path, name, late, expected):
    for log in ("requests", "retrievals", "impressions"):
        put(spark, tmp_path, log, example.DAY, getattr(example, log.upper()))
    redeliver(spark, tmp_path, example.CONVERSIONS, [example.DAY, DAY_2])
    label_target_groups.main(flags(label_target_groups, tmp_path, example.DAY), example.DAY)
    store = Store(spark, str(tmp_path))
    made_from = {path: delta_log.version(store.root, TABLES[path.split("/")[1]]) for path in MADE_FROM}
    arrow.write(str(tmp_path), increc_samples, example.DAY, increc_samples.schema.empty_table(), made_from, {})
    assert relabel(tmp_path, example.DAY)["stale_dates"] == []
    put(spark, tmp_path, name, example.DAY, [*getattr(example, name.upper()), late])
    assert relabel(tmp_path, example.DAY)["stale_dates"] == ["2024-03-01"]
    touched = {(row[0], row[2]) for row in expected} | {("r1", 9) if name != "impressions" else ("r3", 5)}
    rows = rows_of(spark, tmp_path, "target_groups", example.DAY)
    assert {row[:1] + row[2:4] for row in rows if (row[0], row[2]) in touched} == expected
    assert {row for row in rows if (row[0], row[2]) not in touched} == {
        row for row in example.EXPECTED if (row[0], row[2]) not in touched
    }


def test_histories_of_late_requests_are_stale(spark, worked):
    build_user_histories.main(flags(build_user_histories, worked, example.DAY), example.DAY)
    assert build_user_histories.stale(str(worked), [example.DAY, DAY_2]) == []
    put(spark, worked, "requests", example.DAY, [*example.REQUESTS, ("r9", 9, "homepage", example.at("13:00"))])
    assert build_user_histories.stale(str(worked), [example.DAY, DAY_2]) == [example.DAY]


@pytest.mark.parametrize(("seed", "hours", "attribution"), SCHEDULES)
def test_any_schedule_of_arrivals_ends_as_labelling_from_scratch(spark, tmp_path, seed, hours, attribution):
    """Rows of all four logs arrive late, conversions with other content too, on some dates or all; runs come any
    number of times."""
    draw, logs = random.Random(seed), generated(seed=100 + seed, per_day=80)
    times = {row[0]: row[3] for row in logs["requests"]}
    arrivals = {name: [draw.choice([0, 0, 0, 1, 2]) for _ in rows] for name, rows in logs.items()}
    first_told = [
        (*row[:2], draw.randrange(40), "click", *row[4:]) if draw.random() < 0.3 else row for row in logs["conversions"]
    ]

    def known(wave: int) -> dict[str, list[tuple]]:
        """What has arrived; the first wave tells some conversions otherwise."""
        told = logs if wave else {**logs, "conversions": first_told}
        return {
            name: [row for row, when in zip(told[name], arrivals[name], strict=True) if when <= wave] for name in logs
        }

    put_logs(spark, tmp_path, known(0), times)
    given = ("--window-hours", str(hours), "--attribution", attribution)
    for day in DAYS[:2]:
        label_target_groups.main(flags(label_target_groups, tmp_path, day, *given), day)
    for wave, days in ((1, draw.sample(DAYS, 2)), (2, DAYS)):
        for name, rows in known(wave).items():
            if wave == 2 or draw.random() < 0.6:
                arrive(spark, tmp_path, name, rows, days, times)
        for _ in range(draw.randrange(3) if days != DAYS else 1):
            relabel(tmp_path, DAYS[-1])
    for day in DAYS[:2]:
        found = rows_of(spark, tmp_path, "target_groups", day)
        rows, _, _ = oracle(logs, day, hours, attribution)
        assert set(found) == rows
        assert len(found) == len(rows)


def arrive(spark, root, name: str, rows: list[tuple], days, times: dict) -> None:
    """What a second ingest of these dates of a log leaves behind."""
    time_of = {"requests": lambda row: row[3], "conversions": lambda row: row[4]}.get(name, lambda row: times[row[0]])
    for day in days:
        put(spark, root, name, day, [row for row in rows if time_of(row).date() == day])
