"""jobs/study/world_section.py: a world of two requests by hand, and when there is none to speak of."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from jobs.report import inventory
from jobs.report.page.sections import Below
from jobs.simulator import truth
from jobs.study import world_section
from schemas.storage import arrow
from tests.support.tiny_root import put, put_delta

DAY = date(2020, 1, 2)
NOON = datetime(2020, 1, 2, 12, tzinfo=UTC)


def below(root) -> Below:
    return Below(str(root), DAY, {held.path: held for held in inventory.holdings(str(root))})


def ids(**lists):
    return {request: np.array(items) for request, items in lists.items()}


def test_what_stages_keep_by_hand():
    kept = {
        "retrieved": ids(r1=[1, 2, 3, 4], r2=[5, 6]),
        "pre_ranking": ids(r1=[1, 3], r2=[6], other=[9]),
        "ranking": {},  # not logged
        "exposed": ids(r1=[3]),
    }
    found = world_section.steps(ids(r1=[1, 2], r2=[5, 6]), kept, np.array([3, 5]))
    assert [(step.name, step.items, step.best, step.top) for step in found] == [
        ("retrieved", 3.0, 1.0, pytest.approx(2 / 6)),
        ("pre_ranking", 1.5, 0.5, pytest.approx(1 / 3)),
        ("exposed", 0.5, 0.0, 1.0),
        ("the 10 best", 2.0, 1.0, 0.25),
    ]


def test_of_equal_items_the_smaller_id_is_better():
    assert world_section.best_of(np.array([4, 7, 5, 9]), np.array([0.2, 0.1, 0.2, 0.9]), 3).tolist() == [9, 4, 5]


def put_world(root):
    put_delta(
        root, "impressions", DAY, [("r1", 1, 1, NOON), ("r1", 2, 2, NOON), ("r1", 1, 3, NOON), ("r2", 1, 1, NOON)]
    )
    events = [("a", "click", "r1"), ("b", "purchase", "r1"), ("c", "click", None), ("d", "click", "r2")]
    put_delta(
        root, "conversions", DAY, [(event, 7, 1, action, NOON, "homepage", r, NOON) for event, action, r in events]
    )
    lists = [("r1", "pre_ranking", [2, 1], []), ("r2", "pre_ranking", [3, 1], []), ("r2", "shadow_ranking", [9], [])]
    put_delta(root, "stages", DAY, lists)
    put(root, "item_stats", DAY, [(1, 9, 9, 9, 9, 0.5, "top"), (2, 0, 0, 0, 0, 0.5, "tail")])


def test_a_date_by_hand(tmp_path):
    put_world(tmp_path)
    told = [("r1", list(range(1, 13)), [1 - n / 12 for n in range(12)]), ("r2", [1, 3], [0.5, 0.5])]
    columns = [*zip(*told, strict=True), [item[2] for item in told]]
    schema = pa.schema([(column.name, column.type) for column in truth.candidates.columns])
    rows = pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
    arrow.write_at(str(tmp_path), truth.candidates, DAY, truth.folder(truth.candidates, DAY), rows, {}, {})
    found = world_section.read(below(tmp_path))
    assert (found.clicks_an_impression, found.purchases_a_click, found.requests) == (2 / 4, 1 / 2, 2)
    assert [(step.name, step.items, step.best) for step in found.steps] == [
        ("retrieved", 7.0, 1.0),
        ("pre_ranking", 2.0, pytest.approx((2 / 10 + 2 / 2) / 2)),
        ("exposed", 1.5, pytest.approx((2 / 10 + 1 / 2) / 2)),  # item 1 of r1 was shown twice
        ("the 10 best", 6.0, 1.0),
    ]
    assert found.steps[2].top == pytest.approx(2 / 3)


def test_without_truth_of_the_date_only_rates_are_said(tmp_path):
    put_world(tmp_path)
    assert world_section.read(below(tmp_path)) is None
    (tmp_path / "landing/_truth").mkdir(parents=True)
    found = world_section.read(below(tmp_path))
    assert (found.clicks_an_impression, found.requests, found.steps) == (0.5, 0, [])
