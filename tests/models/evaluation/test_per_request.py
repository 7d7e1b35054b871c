"""models/evaluation/per_request.py: sums by hand, what is averaged of them, and that a file gives them back."""

import numpy as np
import pytest

from models.evaluation.per_request import PerRequest, averages, from_table, to_table


def hits(by_request=True):
    """Request 0 has targets hit, missed, hit; request 1 none; request 2 one, hit."""
    return PerRequest.summed(("inc", "all", 10), np.array([0, 0, 2, 0]), np.array([1, 0, 1, 1]), by_request=by_request)


def test_sums_by_hand():
    found = hits()
    assert found.requests.tolist() == [0, 2]
    assert (found.numerators.tolist(), found.denominators.tolist()) == ([2.0, 1.0], [3.0, 1.0])
    assert found.supports.tolist() == [3, 1]


def test_targets_or_requests_have_one_say_each():
    plain, alike = averages([hits()])
    assert plain == {"metric": "inc", "segment": "all", "k": 10, "value": 3 / 4, "support": 4}
    assert alike == {
        "metric": "inc_per_request", "segment": "all", "k": 10, "value": pytest.approx((2 / 3 + 1) / 2), "support": 2
    }  # fmt: skip


def test_requests_of_two_dates_stand_behind_each_other():
    first, second = hits(), PerRequest.summed(("inc", "all", 10), np.array([1]), np.array([0]), by_request=True)
    both = PerRequest.joined([first, second.moved(3)])
    assert both.requests.tolist() == [0, 2, 4]
    assert (both.numerators.tolist(), both.denominators.tolist()) == ([2.0, 1.0, 0.0], [3.0, 1.0, 1.0])
    assert both.supports.tolist() == [3, 1, 1]
    assert [row["value"] for row in averages([both])] == [3 / 5, pytest.approx((2 / 3 + 1 + 0) / 3)]


def test_weights_by_hand():
    found = PerRequest.summed(("gauc", "all", 0), np.array([4, 7]), np.array([0.5, 1.0]), np.array([10.0, 30.0]))
    assert [*averages([found])] == [{"metric": "gauc", "segment": "all", "k": 0, "value": 35 / 40, "support": 2}]


def test_nothing_has_no_value():
    empty = PerRequest.summed(("ish", "tail", 10), np.zeros(0, np.int64), np.zeros(0), by_request=True)
    assert [(row["value"], row["support"]) for row in averages([empty])] == [(None, 0), (None, 0)]


def test_a_table_gives_back_what_it_was_made_from():
    empty = PerRequest.summed(("inc", "tail", 10), np.zeros(0, np.int64), np.zeros(0), by_request=True)
    given = {"full": [hits(), empty], "base": [hits(by_request=False)]}
    tables = [to_table(variant, found) for variant, found in given.items()]
    for table in tables:
        ((variant, found),) = from_table(table).items()
        assert [*averages(found)] == [*averages(given[variant])]
        for one, other in zip(found, given[variant], strict=True):
            assert (one.key, one.by_request) == (other.key, other.by_request)
            for name in ("requests", "numerators", "denominators", "supports"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
