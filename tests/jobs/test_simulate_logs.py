"""The simulated world: its bytes, its contract, its truth, and what it was asked for."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyarrow import dataset

from jobs import simulate_logs
from jobs.simulator.channels import first_occurrences
from jobs.simulator.demand import visits_elsewhere
from jobs.simulator.landing import land
from jobs.simulator.population import items_of
from jobs.simulator.settings import CHANNELS, World
from jobs.simulator.stages import capped, correlated
from schemas.storage import arrow
from schemas.tables.logs import LOGS

DAY = date(2020, 3, 1)
SMALL = World(users=300, items=600, seed=7)


def landed(root, table: str, day: date = DAY) -> list[dict]:
    return dataset.dataset(f"{root}/landing/{table}/date={day}").to_table().to_pylist()


def digests(root, day: date = DAY) -> dict[str, str]:
    """The hash of every file of the date, by path without what names its settings."""
    return {
        re.sub(r"-[0-9a-f]{8}\.", ".", str(path.relative_to(root))): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file() and f"date={day}" in path.parts
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two dates of the small world, with the figures of the second."""
    root = tmp_path_factory.mktemp("world")
    land(str(root), SMALL, DAY - timedelta(1))
    land(str(root), SMALL, DAY)
    return root


def test_one_seed_gives_the_same_bytes_and_a_date_alone_those_of_a_range(world, tmp_path):
    land(str(tmp_path), SMALL, DAY)  # alone, where `world` has the date before it too
    assert len(digests(tmp_path)) == 2 * 11  # seven logs and four truths, a file and a manifest each
    assert digests(tmp_path) == digests(world)


def test_another_process_gives_the_same_bytes(run_job, tmp_path):
    flags = ("--date", DAY, "--users", 150, "--items", 300, "--seed", 3)
    statuses = [run_job("simulate_logs", "--root", tmp_path / name, *flags)[0] for name in "ab"]
    assert statuses == [0, 0]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_gives_other_rows_everywhere(world, tmp_path):
    land(str(tmp_path), replace(SMALL, seed=8), DAY)
    ours, theirs = digests(world), digests(tmp_path)
    assert ours.keys() == theirs.keys()
    assert not [path for path in ours if ours[path] == theirs[path]]


def test_every_row_keeps_the_contract(world):
    for table in LOGS:
        arrow.check(table, dataset.dataset(f"{world}/landing/{table.name}/date={DAY}").schema)
        rows = landed(world, table.name)
        assert rows
        for row in rows:
            missing = [c.name for c in table.columns if not c.nullable and row[c.name] is None]
            assert not missing, (table.name, row)
            assert all(row[name] != "" for name in table.key)
        keys = [tuple(row[name] for name in table.key) for row in rows]
        assert len(set(keys)) == len(keys), table.name


def test_lists_repeat_nothing_and_scores_are_parallel(world):
    for row in landed(world, "retrievals") + landed(world, "stages"):
        assert row["item_ids"]
        assert None not in row["item_ids"]
        assert len(set(row["item_ids"])) == len(row["item_ids"])
        assert len(row["scores"]) in (0, len(row["item_ids"]))
        assert row["scores"] == sorted(row["scores"], reverse=True)


def test_times_lie_on_the_date_and_nothing_is_logged_before_it_happened(world):
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    requests = landed(world, "requests")
    impressions = landed(world, "impressions")
    conversions = landed(world, "conversions")
    times = [row["request_time"] for row in requests] + [row["event_time"] for row in conversions]
    assert all(midnight <= time < midnight + timedelta(1) for time in times)
    asked = {row["request_id"]: row for row in requests}
    shown = {(row["request_id"], row["item_id"]): row["impression_time"] for row in impressions}
    for (request_id, _), time in shown.items():
        assert asked[request_id]["request_time"] <= time < midnight + timedelta(1)
    for row in conversions:
        assert row["logged_time"] >= row["event_time"]
        if row["request_id"]:
            assert row["user_id"] == asked[row["request_id"]]["user_id"]
            assert row["event_time"] >= shown[row["request_id"], row["item_id"]]
    delays = [row["logged_time"] - row["event_time"] for row in conversions]
    late = sum(delay > timedelta(hours=1) for delay in delays) / len(delays)
    assert 0.03 < late < 0.07  # of the 5 % that are late, nearly all are by more than an hour
    assert max(delays) <= timedelta(hours=72)
    assert any(row["event_time"].date() < row["logged_time"].date() for row in conversions)


