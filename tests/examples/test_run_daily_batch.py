"""The README's first command: when it repeats a run, what it prints at the end, which arguments it takes."""

import os
import subprocess
import sys

from examples.taobao import run_daily_batch
from tests.support import tiny_root
from tests.support.project import PROJECT


def test_a_run_is_done_again_when_logs_or_settings_change(tmp_path):
    before = run_daily_batch.fingerprint(tmp_path, {"days": 3}, "")
    assert run_daily_batch.fingerprint(tmp_path, {"days": 3}, "") == before
    assert run_daily_batch.fingerprint(tmp_path, {"days": 4}, "") != before
    assert run_daily_batch.fingerprint(tmp_path, {"days": 3}, "another first run") != before
    landed = tmp_path / "landing" / "requests" / "date=2017-11-28"
    landed.mkdir(parents=True)
    (landed / "part-0.parquet").write_bytes(b"rows")
    assert run_daily_batch.fingerprint(tmp_path, {"days": 3}, "") != before


def test_only_what_is_not_done_is_run(tmp_path, monkeypatch):
    """Nothing twice; after a step that ran, the steps after it run again."""
    runs = []
    monkeypatch.setattr(run_daily_batch.local_airflow, "run_dag", lambda day, conf, log, skipped: runs.append(log.name))
    page = run_daily_batch.report(tmp_path, run_daily_batch.EVALUATED)
    page.parent.mkdir(parents=True)
    page.touch()
    for again, expected in ((False, [2, 3]), (False, []), (True, [2, 3])):
        run_daily_batch.run_batches(tmp_path, tmp_path, again)
        assert runs == [f"daily_batch-{step}.log" for step in expected]
        runs.clear()
    page.unlink()
    run_daily_batch.run_batches(tmp_path, tmp_path, False)
    assert runs == ["daily_batch-3.log"]
    (tmp_path / "done-2").unlink()
    runs.clear()
    run_daily_batch.run_batches(tmp_path, tmp_path, False)
    assert runs == ["daily_batch-2.log", "daily_batch-3.log"]


def test_headline_is_the_mean_over_seeds_of_every_variant(tmp_path, capsys):
    """IncF@500 of `full` is .20 and .30 by two seeds; `hot_items`, which needs no training, has .15."""
    tiny_root.put_scores(tmp_path)
    run_daily_batch.print_headline(tmp_path, tiny_root.DAY)
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if "IncF@500" in line)
    rows = [line.split() for line in lines[first + 1 :] if line.split()[:1] in (["full"], ["hot_items"])]
    assert rows[0][0] == "full"
    assert "25.0" in " ".join(rows[0])
    assert rows[1][0] == "hot_items"
    assert "15.0" in " ".join(rows[1])
    assert any("ASH@" in line for line in lines)


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
