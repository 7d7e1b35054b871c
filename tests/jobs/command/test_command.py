"""jobs/command: what is said of a range of dates."""

import argparse
import json
from datetime import date

import pytest

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from schemas.table import ConflictError


def stale_run(work, stale) -> int:
    """The exit status of a run over the first three days of March 2024 with --stale."""
    parser = cli.parser("")
    cli.stale_flag(parser, "labels")
    arguments = parser.parse_args(["--root", "r", "--date", "2024-03-01..2024-03-03", "--stale"])
    with pytest.raises(SystemExit) as ended:
        cli.run("job", arguments, work, stale)
    return ended.value.code


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
    assert cli._summed([first, second]) == {
        "rows_written": 5, "passed": False, "models": ["a", "b"], "report": "second", "log": {"events": 9}, "late": 1,
    }  # fmt: skip
    assert cli._summed([second, first])["passed"] is False
    assert cli._summed([first]) == first
    assert cli._summed([]) == {"rows_written": 0}


def test_counts_by_table_are_summed_up_too():
    first = {"tables": {"logs/requests": {"rows_in": 5, "refused_for": {"action is unknown": 1, "a null key": 2}}}}
    second = {
        "tables": {"logs/requests": {"rows_in": 7, "refused_for": {"a null key": 3}}, "logs/stages": {"rows_in": 1}}
    }
    assert cli._summed([first, second]) == {
        "tables": {
            "logs/requests": {"rows_in": 12, "refused_for": {"action is unknown": 1, "a null key": 5}},
            "logs/stages": {"rows_in": 1},
        }
    }
    assert first["tables"]["logs/requests"]["rows_in"] == 5


def test_of_stale_dates_none_may_be_left(capsys):
    done = []

    def work(_, day):
        done.append(day)
        return {"rows_written": 5}

    for found in ([date(2024, 3, 2)], []):
        assert stale_run(work, lambda *_, found=found: found) == 0
    assert done == [date(2024, 3, 2)]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["date"], line["rows_written"]) for line in said] == [
        ("2024-03-01..2024-03-03", 5), ("2024-03-01..2024-03-03", 0),
    ]  # fmt: skip


def fails_on_the_first_two(_, day):
    if day.day < 3:
        raise (WorkFailedError("hot is lost") if day.day == 1 else ValueError("a mistake"))
    return {"rows_written": 5}


def test_stale_dates_are_worked_on_past_one_that_fails(capsys):
    assert stale_run(fails_on_the_first_two, lambda _, days: days) == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert lines[:3] == ["job 2024-03-01", "job 2024-03-01: hot is lost", "job 2024-03-02"]
    assert "ValueError: a mistake" in lines
    assert lines[-2:] == ["job 2024-03-03", "job: failed for 2024-03-01, 2024-03-02; the other dates are done"]
    line = json.loads(told.out.splitlines()[-1])
    assert (line["date"], line["rows_written"]) == ("2024-03-01..2024-03-03", 5)
    assert line["failed_dates"] == ["2024-03-01", "2024-03-02"]


def test_a_range_ends_at_the_date_that_fails(capsys):
    arguments = cli.parser("").parse_args(["--root", "r", "--date", "2024-03-02..2024-03-03"])
    with pytest.raises(SystemExit) as ended:
        cli.run("job", arguments, fails_on_the_first_two)
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == "job 2024-03-02: failed; the lines above say where"


def test_two_runs_at_once_are_a_line_and_no_traceback(capsys):
    def gives_way(*_):
        raise ConflictError("samples/x/date=2020-01-01 was replaced by another run")

    with pytest.raises(SystemExit) as stopped:
        cli.run("job", argparse.Namespace(date=[date(2020, 1, 1)]), gives_way)
    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "job 2020-01-01",
        "job 2020-01-01: samples/x/date=2020-01-01 was replaced by another run",
    ]