def test_ids_refer_to_rows_and_are_unique_across_dates(world):
    users, items = ({row[f"{one}_id"] for row in landed(world, f"{one}s")} for one in ("user", "item"))
    assert users == set(range(1, SMALL.users + 1))
    assert items == set(range(1, SMALL.items + 1))
    known = {row["request_id"] for row in landed(world, "requests")}
    for table in ("retrievals", "stages", "impressions"):
        assert {row["request_id"] for row in landed(world, table)} <= known
    assert {row["item_id"] for row in landed(world, "conversions")} <= items
    for table, key in (("requests", "request_id"), ("conversions", "event_id")):
        before, after = ({row[key] for row in landed(world, table, day)} for day in (DAY - timedelta(1), DAY))
        assert not before & after


def test_scenarios(world):
    scenarios = {row["request_id"]: row["scenario"] for row in landed(world, "requests")}
    assert set(scenarios.values()) == {"homepage", "search", "cart_page", "category_page"}
    retrieved = {row["request_id"] for row in landed(world, "retrievals")}
    assert retrieved == {request_id for request_id, scenario in scenarios.items() if scenario == "homepage"}
    for row in landed(world, "conversions"):
        assert (row["request_id"] is not None) == (row["scenario"] == "homepage")


def test_the_funnel_nests(world):
    retrieved: dict[str, set] = {}
    for row in landed(world, "retrievals"):
        retrieved.setdefault(row["request_id"], set()).update(row["item_ids"])
    stages = {(row["request_id"], row["stage"]): row["item_ids"] for row in landed(world, "stages")}
    shown: dict[str, list] = {}
    for row in sorted(landed(world, "impressions"), key=lambda row: row["position"]):
        shown.setdefault(row["request_id"], []).append(row["item_id"])
    category = {row["item_id"]: row["category_id"] for row in landed(world, "items")}
    for request_id, items in retrieved.items():
        assert set(stages[request_id, "pre_ranking"]) < items
        assert set(stages[request_id, "ranking"]) <= set(stages[request_id, "pre_ranking"])
        assert set(stages[request_id, "re_ranking"]) <= set(stages[request_id, "ranking"])
        assert shown[request_id] == stages[request_id, "re_ranking"]
        counts = [sum(category[item] == one for item in shown[request_id]) for one in set(category.values())]
        assert max(counts) <= SMALL.category_cap


def test_channels_miss_the_planted_segment_and_users_do_not(world):
    planted = {row["item_id"] for row in landed(world, "_truth/items") if row["planted"]}
    assert 0 < len(planted) < SMALL.items / 2
    channels = set()
    for row in landed(world, "retrievals"):
        channels.add(row["channel"])
        assert not planted & set(row["item_ids"])
    assert channels == set(CHANNELS)
    elsewhere = [row for row in landed(world, "conversions") if row["scenario"] != "homepage"]
    share = sum(row["item_id"] in planted for row in elsewhere) / len(elsewhere)
    assert 0.12 < share < 0.28  # planted_demand .2, some 480 visits of 300 users who differ in it
    marked = {row["event_id"]: row["planted"] for row in landed(world, "_truth/conversions")}
    assert marked == {row["event_id"]: row["item_id"] in planted for row in landed(world, "conversions")}


def test_own_recent_items_are_those_of_the_days_before(world):
    visits = visits_elsewhere(SMALL, DAY - timedelta(1))
    planted = items_of(SMALL).planted
    latest = {}
    for user, item in zip(visits.users, visits.items, strict=True):  # in the order of their times
        if not planted[item]:
            latest[user + 1] = item + 1
    owner = {row["request_id"]: row["user_id"] for row in landed(world, "requests")}
    own = {row["request_id"]: row["item_ids"] for row in landed(world, "retrievals") if row["channel"] == "own_recent"}
    checked = [request_id for request_id in own if owner[request_id] in latest]
    assert checked
    assert all(own[request_id][0] == latest[owner[request_id]] for request_id in checked)


