"""kill -9, a full disk and a second run under Spark jobs: each date stays whole, and running the job again mends it."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from jobs import build_user_histories, label_target_groups
from schemas.storage import staging
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.storage.spark import Store
from schemas.table import ConflictError, partition
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from tests.support import worked_example as example
from tests.support.landed import flags, frame, put, rows_of
from tests.support.project import LONG, PROJECT

KILLS = 50 if LONG else 1  # of each job


@pytest.fixture(scope="module")
def logged(spark, tmp_path_factory):
    root = tmp_path_factory.mktemp("worked")
    put(spark, root, "requests", example.DAY, example.REQUESTS)
    put(spark, root, "retrievals", example.DAY, example.RETRIEVALS)
    put(spark, root, "impressions", example.DAY, example.IMPRESSIONS)
    put_conversions(spark, root, 0)
    return root


def put_conversions(spark, root, version: int) -> None:
    """Both dates' conversions; an odd version lacks the first click."""
    for day in (example.DAY, example.DAY + timedelta(days=1)):
        rows = [row for row in example.CONVERSIONS[version % 2 :] if row[4].date() == day]
        put(spark, root, "conversions", day, rows)


JOBS = {
    "build_user_histories": (build_user_histories, "user_histories"),
    "label_target_groups": (label_target_groups, "target_groups"),
}


def run_here(spark, root, name: str) -> set:
    """The job's rows of the date, after it ran in this process."""
    job, table = JOBS[name]
    job.main(flags(job, root, example.DAY), example.DAY)
    return set(rows_of(spark, root, table, example.DAY))


@pytest.mark.parametrize("name", JOBS)
def test_a_spark_job_killed_at_random_moments_leaves_old_or_new(spark, logged, name):
    draw, (_, table) = random.Random(f"{KILLS} {name}"), JOBS[name]
    versions = []
    for version in (1, 0):
        put_conversions(spark, logged, version)
        versions.insert(0, run_here(spark, logged, name))
    assert versions[0] != versions[1]
    there = met = 0
    for _ in range(KILLS):
        old, new = versions[there], versions[1 - there]
        put_conversions(spark, logged, 1 - there)
        met += killed_run(logged, name, draw)
        if table == "target_groups" or (logged / partition(user_histories, example.DAY) / MANIFEST).exists():
            assert set(rows_of(spark, logged, table, example.DAY)) in (old, new)
        assert run_here(spark, logged, name) == new
        there = 1 - there
    assert met > KILLS // 5


def killed_run(root: Path, name: str, draw: random.Random) -> bool:
    """Run a job and kill it, its JVM too or Python alone, soon after its first trace on the disk; returns whether the
    kill met it at work. Of the long tests' runs a quarter is killed at any moment.
    """
    before = files(root)
    given = [sys.executable, "-m", f"jobs.{name}", "--root", str(root), "--date", str(example.DAY)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    job = subprocess.Popen(given, cwd=PROJECT, start_new_session=True, **quiet)
    if LONG and draw.random() < 0.25:
        time.sleep(15 * draw.random())
    else:
        while job.poll() is None and files(root) <= before:
            time.sleep(0.02)
        time.sleep((2 if LONG else 0.2) * draw.random())
    if draw.random() < 0.5:
        job.kill()
    else:
        os.killpg(job.pid, signal.SIGKILL)
    met = job.wait() == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        while True:  # the JVM ends by itself once Python is gone
            os.killpg(job.pid, 0)
            time.sleep(0.02)
    return met


def files(root: Path) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names}


def leftovers(root: Path) -> list[str]:
    return [one.folder for one in staging.leftovers(Root.of(str(root)), datetime.now(UTC) + timedelta(days=1))]


def test_a_disk_that_fills_up_under_spark(spark, logged):
    """The JVM may write ever larger files: whatever fails, Delta's rows and histories are old or new."""
    jvm = spark._jvm.java.lang.ProcessHandle.current().pid()
    usual, failed, left = resource.prlimit(jvm, resource.RLIMIT_FSIZE), 0, leftovers(logged)
    for name, (_, table) in JOBS.items():
        versions = []
        for version in (1, 0):
            put_conversions(spark, logged, version)
            versions.insert(0, run_here(spark, logged, name))
        put_conversions(spark, logged, 1)
        for size in (50, 500, 1_000, 1_500, 2_500):
            resource.prlimit(jvm, resource.RLIMIT_FSIZE, (size, usual[1]))
            try:
                run_here(spark, logged, name)
            except (Py4JError, PySparkException):
                failed += 1
            finally:
                resource.prlimit(jvm, resource.RLIMIT_FSIZE, usual)
            assert set(rows_of(spark, logged, table, example.DAY)) in versions
        assert run_here(spark, logged, name) == versions[1]
    assert failed >= 4
    assert leftovers(logged) == left


def test_two_runs_that_replace_one_date_of_a_delta_table(spark, logged, tmp_path):
    """The one that commits later gives way, and says so in a line."""
    rows = list(run_here(spark, logged, "label_target_groups"))
    started, go = tmp_path / "started", tmp_path / "go"

    def wait(user: int) -> int:
        started.touch()
        while not go.exists():
            time.sleep(0.01)
        return user + 1

    # One task, so that a core is left for the other run.
    slow = frame(spark, target_groups, rows).coalesce(1).withColumn("user_id", F.udf(wait, "bigint")("user_id"))
    said = []

    def first() -> None:
        try:
            Store(spark, str(logged)).replace(target_groups, example.DAY, slow, {})
        except ConflictError as fault:
            said.append(str(fault))

    thread = threading.Thread(target=first, daemon=True)
    thread.start()
    while thread.is_alive() and not started.exists():
        time.sleep(0.01)
    put(spark, logged, "target_groups", example.DAY, rows)
    go.touch()
    thread.join()
    assert set(rows_of(spark, logged, "target_groups", example.DAY)) == set(rows)
    (said,) = said
    assert said == (
        f"labels/target_groups of 2024-03-01 below {logged} was changed by another run while this one wrote it; "
        "the other's rows stay; run this again, alone"
    )
