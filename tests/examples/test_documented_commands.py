"""README.md and docs/ are true: commands parse, cheap ones run, snippets work, links and paths lead somewhere."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.taobao import run_daily_batch
from schemas.storage.session import DELTA_PACKAGE
from tests.support import tiny_root
from tests.support.documents import DOCUMENTS, anchors, commands, fenced, links, named_paths
from tests.support.project import PROJECT

COMMANDS = {" ".join(words): words for document in DOCUMENTS for words in commands(document)}
JOBS = sorted(path.stem for path in (PROJECT / "jobs").glob("*.py") if path.stem != "__init__")


def name(document: Path) -> str:
    return str(document.relative_to(PROJECT))


def parsed_by_job(module: str, arguments: list[str]) -> None:
    """Fail unless the job's own parser accepts the arguments; without any, the document only names the job."""
    parser = importlib.import_module(module).arg_parser()
    if arguments and arguments != ["--help"]:
        parser.parse_args(arguments)


def check_python(words: list[str]) -> None:
    if words[1] == "-c":
        compile(words[2], "documented", "exec")
    elif words[1] == "-m" and words[2].startswith("jobs."):
        parsed_by_job(words[2], words[3:])
    elif words[1:3] == ["-m", "examples.taobao.run_daily_batch"]:
        run_daily_batch.arg_parser().parse_args(words[3:])
    elif words[1:3] == ["-m", "zipfile"]:
        assert words[3] == "-c"
        assert all((PROJECT / folder).is_dir() for folder in words[5:])
    elif words[1:3] == ["-m", "schemas"]:
        subprocess.run([sys.executable, *words[1:]], cwd=PROJECT, check=True, capture_output=True)
    else:
        check_script(words[1:])


def check_script(words: list[str]) -> None:
    assert (PROJECT / words[0]).is_file(), words[0]
    folder = PROJECT / "tests" / "benchmarks" / "scripts"
    if (PROJECT / words[0]).parent == folder and words[1:]:
        script = importlib.import_module(Path(words[0]).stem)
        if hasattr(script, "parsed"):
            script.parsed(words[1:])
        elif hasattr(script, "arg_parser"):
            script.arg_parser().parse_args(words[1:])


def check_spark_submit(words: list[str]) -> None:
    place = next(number for number, word in enumerate(words) if word.startswith("jobs/"))
    assert (PROJECT / words[place]).is_file(), words[place]
    assert DELTA_PACKAGE in words[words.index("--packages") + 1].split(",")
    parsed_by_job(words[place].removesuffix(".py").replace("/", "."), words[place + 1 :])


def check_pip(words: list[str]) -> None:
    assert words[1] == "install"
    if words[2] != "-e":
        return
    extras = re.fullmatch(r"\.\[([\w,]+)\]", words[3]).group(1).split(",")
    setup = (PROJECT / "setup.py").read_text()
    assert [extra for extra in extras if f'"{extra}": {extra}' not in setup] == []


CHECKS = {"python": check_python, "python3": check_python, "spark-submit": check_spark_submit, "pip": check_pip}


@pytest.mark.parametrize("command", [text for text, words in COMMANDS.items() if words[0] in CHECKS])
def test_a_command_is_one_that_its_program_takes(command):
    words = COMMANDS[command]
    CHECKS[words[0]](words)


def test_commands_are_found():
    """In an indented block, in one below a list, over two lines, and in running text."""
    assert "python3 tests/run.py" in COMMANDS
    assert "airflow pools set gpu 1 trainings" in COMMANDS
    assert any(words[0] == "spark-submit" and words[-1] == "2017-11-29" for words in COMMANDS.values())
    assert "python -m jobs.build_hccp_samples --help" in COMMANDS
    assert len(COMMANDS) > 25


def test_airflow_takes_its_commands(tmp_path):
    """By Airflow's own parser, in one process for all."""
    named_only = ("trigger", "create")  # in running text
    airflow = [words[1:] for words in COMMANDS.values() if words[0] == "airflow" and words[-1] not in named_only]
    assert len(airflow) >= 3
    code = (
        "import json, sys\nfrom airflow.cli.cli_parser import get_parser\n"
        "for words in json.loads(sys.argv[1]): get_parser().parse_args(words)\n"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, json.dumps(airflow)], env=environment, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose `root/` has every table of tiny_root.DAY."""
    folder = tmp_path_factory.mktemp("documented")
    tiny_root.put_all(folder / "root")
    return folder


def on_the_tiny_root(text: str) -> str:
    day = tiny_root.DAY
    return text.replace("2017-11-29", str(day)).replace("2017, 11, 29", f"{day.year}, {day.month}, {day.day}")


@pytest.mark.parametrize("command", [text for text in COMMANDS if "-m jobs.inspect_table" in text and "--root" in text])
def test_what_inspects_runs(command, folder):
    words = [on_the_tiny_root(word) for word in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


SNIPPETS = [(name(document), code) for document in DOCUMENTS for kind, code in fenced(document) if kind == "python"]


@pytest.mark.parametrize(("document", "code"), SNIPPETS)
def test_snippets_compile_and_those_that_open_tables_run(document, code, folder, monkeypatch):
    """docs/engines.md has snippets for engines that are not installed here."""
    compiled = compile(on_the_tiny_root(code), document, "exec")
    if document != "docs/engines.md":
        monkeypatch.chdir(folder)
        exec(compiled, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files_and_headings(document):
    for file, anchor in links(document):
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), f"{name(document)} links {file}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{name(document)} links {file}#{anchor}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_named_paths_exist(document):
    missing = [path for path in named_paths(document) if not list(PROJECT.glob(path.rstrip("/")))]
    assert missing == [], f"{name(document)} names files that do not exist"


def test_readme_lists_every_job_and_no_other():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (PROJECT / "README.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == JOBS


def test_readme_links_the_guides():
    linked = {name((PROJECT / file).resolve()) for file, _ in links(PROJECT / "README.md")}
    guides = ("bring-your-own-logs", "schedule-it", "run-on-a-cluster", "models-and-presets", "studies-and-results",
              "when-something-fails", "how-the-code-is-laid-out")  # fmt: skip
    assert {f"docs/{guide}.md" for guide in guides} <= linked


def test_documented_presets_are_those_of_training():
    text = (PROJECT / "docs" / "models-and-presets.md").read_text()
    rows = re.findall(r"^\| (IncRec|HCCP) \| ([^|]+) \|", text, re.MULTILINE)
    presets = [(model.lower(), preset) for model, cell in rows for preset in re.findall(r"`(\w+)`", cell)]
    assert len(presets) >= 8
    for model, preset in presets:
        parsed_by_job(f"jobs.train_{model}", ["--root", "r", "--date", "2020-01-01", "--preset", preset])