def test_truth_follows_from_the_tastes(world):
    """Click logits differ between two items of a request by 4 x the cosines' difference + .5 x the qualities'."""
    users = {row["user_id"]: np.array(row["taste"]) for row in landed(world, "_truth/users")}
    items = {row["item_id"]: (np.array(row["taste"]), row["quality"]) for row in landed(world, "_truth/items")}
    owner = {row["request_id"]: row["user_id"] for row in landed(world, "requests")}
    retrieved: dict[str, set] = {}
    for row in landed(world, "retrievals"):
        retrieved.setdefault(row["request_id"], set()).update(row["item_ids"])
    candidates = landed(world, "_truth/candidates")
    assert {row["request_id"] for row in candidates} == retrieved.keys()
    for row in candidates[:50]:
        assert set(row["item_ids"]) == retrieved[row["request_id"]]
        clicks = np.array(row["click_probabilities"])
        taste = users[owner[row["request_id"]]]
        expected = [4 * float(taste @ items[item][0]) + 0.5 * items[item][1] for item in row["item_ids"]]
        intercepts = np.log(clicks / (1 - clicks)) - expected
        np.testing.assert_allclose(intercepts, intercepts[0], atol=1e-3)
        assert all(np.array(row["purchase_probabilities"]) < clicks)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_world_is_what_it_was_asked_for(tmp_path, seed):
    _, figures = land(str(tmp_path), World(users=2000, items=2000, seed=seed, truth_requests=0), DAY)
    shares = figures.shares()
    assert 0.065 < shares["ctr"] < 0.085  # asked .075; some 19,000 impressions
    assert 0.10 < shares["cvr"] < 0.18  # asked .14; some 1,400 clicks: a deviation of .009
    assert shares["pre_ranking_correlation"] == pytest.approx(0.4, abs=1e-3)
    assert 0.5 < shares["coverage"] < 0.85
    assert not landed(tmp_path, "_truth/candidates")


def test_dials_move_what_they_name(tmp_path):
    def shares(name: str, **dials) -> dict:
        return land(str(tmp_path / name), replace(SMALL, **dials), DAY)[1].shares()

    plain, wide, unplanted = shares("plain"), shares("wide", coverage=2.0), shares("none", planted_items=0.0)
    assert plain["coverage"] < wide["coverage"]
    assert plain["coverage"] < unplanted["coverage"]
    assert not any(row["planted"] for row in landed(tmp_path / "none", "_truth/items"))
    dense = land(str(tmp_path / "dense"), replace(SMALL, requests_per_user=3.0), DAY)[1].requests
    assert 2.5 < dense / land(str(tmp_path / "again"), SMALL, DAY)[1].requests < 3.5


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory):
    """The small world, its ranker scoring up to 20 dropped candidates a request."""
    root = tmp_path_factory.mktemp("shadowed")
    land(str(root), replace(SMALL, shadow_ranked=20), DAY)
    return root


def test_shadow_scores_change_nothing_else(world, shadowed):
    ours, theirs = digests(world), digests(shadowed)
    assert {path for path in ours if path.endswith(".parquet") and ours[path] != theirs[path]} == {
        path for path in ours if path.startswith("landing/stages/") and path.endswith(".parquet")
    }
    plain = landed(world, "stages")
    assert [row for row in landed(shadowed, "stages") if row["stage"] != "shadow_ranking"] == plain
    assert {row["stage"] for row in plain} == {"pre_ranking", "ranking", "re_ranking"}


def test_shadow_scores_are_of_dropped_candidates_on_the_rankers_line(shadowed):
    """Standardised over what was kept, a score is .92 x truth + sqrt(1 - .92 ** 2) x noise: the noise of the kept ones
    has mean 0 and deviation 1 exactly, that of some 5,000 others nearly."""
    candidates = {row["request_id"]: row for row in landed(shadowed, "_truth/candidates")}
    stages = {(row["request_id"], row["stage"]): row for row in landed(shadowed, "stages")}
    noises: dict[str, list] = {"ranking": [], "shadow_ranking": []}
    for request_id, row in candidates.items():
        clicks = np.array(row["click_probabilities"])
        truth = dict(zip(row["item_ids"], np.log(clicks / (1 - clicks)), strict=True))
        kept = stages[request_id, "pre_ranking"]["item_ids"]
        shadow = stages[request_id, "shadow_ranking"]["item_ids"]
        assert not set(shadow) & set(kept)
        assert set(shadow) <= set(truth)
        assert len(shadow) == min(20, len(truth) - len(kept))
        line = [truth[item] for item in kept]
        for stage, found in noises.items():
            logged = stages[request_id, stage]
            standard = (np.array([truth[item] for item in logged["item_ids"]]) - np.mean(line)) / np.std(line)
            found += list((np.array(logged["scores"]) - 0.92 * standard) / np.sqrt(1 - 0.92**2))
    assert len(noises["shadow_ranking"]) > 4000
    for found in noises.values():
        assert np.mean(found) == pytest.approx(0, abs=0.06)
        assert np.std(found) == pytest.approx(1, abs=0.05)


