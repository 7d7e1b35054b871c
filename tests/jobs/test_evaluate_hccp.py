"""jobs/evaluate_hccp.py and its candidates: a day worked by hand, then a simulated funnel of known truth."""

import math
import os
import threading
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from jobs import evaluate_hccp, train_hccp
from jobs.evaluation import candidates
from jobs.evaluation.hccp import Judge, Settings
from jobs.evaluation.table import replace_rows
from jobs.evaluation.timing import one_core
from models.checkpoint import ModelDirectory
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError
from schemas.tables.reports import evaluations
from schemas.tables.samples import hccp_samples
from tests.support.planted_funnel import Funnel
from tests.support.tiny_root import put, put_delta

DAY = date(2020, 1, 2)
NOON = datetime(2020, 1, 2, 12, tzinfo=UTC)
FILLERS = list(range(100, 115))


def put_hand_worked(root, with_stages=True):
    """Two requests.

    r1 retrieved 1, 2, 3, 4 and fifteen fillers that are the most popular; the pre-ranker let through 3, 1, 2; the
    ranker ordered 1, 2, 3; 1 and 9 were shown (9 was logged by no channel); 1 was bought and 4 clicked elsewhere.
    r2 retrieved 1 and 2; nothing was ranked but re-ranked 2; 2 was shown and nobody acted.
    """
    put_delta(
        root,
        "retrievals",
        DAY,
        [("r1", "a", [1, 2, 3], []), ("r1", "b", [3, 4, *FILLERS], []), ("r2", "a", [2, 1], []), ("rx", "a", [7], [])],
    )
    if with_stages:
        put_delta(
            root,
            "stages",
            DAY,
            [
                ("r1", "pre_ranking", [3, 1, 2], []),
                ("r1", "ranking", [1, 2, 3], []),
                ("r1", "re_ranking", [2, 1], []),
                ("r2", "pre_ranking", [2, 1], []),
                ("r2", "re_ranking", [2], []),
            ],
        )
    put_delta(
        root,
        "target_groups",
        DAY,
        [
            ("r1", 7, 1, "ETG", "purchase", NOON, "homepage", 2, ["a"], 1),
            ("r1", 7, 1, "RTG", "purchase", NOON, "homepage", 2, ["a"], 1),
            ("r1", 7, 4, "RTG", "click", NOON, "search", 1, ["b"], None),
            ("r1", 7, 50, "ITG", "cart", NOON, "search", 1, [], None),
            ("r1", 7, 9, "ETG", None, None, None, 0, [], 2),
            ("r2", 8, 2, "ETG", None, None, None, 0, ["a"], 1),
            ("rx", 8, 7, "RTG", "click", NOON, "search", 1, ["a"], None),
        ],
    )
    stats = [(1, 9, 9, 9, 30, 0.5, "top"), (2, 9, 9, 9, 20, 0.3, "middle"), (9, 9, 9, 9, 1, 0.1, "tail")]
    put(root, "item_stats", DAY, stats + [(item, 9, 9, 9, 40, 0.01, "top") for item in FILLERS])
    put(
        root,
        "hccp_samples",
        DAY,
        [
            ("r1", 7, NOON, [2], ["click"], [1, 9, 2, 4], ["purchased", "exposed", "ranked", "filtered"],
             [1, 2, 3, 4], ["purchase", "", "", "click"], ["purchase", "", "", ""], [1.0] * 4),
            ("r2", 8, NOON, [], [], [2], ["exposed"], [1], [""], [""], [1.0]),
        ],
    )  # fmt: skip


def evaluated(root, *flags, day=DAY):
    arguments = evaluate_hccp.arg_parser().parse_args(["--root", str(root), "--date", str(day), *flags])
    return evaluate_hccp.main(arguments, day)


def values(root, day=DAY):
    """(variant, metric, segment, k) -> (value, support)."""
    rows = arrow.read(str(root), evaluations, day).to_pylist()
    hccp = [row for row in rows if row["model"] == "hccp"]
    return {(r["variant"], r["metric"], r["segment"], r["k"]): (r["value"], r["support"]) for r in hccp}


