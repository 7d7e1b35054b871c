"""jobs/evaluation/pooled.py: what dates have in common is theirs together. On samples: test_run_study.py."""

from dataclasses import replace

from jobs.evaluation.pooled import SeveralDates
from tests.jobs.test_run_study import FIRST, LAST, hits


class OfOneDate:
    """A judge of so many requests that says whose cost it was asked for; `more` are further figures that it has."""

    def __init__(self, day, requests, more=()):
        self.day, self.requests, self.settings, self.more = day, requests, None, more

    def measure(self, models, untrained=True):
        assert self.requests
        found = [*hits([1] * self.requests)]
        return {("random", 0): found + [replace(found[0], segment=name) for name in self.more]}

    def cost(self, model):
        return [{"value": self.day}]


def test_a_date_without_requests_is_no_hindrance():
    together = SeveralDates([OfOneDate(FIRST, 4), OfOneDate(LAST, 0)])
    (found,) = together.measure([]).values()
    assert found[0].requests.tolist() == [0, 1, 2, 3]
    assert together.cost(None) == [{"value": FIRST}]


def test_a_figure_that_one_date_lacks_is_left_out(capsys):
    """It would stand beside others as one of all dates."""
    together = SeveralDates([OfOneDate(FIRST, 4, ["scenario_a", "scenario_b"]), OfOneDate(LAST, 4, ["scenario_b"])])
    (found,) = together.measure([]).values()
    assert [(one.segment, len(one.requests)) for one in found] == [("all", 8), ("top", 4), ("scenario_b", 8)]
    assert "random: 1 of 4 figures are not of every date: left out" in capsys.readouterr().err
