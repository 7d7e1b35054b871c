"""What a fresh machine's user is told, and that the environment is made once, whatever interrupted it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.taobao import delta_jars, environment, progress
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
    with pytest.raises(SystemExit) as ended:
        environment.check_java()
    assert found in str(ended.value)
    assert "openjdk-17-jre-headless" in str(ended.value)
    assert "\n" not in str(ended.value)


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


COMMANDS = [f"examples/taobao/{name}.py" for name in (
    "environment", "progress", "delta_jars", "local_airflow", "run_daily_batch",
)]  # fmt: skip


def stand_in(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return str(folder / name)


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 13), (3, 13, 0)])
def test_another_python_gets_one_line_that_says_what_to_install(monkeypatch, version):
    monkeypatch.setattr(environment.sys, "version_info", (*version, "final", 0))
    text = ".".join(map(str, version))
    with pytest.raises(SystemExit, match=f"needs Python 3.11 or 3.12, but this is {text}: install one") as ended:
        environment.check_python()
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4)])
def test_python_3_11_and_3_12_will_do(monkeypatch, version):
    monkeypatch.setattr(environment.sys, "version_info", (*version, "final", 0))
    environment.check_python()


def test_the_commands_can_be_read_by_an_old_python():
    """Nothing newer than Python 3.6's syntax, else a wrong Python shows a SyntaxError instead of the line."""
    for path in (*COMMANDS, "tests/run.py"):
        tree = ast.parse((PROJECT / path).read_text(), feature_version=(3, 6))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        hints = [each for node in functions for each in (node.returns, *(a.annotation for a in node.args.args)) if each]
        assert hints == [], f"{path}: annotations are evaluated, and `list[str]` fails before Python 3.9"


def test_the_extras_are_all_of_setups():
    """One environment for both commands: everything that setup.py names."""
    text = (PROJECT / "setup.py").read_text()
    call = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.keywords)
    named = next(each.value for each in call.keywords if each.arg == "extras_require")
    assert sorted(environment.EXTRAS.split(",")) == sorted(key.value for key in named.keys)


@pytest.fixture
def commands(venv, monkeypatch):
    """Record what `install` starts, and end each command with the next of these statuses: 0 once they are used up."""
    started, statuses = [], []

    def run(command, **_):
        started.append(command[1:])
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        stand_in(venv / "bin", "python", "exit 0")
        return subprocess.CompletedProcess(command, statuses.pop(0) if statuses else 0)

    monkeypatch.setattr(environment, "index_variables", dict)
    monkeypatch.setattr(environment.subprocess, "run", run)
    return started, statuses


def test_an_interrupted_installation_is_made_from_nothing_and_a_finished_one_left_alone(commands):
    """The stamp is written after uv is done; until then every run clears the folder and installs."""
    started, statuses = commands
    statuses += [0, 0, 1]
    with pytest.raises(SystemExit, match="uv could not install the packages"):
        environment.install()
    assert not environment.is_installed()
    environment.install()
    assert environment.is_installed()
    assert [command[-1] for command in started] == [
        str(environment.VENV), "uv", f"{PROJECT}[{environment.EXTRAS}]",
        str(environment.VENV), "uv", f"{PROJECT}[{environment.EXTRAS}]",
    ]  # fmt: skip
    assert started[3][:3] == ["-m", "venv", "--clear"]


@pytest.mark.parametrize(
    ("statuses", "message"), [([1], "lacks venv or pip .*python3-venv"), ([0, 1], "pip could not install uv")]
)
def test_a_machine_without_pip_or_index_gets_one_line(commands, statuses, message):
    commands[1].extend(statuses)
    with pytest.raises(SystemExit, match=message) as ended:
        environment.install()
    assert "\n" not in str(ended.value)
    assert not environment.is_installed()


def test_another_setup_installs_again(commands, monkeypatch):
    environment.install()
    monkeypatch.setattr(environment, "fingerprint", lambda: "another setup.py")
    assert not environment.is_installed()


def test_half_written_stamp_is_no_stamp(commands):
    environment.install()
    environment.stamp().write_text(environment.fingerprint()[:20])
    assert not environment.is_installed()


def test_an_environment_whose_python_is_gone_is_made_again(commands):
    environment.install()
    Path(environment.python()).unlink()
    assert not environment.is_installed()


def test_inside_the_environment_enter_returns_and_outside_it_replaces_the_process(commands, monkeypatch):
    monkeypatch.setattr(environment, "check_java", lambda: None)
    replaced = []
    monkeypatch.setattr(environment.os, "execv", lambda path, command: replaced.append((path, command)))
    python = environment.python()
    environment.enter(["-m", "job"])  # makes it first
    environment.enter(["-m", "job"])
    assert replaced == [(python, [python, "-m", "job"])] * 2
    monkeypatch.setattr(environment.sys, "prefix", str(environment.VENV))
    monkeypatch.setenv("PATH", "/usr/bin")
    environment.enter(["-m", "job"])
    assert len(replaced) == 2
    assert os.environ["PATH"] == f"{environment.VENV / 'bin'}{os.pathsep}/usr/bin"


def test_uv_takes_the_index_that_pip_is_configured_with(venv, tmp_path):
    """The environment's settings before the file's; folders that do not exist are left out."""
    (tmp_path / "wheels").mkdir()
    listed = f"""
:env:.find-links='{tmp_path}/wheels {tmp_path}/none'
:env:.index-url='http://first.example/simple'
global.extra-index-url='\\nhttp://a.example/simple\\nhttp://b.example/simple'
global.index-url='http://second.example/simple'
global.timeout='60'
global.no-color='true'
"""
    stand_in(venv / "bin", "python", f"cat <<'END'{listed}END")
    assert environment.index_variables() == {
        "UV_DEFAULT_INDEX": "http://first.example/simple",
        "UV_INDEX": "http://a.example/simple http://b.example/simple",
        "UV_FIND_LINKS": f"{tmp_path}/wheels",
        "UV_HTTP_TIMEOUT": "60",
    }
    stand_in(venv / "bin", "python", "echo 'No module named pip' >&2; exit 1")
    assert environment.index_variables() == {}


def test_delta_jars_count_only_when_they_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr(delta_jars.Path, "home", lambda: tmp_path)
    jars = tmp_path / ".ivy2.5.2" / "jars"
    jars.mkdir(parents=True)
    names = ("delta_delta-spark_4.2_2.13", "delta_delta-storage", "delta_delta-kernel-api")
    for name in names:
        (jars / f"io.{name}-4.4.0.jar").touch()
    assert delta_jars.paths() == []
    (jars / "io.delta_delta-kernel-defaults-4.4.0.jar").touch()
    (jars / "io.unitycatalog_unitycatalog-client-0.6.0.jar").touch()
    assert len(delta_jars.paths()) == 5


def test_a_failed_fetch_of_delta_names_the_trap(tmp_path, monkeypatch):
    monkeypatch.setattr(delta_jars.Path, "home", lambda: tmp_path)
    stand_in(tmp_path / "bin", "spark-submit", "echo 'RuntimeException: [download failed: io.delta#delta]'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(SystemExit, match=r"download failed.*half-filled local Maven repository.*move ~/.m2"):
        delta_jars.fetch()


def test_a_command_is_followed_into_its_log(tmp_path, capsys):
    log = tmp_path / "log"
    status = progress.follow("counting", [sys.executable, "-c", "print('one'); raise SystemExit(3)"], log)
    assert (status, log.read_text()) == (3, "one\n")
    assert capsys.readouterr().err.splitlines()[-1].startswith("counting: failed after")