def test_duplicates_and_conflicts_land_when_asked_for(world, tmp_path):
    land(str(tmp_path), replace(SMALL, duplicates=0.1, conflicts=0.1), DAY)
    clean = {row["event_id"]: row for row in landed(world, "conversions")}
    rows = landed(tmp_path, "conversions")
    assert {row["event_id"]: row for row in reversed(rows)} == clean  # the first row of a key is the clean one
    again = len([row for row in rows if row == clean[row["event_id"]]]) - len(clean)
    other = [row for row in rows if row != clean[row["event_id"]]]
    assert 0.05 < again / len(clean) < 0.15
    assert 0.05 < len(other) / len(clean) < 0.15
    assert all(row["item_id"] != clean[row["event_id"]]["item_id"] for row in other)


def test_a_world_without_requests_lands_files_without_rows(tmp_path):
    rows, figures = land(str(tmp_path), replace(SMALL, requests_per_user=0.0), DAY)
    assert (rows["requests"], rows["retrievals"], rows["impressions"]) == (0, 0, 0)
    assert landed(tmp_path, "retrievals") == []
    assert rows["conversions"] > 0
    assert figures.shares()["ctr"] == 0.0


def test_first_occurrences_against_a_loop():
    draws = np.random.default_rng(0)
    for _ in range(50):
        lists = draws.integers(-1, 12, size=(20, 15)).astype(np.int32)
        expected = []
        for row in lists:
            kept = list(dict.fromkeys(item for item in row if item >= 0))[:6]
            expected.append(kept + [-1] * (6 - len(kept)))
        assert first_occurrences(lists, 6).tolist() == expected


def test_category_cap_against_a_loop():
    world = replace(SMALL, category_cap=2, exposed=6)
    category = items_of(world).category
    draws = np.random.default_rng(0)
    ranked = np.stack([draws.permutation(30) for _ in range(200)]).astype(np.int32)
    ranked[:50, 8:] = -1
    for row, slots in zip(ranked, capped(world, ranked), strict=True):
        expected: list[int] = []
        for column, item in enumerate(row):
            same = sum(category[row[other]] == category[item] for other in expected)
            if item >= 0 and same < 2 and len(expected) < 6:
                expected.append(column)
        assert slots.tolist() == expected + [-1] * (6 - len(expected))


def test_scores_have_exactly_the_correlation_asked_for():
    draws = np.random.default_rng(0)
    truth, other = draws.normal(size=(2, 30, 200))
    there = draws.random((30, 200)) < 0.7
    scores = correlated(truth, other + truth, 0.4, there)
    assert (scores[~there] == -np.inf).all()
    for row in range(30):
        pair = truth[row, there[row]], scores[row, there[row]]
        assert np.corrcoef(*pair)[0, 1] == pytest.approx(0.4, abs=1e-3)


def test_arguments_name_the_days():
    def days(*flags: str) -> list[str]:
        return [str(day) for day in simulate_logs.parse(["--root", "r", *flags]).date]

    assert days("--date", "2020-02-28", "--days", "3") == ["2020-02-28", "2020-02-29", "2020-03-01"]
    assert days("--date", "2020-02-28..2020-02-29") == ["2020-02-28", "2020-02-29"]
    assert days("--date", "2020-02-28") == ["2020-02-28"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--date", "2020-02-28..2020-03-01", "--days", "2"), "--date has 3 dates and --days 2"),
        (("--date", "2020-02-28", "--days", "0"), "at least 1"),
        (("--date", "2020-02-28", "--items", "5"), "at least 100"),
        (("--date", "2020-02-28", "--seed", "-1"), "at least 0"),
    ],
)
def test_bad_arguments_are_refused(capsys, flags, said):
    with pytest.raises(SystemExit) as stopped:
        simulate_logs.parse(["--root", "r", *flags])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_job_sums_up_its_dates(run_job, tmp_path):
    status, line, _ = run_job(
        "simulate_logs", "--root", tmp_path, "--date", DAY, "--days", 2, "--users", 150, "--items", 300
    )
    assert status == 0
    days = (DAY, DAY + timedelta(1))
    assert line["requests"] == sum(len(landed(tmp_path, "requests", day)) for day in days)
    assert line["rows_written"] == sum(len(landed(tmp_path, table.name, day)) for table in LOGS for day in days)
    shown = sum(len(landed(tmp_path, "impressions", day)) for day in days)
    clicks = [
        row
        for day in days
        for row in landed(tmp_path, "conversions", day)
        if row["request_id"] and row["action"] == "click"
    ]
    assert line["figures"]["ctr"] == pytest.approx(len(clicks) / shown, abs=1e-4)
