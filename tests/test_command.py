"""jobs/command: what is said of a range of dates."""

from jobs import command


def test_counts_of_dates_are_summed_up():
    first = {"rows_written": 2, "passed": True, "models": ["a"], "report": "first", "log": {"events": 9}}
    second = {"rows_written": 3, "passed": False, "models": ["b"], "report": "second", "log": {"events": 9}, "late": 1}
    assert command._summed([first, second]) == {
        "rows_written": 5, "passed": False, "models": ["a", "b"], "report": "second", "log": {"events": 9}, "late": 1,
    }  # fmt: skip
    assert command._summed([second, first])["passed"] is False
    assert command._summed([first]) == first
