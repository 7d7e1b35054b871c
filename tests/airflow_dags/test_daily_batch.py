"""The DAG parses without engines, keeps our policies, says what each job understands; a real Airflow runs it."""

import importlib
import os
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from examples.taobao import local_airflow, run_daily_batch
from schemas.storage import arrow
from schemas.tables.registry import TABLES
from tests.support import dag_descriptions
from tests.support.project import PROJECT

JOBS = (
    "ingest_logs", "label_target_groups", "build_user_histories", "build_item_stats", "build_increc_samples",
    "build_hccp_samples", "build_channel_value", "evaluate_increc", "evaluate_hccp", "train_increc", "train_hccp",
    "export_models", "render_report",
)  # fmt: skip
CASES = {
    "daily": {},
    "backfill": {"first_date": "2017-11-28"},
    "with_earlier_logs": {"first_date": "2017-11-28", "first_log_date": "2017-11-25", "days": 3},
    "judged_next": {"first_date": "2017-11-28", "model_date": "2017-11-29"},
    "two_days_old": {"maturity_days": 2, "window_hours": 48},
    "immature": {"window_hours": 48},
    "backwards": {"first_date": "2017-12-02"},
    "models_of_another_day": {"model_date": "2017-11-29"},
    "without_hccp": {"hccp_presets": ""},
    "without_hccp_in_the_form": {"hccp_presets": None},
    "by_hand": {"run_type": "manual", "date": "2017-11-20"},
    "accepted": {"accept_changes": True, "max_refused_share": 0.2},
    "by_hand_without_a_date": None,
}


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    return dag_descriptions.describe("daily_batch", CASES, tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def arguments(described):
    return partial(dag_descriptions.arguments, described)


def test_the_folder_holds_the_dags_alone_and_they_parse_without_an_engine(described):
    assert described["errors"] == {}
    assert sorted(described["dags"]) == ["daily_batch", "late_conversions", "weekly_maintenance"]
    assert described["engines"] == []


def test_one_task_a_job(described):
    assert sorted(described["tasks"]) == sorted(JOBS)
    applications = {job: task["application"] for job, task in described["tasks"].items() if task["application"]}
    assert applications == {job: str(PROJECT / "jobs" / f"{job}.py") for job in JOBS[:6]}
    assert all((PROJECT / "jobs" / f"{job}.py").exists() for job in JOBS)


def test_policies(described):
    assert (described["catchup"], described["runs"]) == (False, 1)
    for job, task in described["tasks"].items():
        assert task["retries"] >= 1, job
        assert task["delay"] > 0, job
        assert not task["depends_on_past"], job
        assert f"`{job}`" in described["doc"], f"the triage notes do not speak of {job}"
        assert task["pool"] == ("gpu" if job.startswith("train_") else "default_pool"), job
        assert task["trigger_rule"] == ("none_failed" if job == "export_models" else "all_success"), job
        assert task["operator"] == ("SparkSubmitOperator" if job in JOBS[:6] else "BashOperator"), job
    assert described["tasks"]["ingest_logs"]["connection"] == "spark_default"
    assert described["packages"].startswith("io.delta:delta-spark")


def test_order_is_what_the_jobs_read(described):
    upstream = {job: task["upstream"] for job, task in described["tasks"].items()}
    assert upstream == {
        "ingest_logs": [],
        "label_target_groups": ["ingest_logs"],
        "build_user_histories": ["ingest_logs"],
        "build_item_stats": ["ingest_logs"],
        "build_increc_samples": ["build_user_histories", "label_target_groups"],
        "build_hccp_samples": ["build_user_histories", "label_target_groups"],
        "build_channel_value": ["label_target_groups"],
        "evaluate_increc": ["build_increc_samples", "build_item_stats"],
        "evaluate_hccp": ["build_hccp_samples", "build_item_stats", "evaluate_increc"],
        "train_increc": ["evaluate_increc"],
        "train_hccp": ["evaluate_hccp"],
        "export_models": ["train_hccp", "train_increc"],
        "render_report": ["build_channel_value", "export_models"],
    }


@pytest.mark.parametrize("job", JOBS)
def test_every_argument_is_one_that_the_job_takes(arguments, job):
    parser = importlib.import_module(f"jobs.{job}").arg_parser()
    for case in ("daily", "backfill", "with_earlier_logs", "judged_next", "two_days_old", "by_hand"):
        assert parser.parse_args(arguments(case, job)).root == "/a root"


@pytest.mark.parametrize(
    ("case", "logged", "mature", "models"),
    [
        ("daily", "2017-12-01", "2017-11-30", "2017-11-30"),
        ("backfill", "2017-11-28..2017-12-01", "2017-11-28..2017-11-30", "2017-11-30"),
        ("with_earlier_logs", "2017-11-25..2017-12-01", "2017-11-28..2017-11-30", "2017-11-30"),
        ("judged_next", "2017-11-28..2017-12-01", "2017-11-28..2017-11-30", "2017-11-29"),
        ("two_days_old", "2017-12-01", "2017-11-29", "2017-11-29"),
        ("by_hand", "2017-11-20", "2017-11-19", "2017-11-19"),
    ],
)
def test_dates_come_from_the_interval(arguments, case, logged, mature, models):
    dated = {job: arguments(case, job)[arguments(case, job).index("--date") + 1] for job in JOBS}
    expected = dict.fromkeys(JOBS[:7], mature) | dict.fromkeys(JOBS[7:], models)
    assert dated == {**expected, "ingest_logs": logged}


def test_settings_that_cannot_be_are_named(arguments):
    assert "set maturity_days to 2" in arguments("immature", "label_target_groups")
    assert "2017-12-02 is after the last one, 2017-11-30" in arguments("backwards", "build_item_stats")
    assert "model_date 2017-11-29 is not in 2017-11-30" in arguments("models_of_another_day", "train_increc")
    for job in JOBS:
        fault = arguments("by_hand_without_a_date", job)
        assert fault.startswith("AirflowFailException: this run was started by hand without a date")


def test_the_scenario_is_that_of_the_settings_unless_it_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_TIME_ZONE", "Asia/Shanghai")
    told = dag_descriptions.describe("daily_batch", {"none": {}, "feed": {"scenario": "feed"}}, tmp_path)
    parser = importlib.import_module("jobs.label_target_groups").arg_parser()
    given = {
        case: parser.parse_args(dag_descriptions.arguments(told, case, "label_target_groups")).scenario
        for case in ("none", "feed")
    }
    assert given == {"none": [""], "feed": ["feed"]}
    # The described interval begins at 0:00 UTC of the 1st, which is 8:00 in Shanghai.
    assert dag_descriptions.arguments(told, "none", "ingest_logs")[3] == "2017-12-01"


def test_what_stops_a_day_is_a_parameter(arguments):
    parser = importlib.import_module("jobs.ingest_logs").arg_parser()
    given = {case: parser.parse_args(arguments(case, "ingest_logs")) for case in ("daily", "accepted")}
    assert {case: (each.max_refused_share, each.accept_changes) for case, each in given.items()} == {
        "daily": (0.05, False), "accepted": (0.2, True),
    }  # fmt: skip


@pytest.mark.parametrize("value", ["o'brien", 'a "b" c', "$(id -un)", "`id`; id", "é\nx", "{{ 1 }} \\"])
def test_no_value_is_read_as_shell(tmp_path, value):
    """What a person sets reaches the job as one argument, character by character."""
    told = dag_descriptions.describe("daily_batch", {"odd": {"root": value, "increc_presets": value}}, tmp_path)
    words = dag_descriptions.arguments(told, "odd", "train_increc")
    assert words[1] == words[-1] == value
    command = told["tasks"]["train_increc"]["command"].replace(
        "-m jobs.train_increc", "-c 'import sys; print(sys.argv)'"
    )
    env = {**os.environ, **{f"HEADRACE_ARGUMENT_{n}": word for n, word in enumerate(words)}}
    shown = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(["-c", *words])


def test_hccp_is_left_out_where_no_variant_of_it_is_asked_for(described):
    skipped = {case: tasks for case, tasks in described["skipped"].items() if tasks}
    assert skipped == {case: ["build_hccp_samples"] for case in ("without_hccp", "without_hccp_in_the_form")}


def airflow_lines(*tasks: tuple[str, bool]) -> list[str]:
    lines = ["... [info     ] DagRun created [airflow]"]
    for name, works in tasks:
        lines.append(f"... [info     ] [DAG TEST] starting task_id={name} map_index=-1 [x] loc=dag.py:1501")
        if works:
            lines.append('... [info     ] {"job": "x", "rows_written": 1234} [a.b.SparkSubmitHook] loc=s.py:965')
        else:
            lines.append(
                "... [info     ] ingest_logs 2017-11-28: there is no landing/requests [a.SparkSubmitHook] loc=s"
            )
            lines.append("... [error    ] Task failed with exception     [task] loc=task_runner.py:1651")
        lines.append(f"... [info     ] [DAG TEST] end task task_id={name} map_index=-1 [x] loc=dag.py:1563")
    return lines


def test_each_task_gets_a_line(capsys):
    assert local_airflow.follow_tasks(airflow_lines(("ingest_logs", True), ("build_item_stats", True))) is None
    told = capsys.readouterr().err.splitlines()
    assert [line.split() for line in told] == [
        ["ingest_logs", "0", "s", "1,234", "rows"],
        ["build_item_stats", "0", "s", "1,234", "rows"],
    ]


def test_the_first_failure_ends_it_with_the_jobs_own_words(capsys):
    fault = local_airflow.follow_tasks([None, *airflow_lines(("ingest_logs", False), ("build_item_stats", True))])
    assert fault.strip() == "ingest_logs failed: ingest_logs 2017-11-28: there is no landing/requests"
    assert "build_item_stats" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def airflow(home, monkeypatch):
    """Airflow's home, set up as the first command does it."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in local_airflow.settings(home).items():
        monkeypatch.setenv(name, value)
    assert local_airflow.prepare(home) is None
    return home


def tasks_told(capsys) -> list[str]:
    return [line.split()[0] for line in capsys.readouterr().err.splitlines() if " s" in line and "airflow" not in line]


def test_airflow_exports_and_reports_without_hccp(tmp_path, airflow, capsys):
    """What is skipped keeps nothing else from running; tasks that say nothing of it are marked as done."""
    root = tmp_path / "root"
    root.mkdir()
    others = "ingest_.*|label_.*|build_[ciu].*|.*_increc"
    local_airflow.run_dag(date(2020, 1, 3), {"root": str(root), "hccp_presets": ""}, airflow / "log", others)
    assert tasks_told(capsys) == ["build_hccp_samples", "export_models", "render_report"]
    assert run_daily_batch.report(root, date(2020, 1, 2)).exists()


def test_airflow_runs_the_whole_batch_on_a_small_simulated_world(tmp_path, run_job, airflow, capsys):
    """A backfill after a day of logs alone, in one DAG run: every table of the contract exists afterwards."""
    root = tmp_path / "root"
    world = ("--date", "2020-01-01", "--days", 3, "--users", 300, "--items", 400, "--seed", 1)
    status, _, fault = run_job("simulate_logs", "--root", root, *world)
    assert status == 0, fault
    first = {"first_log_date": "2020-01-01", "first_date": "2020-01-02"}
    conf = {"root": str(root), **first, "days": 1, "model_size": "tiny"}
    local_airflow.run_dag(date(2020, 1, 3), conf, airflow / "log")

    done = tasks_told(capsys)
    assert sorted(done) == sorted(JOBS)
    assert done.index("evaluate_increc") < done.index("train_increc")
    for name, table in TABLES.items():
        assert not table.dated or date(2020, 1, 2) in arrow.dates(str(root), table), name
    assert sorted(path.name for path in root.glob("models/*/date=2020-01-02/*-seed1")) == [
        "base-tiny-seed1", "exposed_only-tiny-seed1", "full-tiny-seed1", "full-tiny-seed1",
    ]  # fmt: skip
    assert run_daily_batch.report(root, date(2020, 1, 2)).read_text().lstrip().lower().startswith("<!doctype html>")
