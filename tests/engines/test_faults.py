"""Faults under Sail: kill -9, a full disk, little memory, two writers. Each date stays whole."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from unittest import mock

import pytest
from pyspark.sql import functions as F

from schemas.storage import arrow, delta_log
from schemas.storage.delta_rs import Commits
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.table import ConflictError
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, requests
from tests.support import landed
from tests.support.engines import content, engine
from tests.support.funnel_logs import put_funnel
from tests.support.generated_logs import DAYS
from tests.support.project import LONG, PROJECT
from tests.support.worked_example import at

DAY, NEXT = DAYS[1], DAYS[2]
KILLS = 50 if LONG else 2  # of each job
JOBS = {"label_target_groups": target_groups, "build_user_histories": user_histories}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    root = tmp_path_factory.mktemp("logged")
    put_funnel(root, seed=2, per_day=300)
    return root


def started(root, name: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", f"jobs.{name}", "--root", str(root), "--date", str(DAY), "--engine", "sail"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=PROJECT, **streams, **options)


def finished(root, name: str, **options) -> tuple[int, str]:
    job = started(root, name, **options)
    _, told = job.communicate()
    return job.returncode, told


def files(root) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_at_random_moments_leaves_all_or_nothing(logged, tmp_path, name):
    """From its first file on; the job that runs next makes the date."""
    draw, table = random.Random(name), JOBS[name]
    whole = tmp_path / "whole"
    shutil.copytree(logged, whole)
    assert finished(whole, name)[0] == 0
    rows, killed = content(whole, table, DAY), 0
    for n in range(KILLS):
        root = tmp_path / str(n)
        shutil.copytree(logged, root)
        before, job = files(root), started(root, name)
        while job.poll() is None and files(root) <= before:
            time.sleep(0.002)
        time.sleep(0.3 * draw.random())
        job.kill()
        killed += job.wait() == -signal.SIGKILL
        with contextlib.suppress(FileNotFoundError):
            assert content(root, table, DAY) == rows
        assert finished(root, name)[0] == 0
        assert content(root, table, DAY) == rows
        shutil.rmtree(root)
    assert killed


@pytest.mark.parametrize("name", JOBS)
def test_a_disk_that_fills_up(logged, tmp_path, name):
    """Files may grow to so many bytes: the job fails with status 1, and what was there stays."""
    table = JOBS[name]
    shutil.copytree(logged, tmp_path / "root")
    assert finished(tmp_path / "root", name)[0] == 0
    rows, failed = content(tmp_path / "root", table, DAY), 0
    for size in (100, 1_000, 2_000, 4_000):
        limit = (size, resource.RLIM_INFINITY)
        status, told = finished(
            tmp_path / "root", name, preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        )
        assert status in (0, 1), told
        failed += status
        assert content(tmp_path / "root", table, DAY) == rows
    assert failed >= 2


def test_little_memory_is_no_short_result(logged, tmp_path):
    """With a pool of 300 kB the rows are all there, or the job fails and says so."""
    rows = {}
    for name, size in (("much", 10**9), ("little", 300_000)):
        shutil.copytree(logged, tmp_path / name)
        pool = {"SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(size)}
        status, told = finished(tmp_path / name, "label_target_groups", env={**os.environ, **pool})
        if status:
            assert name == "little"
            assert "memory" in told.lower()
            assert not (tmp_path / name / target_groups.path / "_delta_log").exists()
            return
        rows[name] = content(tmp_path / name, target_groups, DAY)
    assert rows["little"] == rows["much"]


# --- two writers


def asked(n: int) -> tuple:
    return (f"r{n}", n, "homepage", at("10:00", 2))


def replace(root, day: date, count: int) -> int:
    store = Store(session("writers"), str(root))
    return store.replace(requests, day, landed.frame(store.spark, requests, [asked(n) for n in range(count)]), {})


@contextlib.contextmanager
def another_run_before_the_commit(work):
    """Do the work once, when the files of a commit are written and it is not made."""
    settled, pending = Commits._settled, [work]

    def interrupted(self, folder):
        if pending:
            pending.pop()()
        return settled(self, folder)

    with mock.patch.object(Commits, "_settled", interrupted):
        yield


@pytest.mark.parametrize("first", [True, False], ids=["new table", "old table"])
def test_two_runs_that_replace_one_date(tmp_path, first):
    """The one that commits later gives way, and leaves no file behind."""
    with engine("sail"):
        if not first:
            replace(tmp_path, DAY, 1)
        with (
            another_run_before_the_commit(lambda: replace(tmp_path, DAY, 2)),
            pytest.raises(ConflictError, match="the other's rows stay; run this again, alone"),
        ):
            replace(tmp_path, DAY, 3)
    assert len(arrow.read(str(tmp_path), requests, DAY)) == 2
    added = {change.path for change in delta_log.file_changes(Root.of(str(tmp_path)), requests, -1)}
    on_disk = {path.removeprefix(f"{tmp_path}/{requests.path}/") for path in files(tmp_path / requests.path / "")}
    assert {path for path in on_disk if path.endswith(".parquet")} <= added


@pytest.mark.parametrize("first", [True, False], ids=["new table", "old table"])
def test_two_runs_that_replace_different_dates(tmp_path, first):
    """Both dates stand."""
    with engine("sail"):
        if not first:
            replace(tmp_path, DAY, 1)
        with another_run_before_the_commit(lambda: replace(tmp_path, NEXT, 2)):
            assert replace(tmp_path, DAY, 3) == 3
    assert [len(arrow.read(str(tmp_path), requests, day)) for day in (DAY, NEXT)] == [3, 2]


def test_a_merge_gives_way_to_a_run_that_wrote_the_date_since_it_was_read(tmp_path):
    with engine("sail"):
        replace(tmp_path, DAY, 3)
        store = Store(session("writers"), str(tmp_path))
        present = store.read(requests, DAY).select(*requests.names)
        replace(tmp_path, DAY, 2)
        with pytest.raises(ConflictError, match="written by another run"):
            store.update(requests, DAY, present, landed.frame(store.spark, requests, [asked(9)]), {})
    assert len(arrow.read(str(tmp_path), requests, DAY)) == 2


def test_a_row_that_is_refused_is_one_line_and_leaves_nothing(logged, tmp_path):
    """An unknown action, which the labels refuse; no label is written."""
    shutil.copytree(logged, tmp_path / "root")
    with engine("sail"):
        store = Store(session("refused"), str(tmp_path / "root"))
        changed = store.read(conversions, DAY).drop("date").withColumn("action", F.lit("share"))
        store.replace(conversions, DAY, changed, {})
    status, told = finished(tmp_path / "root", "label_target_groups")
    assert status == 1
    assert told.splitlines()[-1].endswith("labels/target_groups of 2024-03-02 was not written: unknown action share")
    assert not list((tmp_path / "root" / target_groups.path).rglob("*.parquet"))