def test_candidates_by_hand(tmp_path):
    put_hand_worked(tmp_path)
    samples = arrow.read(str(tmp_path), hccp_samples, DAY).sort_by("request_id")
    found = candidates.read(str(tmp_path), DAY, samples)
    columns = ("exposed", "in_scenario_actions", "actions", "pre_ranking_order", "teacher_order", "conversions")
    by_item = {
        (int(request), int(item)): [int(getattr(found, name)[n]) for name in columns] + [found.popularity[n]]
        for n, (request, item) in enumerate(zip(found.requests, found.item_ids, strict=True))
        if item not in FILLERS
    }
    assert by_item == {
        (0, 1): [1, 4, 4, 2, 1, 30, "top"],
        (0, 2): [0, 0, 0, 3, 2, 20, "middle"],
        (0, 3): [0, 0, 0, 1, 3, 0, "tail"],
        (0, 4): [0, 0, 1, 0, 0, 0, "tail"],
        (0, 9): [1, 0, 0, 0, 0, 1, "tail"],
        (1, 1): [0, 0, 0, 2, 0, 30, "top"],
        (1, 2): [1, 0, 0, 1, 1, 20, "middle"],  # re-ranking stands in for the ranking that is not logged
    }
    assert len(found.item_ids) == 2 + 5 + len(FILLERS)


def candidates_of(root):
    return candidates.read(str(root), DAY, arrow.read(str(root), hccp_samples, DAY).sort_by("request_id"))


def test_what_the_samples_happened_to_draw_is_no_target(tmp_path):
    put_hand_worked(tmp_path)
    # The filtered item 4 was drawn for r1, and a conversion that names the request made its action in-scenario.
    levels, actions = ["purchased", "exposed", "filtered"], ["purchase", "", "click"]
    drawn = ("r1", 7, NOON, [2], ["click"], [1, 9, 4], levels, [1, 2, 3], actions, actions, [1.0] * 3)
    put(tmp_path, "hccp_samples", DAY, [drawn])
    found = candidates_of(tmp_path)
    assert found.item_ids[found.in_scenario_actions > 0].tolist() == [1]
    assert found.item_ids[found.actions > 0].tolist() == [1, 4]


def test_nothing_stands_in_for_a_ranking_that_let_nothing_through(tmp_path):
    put_hand_worked(tmp_path, with_stages=False)
    put_delta(tmp_path, "stages", DAY, [
        ("r1", "ranking", [], []), ("r1", "re_ranking", [2, 1], []), ("r2", "re_ranking", [2], [])
    ])  # fmt: skip
    found = candidates_of(tmp_path)
    assert [*zip(found.requests, found.item_ids, strict=True)][np.flatnonzero(found.teacher_order)[0]] == (1, 2)
    assert np.count_nonzero(found.teacher_order) == 1


def test_a_day_by_hand_without_a_model(tmp_path, capsys):
    put_hand_worked(tmp_path)
    replace_rows(str(tmp_path), DAY, "increc", [
        {"variant": "full", "seed": 1, "metric": "inc", "segment": "all", "k": 100, "value": 0.5, "support": 9}
    ])  # fmt: skip
    line = evaluated(tmp_path)
    found = values(tmp_path)
    assert (line["requests"], line["candidates"], line["models"]) == (2, 22, [])
    assert line["rows_written"] == len(found)
    assert "models/hccp has no model of the 7 days up to 2020-01-01" in capsys.readouterr().err
    # hot_items: in r1 the fifteen fillers, then 1 (rank 16), 2 (17), 9 (18), then 3 and 4 in some order.
    assert found["hot_items", "ish", "all", 10] == (0.0, 1)
    assert found["hot_items", "ish", "all", 20] == (1.0, 1)
    assert found["hot_items", "ish", "top", 20] == (1.0, 1)
    assert found["hot_items", "ash", "all", 20] == (1.0, 2)
    assert found["hot_items", "ash", "middle", 20] == (None, 0)
    # r1's user has one known conversion.
    assert found["hot_items", "ash", "cold_start", 20] == (1.0, 2)
    assert found["hot_items", "ash", "active", 20] == (None, 0)
    # 1 was acted on at home, 4 in search; what a scenario's own items are needs no segment by it.
    assert found["hot_items", "ash", "scenario_homepage", 10] == (0.0, 1)
    assert found["hot_items", "ash", "scenario_search", 20] == (1.0, 1)
    assert found["hot_items", "asph", "scenario_search", 20] == (None, 0)
    assert not {key for key in found if key[1] in ("ish", "isph") and key[2].startswith("scenario")}
    # incumbent: 3, 1, 2 and then the seventeen others: 1 is a hit, 4 only among the first 20.
    assert found["incumbent", "ash", "all", 50] == (1.0, 2)
    assert found["incumbent", "ish", "all", 10] == found["incumbent", "asph", "all", 10] == (1.0, 1)
    assert found["incumbent", "ash_per_request", "all", 50] == (1.0, 1)
    # The ranker's items: 1, 2, 3 of r1 and 2 of r2; all fillers stand before r1's three.
    assert found["hot_items", "ranker_recall_10", "all", 10] == (0.25, 4)
    assert found["hot_items", "ranker_recall_10", "all", 20] == (1.0, 4)
    # hot_items has the ranker's order inside these, 3 last; the incumbent has 3, 1, 2 (see test_ranking_metrics).
    assert found["hot_items", "ranker_ndcg", "all", 0] == (pytest.approx(1.0), 2)
    assert found["incumbent", "ranker_ndcg", "all", 0][0] < 1
    # Exposures: 1 (bought; 30 conversions), 9 (1) in r1 and 2 (20) in r2.
    assert found["hot_items", "auc", "all", 0] == (1.0, 3)
    assert found["hot_items", "gauc", "all", 0] == (1.0, 1)
    assert {row["model"] for row in arrow.read(str(tmp_path), evaluations, DAY).to_pylist()} == {"increc", "hccp"}


