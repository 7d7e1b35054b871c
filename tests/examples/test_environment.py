"""What a person on a fresh machine gets told, and that an environment is made once, whatever interrupted it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.taobao import environment
from tests.support.project import PROJECT


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Put a `java` that prints the given version first on a PATH of its own."""

    def install(version_line: str) -> Path:
        executable = tmp_path / "bin" / "java"
        executable.parent.mkdir(exist_ok=True)
        executable.write_text(f"#!/bin/sh\necho '{version_line}' >&2\n")
        executable.chmod(0o755)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(executable.parent))
        return executable

    return install


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """An empty place for the environment."""
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "headrace.json")
    (tmp_path / ".venv").mkdir()
    return tmp_path / ".venv"


@pytest.mark.parametrize(
    "line", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "21" 2023-09-19', 'java version "17.0.1" LTS']
)
def test_java_17_and_newer_will_do(java, line):
    executable = java(line)
    assert environment.check_java() == str(executable)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "Java 11 at"),
        ('java version "1.8.0_402"', "Java 8 at"),
        ("Unable to locate a Java Runtime.", "no working Java at"),
    ],
)
def test_another_java_gets_one_line_that_says_what_to_install(java, line, found):
    java(line)
    with pytest.raises(SystemExit) as told:
        environment.check_java()
    assert found in str(told.value)
    assert "openjdk-17-jre-headless" in str(told.value)
    assert "\n" not in str(told.value)


def test_no_java_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="none was found on PATH"):
        environment.check_java()


def test_a_wrong_java_home_is_named(java, monkeypatch, tmp_path):
    java('openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"JAVA_HOME has no working Java at .*nowhere"):
        environment.check_java()


def stand_in(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return str(folder / name)


def test_another_python_is_looked_for_and_tried(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    stand_in(tmp_path / "bin", "python3.12", "echo 'version 3.12 is not installed' >&2; exit 127")
    with pytest.raises(SystemExit, match=r"needs Python 3.11 or 3.12, but this is 3.9.2") as told:
        environment.find_python()
    assert "\n" not in str(told.value)
    works = stand_in(tmp_path / "bin", "python3.11", "echo 3 11")
    assert environment.find_python() == works


def test_the_commands_can_be_read_by_an_old_python():
    """Nothing newer than Python 3.6's syntax, else a wrong Python shows a SyntaxError instead of the line."""
    for path in ("examples/taobao/environment.py", "examples/taobao/run_daily_batch.py", "tests/run.py"):
        tree = ast.parse((PROJECT / path).read_text(), feature_version=(3, 6))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        hints = [each for node in functions for each in (node.returns, *(a.annotation for a in node.args.args)) if each]
        assert hints == [], f"{path}: annotations are evaluated, and `list[str]` fails before Python 3.9"


def test_requirements_are_those_of_setup():
    found = environment.requirements(("train", "test"))
    assert found["pyarrow"] == "26.0.1"
    assert found["tensorflow-recommenders"] == "0.7.7"
    assert "pytest" in found
    assert "apache-airflow" not in found
    with pytest.raises(KeyError):
        environment.requirements(("no_such_extra",))


def test_this_interpreter_is_ready_for_the_tests_it_runs():
    assert environment.is_ready(environment.TEST_EXTRAS)


def test_an_interrupted_installation_is_finished_and_a_finished_one_left_alone(venv, monkeypatch):
    """The stamp is written after pip is done; until then every run installs again."""
    stand_in(venv / "bin", "python", f'case "$*" in *--version*) echo pip 1;; *sys.prefix*) echo {venv};; esac')
    installed, statuses = [], [1, 0]

    def follow(title, command, log):
        installed.append(command[-1])
        log.write_text("Collecting pyspark\nERROR: No matching distribution found for pyspark==4.2.0\nbye\n")
        return statuses.pop(0)

    monkeypatch.setattr(environment, "follow", follow)
    with pytest.raises(SystemExit, match="No matching distribution found for pyspark"):
        environment.install(("spark",))
    assert not environment.STAMP.exists()
    assert environment.install(("spark", "test")) == str(venv / "bin" / "python")
    assert environment.install(("spark",)) == str(venv / "bin" / "python")
    assert installed == [f"{PROJECT}[spark]", f"{PROJECT}[spark,test]"]


def test_another_extra_or_setup_installs_again(venv, monkeypatch):
    stamp = {"extras": ["spark"], "setup": environment._fingerprint()}
    environment.STAMP.write_text(json.dumps(stamp))
    assert environment._stamped(("spark",))
    assert not environment._stamped(("spark", "test"))
    monkeypatch.setattr(environment, "_fingerprint", lambda: "another setup.py")
    assert not environment._stamped(("spark",))


def test_half_written_stamp_is_no_stamp(venv):
    environment.STAMP.write_text('{"extras": ["sp')
    assert not environment._stamped(("spark",))


def test_delta_jars_count_only_when_they_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.Path, "home", lambda: tmp_path)
    jars = tmp_path / ".ivy2.5.2" / "jars"
    jars.mkdir(parents=True)
    names = ("delta_delta-spark_4.2_2.13", "delta_delta-storage", "delta_delta-kernel-api")
    for name in names:
        (jars / f"io.{name}-4.4.0.jar").touch()
    assert environment.delta_jars() == []
    (jars / "io.delta_delta-kernel-defaults-4.4.0.jar").touch()
    (jars / "io.unitycatalog_unitycatalog-client-0.6.0.jar").touch()
    assert len(environment.delta_jars()) == 5


def test_a_failed_fetch_of_delta_names_the_trap(venv, tmp_path, monkeypatch):
    monkeypatch.setattr(environment.Path, "home", lambda: tmp_path)
    stand_in(tmp_path / "bin", "spark-submit", "echo 'RuntimeException: [download failed: io.delta#delta]'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(SystemExit, match=r"download failed.*half-filled local Maven repository.*move ~/.m2"):
        environment.resolve_delta()


def test_a_command_is_followed_into_its_log(tmp_path, capsys):
    log = tmp_path / "log"
    status = environment.follow("counting", [sys.executable, "-c", "print('one'); raise SystemExit(3)"], log)
    assert (status, log.read_text()) == (3, "one\n")
    assert capsys.readouterr().err.splitlines()[-1].startswith("counting: failed after")


def test_bad_arguments_are_refused_before_anything_is_installed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "examples.taobao.run_daily_batch", "--rot", "x"],
        cwd=PROJECT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "unrecognized arguments: --rot" in done.stderr
