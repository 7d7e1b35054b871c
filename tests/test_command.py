"""jobs/command: what is said of a range of dates."""

import argparse
import json
from datetime import date

import pytest

from jobs import command
from schemas.table import ConflictError


def test_counts_of_dates_are_summed_up():
    first = {"rows_written": 2, "passed": True, "models": ["a"], "report": "first", "log": {"events": 9}}
    second = {
        "rows_written": 3,
        "passed": False,
        "models": ["b", "a"],
        "report": "second",
        "log": {"events": 9},
        "late": 1,
    }
    assert command._summed([first, second]) == {
        "rows_written": 5, "passed": False, "models": ["a", "b"], "report": "second", "log": {"events": 9}, "late": 1,
    }  # fmt: skip
    assert command._summed([second, first])["passed"] is False
    assert command._summed([first]) == first
    assert command._summed([]) == {"rows_written": 0}


def test_of_stale_dates_none_may_be_left(capsys):
    parser = command.parser("")
    command.stale_flag(parser, "labels")
    arguments = parser.parse_args(["--root", "r", "--date", "2024-03-01..2024-03-03", "--stale"])
    done = []

    def work(_, day):
        done.append(day)
        return {"rows_written": 5}

    for stale in ([date(2024, 3, 2)], []):
        with pytest.raises(SystemExit) as ended:
            command.run("job", arguments, work, lambda *_, found=stale: found)
        assert ended.value.code == 0
    assert done == [date(2024, 3, 2)]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["date"], line["rows_written"]) for line in said] == [
        ("2024-03-01..2024-03-03", 5), ("2024-03-01..2024-03-03", 0),
    ]  # fmt: skip


def test_two_runs_at_once_are_a_line_and_no_traceback(capsys):
    def gives_way(*_):
        raise ConflictError("samples/x/date=2020-01-01 was replaced by another run")

    with pytest.raises(SystemExit) as stopped:
        command.run("job", argparse.Namespace(date=[date(2020, 1, 1)]), gives_way)
    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "job 2020-01-01",
        "job 2020-01-01: samples/x/date=2020-01-01 was replaced by another run",
    ]
