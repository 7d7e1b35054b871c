"""kill -9, full disks and closed folders: each date stays whole, and running the job again mends it."""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import pytest

from jobs.command import cli
from schemas.storage import staging
from schemas.storage.root import Root
from tests.support import crashing
from tests.support.crashing import version_there, write
from tests.support.project import LONG, PROJECT

KILLS = 1000 if LONG else 100
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(scope="module")
def forked():
    """Starts processes in milliseconds: they are forked from one that has imported all that they need."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.support.crashing"])
    with mock.patch.dict(os.environ, PYTHONPATH=str(PROJECT)):
        forkserver.ensure_running()
    return server


def test_a_writer_killed_at_random_moments_leaves_whole_versions(tmp_path, forked):
    draw, root, last, interrupted = random.Random(KILLS), str(tmp_path), 0, 0
    for _ in range(KILLS):
        told, done = forked.Pipe(duplex=False)
        writer = forked.Process(target=crashing.write_on, args=(root, last + 1, 1, done))
        writer.start()
        done.close()
        told.poll(30)  # it is at work
        time.sleep(draw.random() / 10)
        writer.kill()
        writer.join()
        finished = last
        while told.poll():
            try:
                finished = told.recv()
            except EOFError:
                break
        there = version_there(root)
        assert there in (finished, finished + 1, None)
        last = finished + 1
        left = staging.leftovers(Root.of(root), TOMORROW)
        interrupted += bool(left)
        for one in left:
            Root.of(root).remove(one.folder)
    write(root, last + 1)
    assert version_there(root) == last + 1
    assert interrupted > KILLS // 5  # the kills met the writers at work


def test_a_writer_killed_at_each_step_leaves_old_or_new_or_nothing(tmp_path, forked):
    step, seen = 0, set()
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += 1
        root = str(tmp_path / str(step))
        write(root, 1)
        writer = forked.Process(target=crashing.die_at, args=(root, 2, step))
        writer.start()
        writer.join()
        status = writer.exitcode
        seen.add(version_there(root))
        write(root, 3)
        assert version_there(root) == 3
    assert status == 0
    assert step > 40
    assert seen == {1, None, 2}


def test_two_writers_of_one_date_and_a_reader(tmp_path, forked):
    """Each writes its own versions, odd or even, as fast as it can; what a reader meets is one of them, whole."""
    root, pipes, writers = str(tmp_path), [], []
    for first in (1, 2):
        told, done = forked.Pipe(duplex=False)
        writers.append(forked.Process(target=crashing.write_on, args=(root, first, 2, done)))
        pipes.append(told)
        writers[-1].start()
        done.close()  # else a writer that died would be waited for
    seen = set()
    while len(seen) < 40:
        assert all(writer.is_alive() for writer in writers)
        try:
            seen.add(version_there(root))
        except FileNotFoundError:  # replaced under the reader's eyes
            continue
    for writer in writers:
        writer.kill()
        writer.join()
    answers = [[told.recv() for _ in range(3)] for told in pipes]
    assert all(abs(one) % 2 == first % 2 for first, said in zip((1, 2), answers, strict=True) for one in said)
    assert {version % 2 for version in seen - {None}} == {0, 1}


# --- full disks and closed folders


def test_a_full_disk_leaves_the_landed_date_and_says_so_in_a_line(tmp_path, run_job):
    world = ("--days", 1, "--users", 200, "--items", 300, "--date", "2020-01-01", "--root", tmp_path)
    assert run_job("simulate_logs", *world, "--seed", 1)[0] == 0
    before = landed(tmp_path)
    script = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); "
    script += "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__')"
    given = [sys.executable, "-c", script, "jobs.simulate_logs", *map(str, world), "--seed", "2"]
    done = subprocess.run(given, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("simulate_logs 2020-01-01: ")
    assert done.stderr.strip().endswith("no date is half replaced: make room and run this again")
    assert landed(tmp_path) == before
    assert staging.leftovers(Root.of(str(tmp_path)), TOMORROW) == []


def landed(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "landing").rglob("*") if path.is_file()}


def test_a_closed_folder_leaves_the_date(forked):
    """As another user where the test runs as root, whom no folder is closed to."""
    root = Path(tempfile.mkdtemp())
    write(str(root), 1)
    told, done = forked.Pipe(duplex=False)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        writer = forked.Process(target=crashing.write_as_anybody, args=(str(root), 2, done))
        writer.start()
        done.close()
        assert "Permission denied" in told.recv()
        writer.join()
        assert version_there(str(root)) == 1
    finally:
        for folder in folders:
            folder.chmod(0o755)
        shutil.rmtree(root)


def test_what_a_job_says_where_it_cannot_write(tmp_path, capsys):
    (tmp_path / "reports").write_text("in the way")
    arguments = argparse.Namespace(date=[crashing.DAY])
    with pytest.raises(SystemExit) as stopped:
        cli.run("job", arguments, lambda *_: write(str(tmp_path), 1))
    assert stopped.value.code == 1
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert "reports" in last
    assert last.endswith("no date is half replaced: move away what is in the way and run this again")