def test_without_stages_there_is_no_incumbent(tmp_path):
    put_hand_worked(tmp_path, with_stages=False)
    evaluated(tmp_path)
    assert {variant for variant, *_ in values(tmp_path)} == {"random", "hot_items"}
    assert values(tmp_path)["random", "ranker_ndcg", "all", 0] == (None, 0)


def test_fewer_requests_are_a_fixed_choice(tmp_path):
    put_hand_worked(tmp_path)
    lines = [evaluated(tmp_path, "--requests", "1") for _ in range(2)]
    assert lines[0] == lines[1]
    assert lines[0]["requests"] == 1


def test_a_missing_date_leaves_what_was_there(tmp_path):
    put_hand_worked(tmp_path)
    evaluated(tmp_path)
    before = partitions.manifest(Root.of(str(tmp_path)), evaluations, DAY)
    with pytest.raises(MissingDataError, match="samples/hccp_samples has no date 2020-01-05"):
        evaluated(tmp_path, day=date(2020, 1, 5))
    assert partitions.manifest(Root.of(str(tmp_path)), evaluations, DAY) == before


def test_on_a_planted_funnel_the_whole_stream_beats_exposures(tmp_path):
    root, funnel, day = str(tmp_path), Funnel(seed=1), date(2020, 1, 1)
    for n in range(2):
        funnel.put_day(root, day + timedelta(n), requests=400)
    flags = ["--root", root, "--date", str(day), "--preset", "exposed_only,full", "--size", "tiny"]
    train_hccp.main(train_hccp.arg_parser().parse_args(flags), day)
    line = evaluated(root, day=day + timedelta(1))
    assert line["models"] == [f"models/hccp/date={day}/{name}-tiny-seed1" for name in ("exposed_only", "full")]
    found = values(root, day + timedelta(1))
    for metric in ("ish", "ash", "ranker_recall_10"):
        random, exposed, full = (
            found[name, metric, "all", 10][0] for name in ("random", "exposed_only-tiny", "full-tiny")
        )
        assert random == pytest.approx(10 / 80, abs=0.04)
        assert full > exposed + 0.02
        assert full > 2 * random
    assert found["full-tiny", "milliseconds_p50", "all", 0][1] == 500
    assert found["full-tiny", "milliseconds_p50", "all", 0][0] > 0


def test_models_see_the_counts_of_the_judged_date(tmp_path):
    root, before = str(tmp_path), DAY - timedelta(1)
    Funnel(seed=1).put_day(root, before, requests=40)
    put_hand_worked(tmp_path)
    # The funnel's items 1000 and 1007 in the date's stats: 3 impressions and 1 click; nothing of all others.
    put(root, "item_stats", DAY, [(1000, 3, 1, 0, 0, 0.5, "top"), (1007, 0, 0, 0, 0, 0.5, "tail")])
    flags = ["--root", root, "--date", str(before), "--preset", "exposed_only", "--size", "tiny"]
    train_hccp.main(train_hccp.arg_parser().parse_args(flags), before)
    judge = Judge(root, DAY, Settings())
    model = judge.model(ModelDirectory(root, "hccp", before, "exposed_only-tiny", 1))
    counts, row = model.counts.numpy(), int(model.catalogue.lookup(np.array([1000]))[0])
    np.testing.assert_allclose(counts[row], [math.log(4) / 8, math.log(2) / 8, 0, 0], rtol=1e-6)
    assert np.count_nonzero(counts) == 2


def test_all_threads_are_on_one_core_and_free_again():
    if not hasattr(os, "sched_setaffinity"):  # a system that keeps no thread on a core says so
        with one_core() as alone:
            assert not alone
        return
    before, done = os.sched_getaffinity(0), threading.Event()
    asleep = threading.Thread(target=done.wait)
    asleep.start()
    try:
        with one_core() as alone:
            assert alone
            assert {len(os.sched_getaffinity(thread)) for thread in (0, asleep.native_id)} == {1}
            late = threading.Thread(target=done.wait)  # a thread has the mask of the one that starts it
            late.start()
        assert [os.sched_getaffinity(thread) for thread in (0, asleep.native_id, late.native_id)] == [before] * 3
    finally:
        done.set()
