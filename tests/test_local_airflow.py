"""airflow_dags/local_airflow.py: what a person is told of the tasks, and that nothing is left running."""

import select
import signal
import subprocess
import sys

import pytest

from airflow_dags import local_airflow

OUTPUT = "[a.b.SparkSubmitHook] dag_id=daily_batch loc=s.py:965"


def says(task: str, text: str) -> str:
    return f"2026-01-01 00:00:00 [info     ] {text} {OUTPUT} map_index=-1 task_id={task} try_number=1"


def fails(task: str) -> str:
    return f"2026-01-01 00:00:00 [error    ] Task failed with exception [task] dag_id=daily_batch task_id={task}"


def ends(task: str) -> str:
    return f"... [info     ] TaskInstance Finished: dag_id=daily_batch, task_id={task}, run_duration=9.7, state=success"


def test_each_task_gets_a_line_as_it_ends(capsys):
    lines = [
        "... [info     ] Worker starting up pid=7 [airflow.executors.local_executor.LocalExecutor] loc=x",
        says("build_item_stats", "build_item_stats 2017-11-28"),
        says("label_target_groups", '{"job": "label_target_groups", "rows_written": 1234}'),
        None,
        ends("label_target_groups"),
        says("build_item_stats", '{"job": "build_item_stats", "rows_written": 50}'),
        says("build_item_stats", "Command exited with return code 0"),
        ends("build_item_stats"),
    ]
    assert local_airflow.follow_tasks(lines) is None
    assert [line.split() for line in capsys.readouterr().err.splitlines()] == [
        ["label_target_groups", "0", "s", "1,234", "rows"],
        ["build_item_stats", "0", "s", "50", "rows"],
    ]


def test_the_first_failure_ends_it_with_the_jobs_own_words(capsys):
    lines = [
        says("ingest_logs", "ingest_logs 2017-11-28: there is no landing/requests"),
        says("build_item_stats", "something else"),
        fails("ingest_logs"),
        ends("build_item_stats"),
    ]
    fault = local_airflow.follow_tasks(lines)
    assert fault.strip() == "ingest_logs failed: ingest_logs 2017-11-28: there is no landing/requests"
    assert "build_item_stats" not in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "ended_by"), [("", signal.SIGTERM), ("signal.SIG_IGN", signal.SIGKILL)])
def test_what_a_process_started_is_stopped_with_it(asked, ended_by, monkeypatch):
    monkeypatch.setattr(local_airflow, "_GRACE_SECONDS", 1)
    script = "import signal, subprocess, sys, time\n"
    script += f"signal.signal(signal.SIGTERM, {asked or 'signal.SIG_DFL'})\n"
    script += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    script += "print('started', flush=True)\ntime.sleep(600)"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "started\n"
        local_airflow.stop(process)
        assert process.returncode == -ended_by
        # Both hold the pipe: it ends when neither is left.
        assert select.select([process.stdout], [], [], 30)[0]
        assert process.stdout.read() == ""
