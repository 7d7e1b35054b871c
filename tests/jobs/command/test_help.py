"""`--help` of every job: one line, what it reads and writes, what to heed; at a glance, in any terminal."""

import importlib

import pytest

from tests.support.project import PROJECT

JOBS = sorted({path.stem for path in (PROJECT / "jobs").glob("*.py")} - {"__init__"})


@pytest.mark.parametrize("job", JOBS)
def test_help_fits_a_screen(job, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    module = importlib.import_module(f"jobs.{job}")
    text = module.arg_parser().format_help()
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 25
    summary, space, *rest = module.__doc__.splitlines()
    assert summary.endswith(".")
    assert space == ""
    assert rest[0].startswith("Reads: ")
    assert any(line.startswith("Writes: ") for line in rest)
