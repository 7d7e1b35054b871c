"""jobs/evaluation/segments.py: whose scenario a target has, and which scenarios get a segment."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from jobs.evaluation import segments
from tests.support.tiny_root import put_delta

DAY = date(2020, 1, 2)
NOON = datetime(2020, 1, 2, 12, tzinfo=UTC)


def label(request, item, group, scenario):
    action = "click" if scenario else None
    return (request, 7, item, group, action, NOON if scenario else None, scenario, 1, [], None)


def test_a_target_has_the_scenario_of_its_label_of_the_date(tmp_path):
    labels = [
        label("r1", 1, "RTG", "homepage"), label("r1", 2, "ITG", "search"), label("r1", 3, "ETG", None),
        label("r2", 1, "ITG", "search"), label("r3", 1, "ITG", "elsewhere"),
    ]  # fmt: skip
    put_delta(tmp_path, "target_groups", DAY, labels)
    put_delta(tmp_path, "target_groups", date(2020, 1, 3), [label("r1", 9, "ITG", "late")])
    asked = pa.array(["r2", "r1"])  # r3 is not measured
    targets = [(1, 1, "homepage"), (1, 2, "search"), (1, 3, ""), (0, 1, "search"), (0, 2, ""), (1, 9, "")]
    requests, item_ids, expected = zip(*targets, strict=True)
    found = segments.of_targets(str(tmp_path), DAY, asked, np.array(requests), np.array(item_ids))
    assert found.tolist() == list(expected)
    assert segments.of_targets(str(tmp_path / "none"), DAY, asked, np.array([1]), np.array([1])).tolist() == [""]


def test_segments_are_of_the_scenarios_with_most_targets():
    found = segments.segments(np.array(["a", "", "b", "b", "c", "", "c"], object))
    assert [*found] == ["scenario_b", "scenario_c", "scenario_a"]  # of as many the first by name
    assert found["scenario_b"].tolist() == [False, False, True, True, False, False, False]
    many = np.array([f"s{n:02}" for n in range(9)] + ["s08"], object)
    assert [*segments.segments(many)] == ["scenario_s08", *(f"scenario_s{n:02}" for n in range(4))]


def test_one_scenario_or_none_is_no_segment():
    assert segments.segments(np.array(["a", "", "a"], object)) == {}
    assert segments.segments(np.array([], object)) == {}
