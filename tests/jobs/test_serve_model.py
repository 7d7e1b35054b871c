"""jobs/serve_model.py: a published model is put back, and what cannot be put back is said in one line."""

import json
import subprocess
import sys
from datetime import date

import pytest

from jobs import serve_model
from models import checkpoint
from models.checkpoint import ModelDirectory
from schemas import serving
from schemas.table import MissingDataError
from tests.support.project import PROJECT


def model(root, day, published=True):
    directory = ModelDirectory(str(root), "increc", date(2024, 3, day), "full", 1)
    checkpoint.publish(checkpoint.open_directory(), directory, {"exported": {}} if published else {})
    return directory.place


def serve(root, place=None):
    return serve_model.serve(str(root), "increc", place, "2024-03-09")


def test_a_published_model_is_put_there_and_back_again(tmp_path):
    first, second = model(tmp_path, 1), model(tmp_path, 2)
    assert serve(tmp_path, first) == {"model": "increc", "place": first, "replaced": None}
    assert serve(tmp_path, second) == {"model": "increc", "place": second, "replaced": first}
    assert serve(tmp_path) == {"model": "increc", "place": first, "replaced": second}
    held = json.loads((tmp_path / "models/increc/serving.json").read_text())
    assert held == {
        "place": first,
        "since": "2024-03-09",
        "verdict": "put back by hand",
        "replaced": second,
        "passed_over": "2024-03-02",
    }


def test_what_serves_already_is_left_as_it_is(tmp_path, capsys):
    first, second = model(tmp_path, 1), model(tmp_path, 2)
    serve(tmp_path, first)
    serve(tmp_path, second)
    before = serving.read(str(tmp_path), "increc")
    serve(tmp_path, f"{second}/")
    assert serving.read(str(tmp_path), "increc") == before
    assert "serves already" in capsys.readouterr().err


def test_what_cannot_be_put_back_changes_nothing(tmp_path):
    with pytest.raises(MissingDataError, match="nothing serves of increc"):
        serve(tmp_path)
    first, raw = model(tmp_path, 1), model(tmp_path, 2, published=False)
    with pytest.raises(MissingDataError, match=f"{raw} is no published model of increc; the newest published: {first}"):
        serve(tmp_path, raw)
    serve(tmp_path, first)
    with pytest.raises(MissingDataError, match=r"nothing of increc served before .* name a published model"):
        serve(tmp_path)
    assert serving.read(str(tmp_path), "increc").place == first


@pytest.mark.parametrize(("flags", "status"), [(["--previous"], 1), (["--place", "x", "--previous"], 2), ([], 2)])
def test_a_persons_mistake_is_one_line_and_no_traceback(tmp_path, flags, status):
    command = [sys.executable, "-m", "jobs.serve_model", "--root", str(tmp_path), "--model", "increc", *flags]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("serve_model")
