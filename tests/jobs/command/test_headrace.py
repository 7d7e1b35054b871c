"""The console command: jobs as sub-commands, `doctor` on any machine, nothing imported before its job is called."""

import subprocess
import sys
from importlib import import_module

import pytest

from jobs.command import headrace, machine
from tests.support import tiny_root
from tests.support.project import PROJECT

JOBS = {path.stem for path in (PROJECT / "jobs").glob("*.py")} - {"__init__"}
BARE = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {"pyspark", "delta", "tensorflow", "tf_keras", "faiss", "duckdb", "rich", "textual"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def headrace_run(*arguments: object, bare: bool = False) -> subprocess.CompletedProcess:
    code = f"{BARE if bare else ''}\nfrom jobs.command.headrace import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_every_job_is_listed_in_80_columns():
    lines = headrace.usage().splitlines()
    listed = {line.split()[0] for line in lines[2:] if not line.startswith("    ")}
    assert listed == JOBS | {"doctor"}
    assert max(map(len, lines)) <= 80


def test_setup_names_the_entry_point():
    assert '"headrace = jobs.command.headrace:main"' in (PROJECT / "setup.py").read_text()
    assert callable(import_module("jobs.command.headrace").main)


def test_a_job_runs_as_a_sub_command(tmp_path):
    tiny_root.put_logs(tmp_path)
    done = headrace_run("inspect_table", "requests", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("logs/requests")
    assert headrace_run("inspect_table", "requests").returncode == 2


def test_a_machine_without_spark_runs_the_doctor_and_what_needs_none():
    assert headrace_run("--help", bare=True).returncode == 0
    told = headrace_run("doctor", bare=True)
    assert told.stderr == ""
    assert "Java" in told.stdout
    missing = headrace_run("label_target_groups", "--help", bare=True)
    assert missing.returncode == 1
    assert missing.stderr.splitlines() == [
        "headrace label_target_groups: No module named 'pyspark'; `headrace doctor` tells what to install"
    ]


def test_wrong_words():
    wrong = headrace_run("label")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("headrace: there is no job 'label'; the jobs are browse_root, build_channel_value,")
    assert headrace_run().returncode == 2


@pytest.mark.parametrize(
    ("said", "state", "fit"),
    [('openjdk version "17.0.2"', "17", True), ('java version "1.8.0_392"', "8", False),
     ('openjdk version "21"', "21", True), ("no such thing", None, False)],
)  # fmt: skip
def test_java_is_known_by_its_version(tmp_path, monkeypatch, said, state, fit):
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    part = machine._java()
    assert (part.fault is None) == fit
    assert state is None or part.state == state


def test_a_java_home_without_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert machine._java().state == f"none at {tmp_path}/bin/java"


def test_the_doctor_names_what_is_missing_for_what(monkeypatch, capsys):
    lacking = machine.Part("pyspark", "missing", "pip install 'headrace[spark]'")
    there = machine.Part("duckdb", "2.0.0")
    label = machine.Use("Label", "label_target_groups", (lacking,))
    look = machine.Use("Look", "inspect_table", (there,))
    monkeypatch.setattr(machine, "uses", lambda: [label, look])
    assert headrace.doctor() is False
    lines = capsys.readouterr().out.splitlines()
    assert "  CANNOT   Label (label_target_groups)" in lines
    assert "             pip install 'headrace[spark]'" in lines
    assert "  can run  Look (inspect_table)" in lines
