"""The jobs on a standalone Spark cluster of two workers, whose Python has neither this checkout nor the package."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from schemas.storage import arrow
from schemas.storage.session import DELTA_PACKAGE
from schemas.table import landing
from schemas.tables import logs
from schemas.tables.labels import target_groups
from tests.support import tiny_root
from tests.support import worked_example as example
from tests.support.project import PROJECT

BIN = Path(sys.executable).parent
DAYS = (example.DAY, example.DAY + timedelta(days=1))
SECONDS = 120
# What the cluster's own configuration says; a person who submits says only where, what and with which code.
SETTINGS = {
    "spark.master.rest.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1g",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
    # Tables of ten rows, and yet more tasks a stage than one worker has cores, once both are there.
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.adaptive.enabled": "false",
    "spark.cores.max": "2",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": f"{SECONDS}s",
}


class Cluster:
    """A master and two workers of one core each, on this machine's loopback; `submit` is what a person types."""

    def __init__(self, home: Path):
        self.home, self.processes = home, []
        self.events = home / "events"
        for folder in ("conf", "events", "submitted"):
            (home / folder).mkdir()
        settings = SETTINGS | {"spark.eventLog.dir": self.events.as_uri()}
        lines = (f"{key} {value}\n" for key, value in settings.items())
        (home / "conf" / "spark-defaults.conf").write_text("".join(lines))
        # Without `site` an editable install is not seen; the third parties' packages are.
        self.python = home / "python"
        self.python.write_text(
            "#!/bin/sh\n"
            f'export PYTHONPATH="$PYTHONPATH:{sysconfig.get_path("purelib")}:{sysconfig.get_path("platlib")}"\n'
            f'exec "{sys.executable}" -S "$@"\n'
        )
        self.python.chmod(0o755)

    @property
    def surroundings(self) -> dict:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYSPARK", "PYTHON"))
        }
        return kept | {
            "SPARK_CONF_DIR": str(self.home / "conf"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "PYSPARK_PYTHON": str(self.python),
        }

    def start(self) -> None:
        local = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        log = self._launch("master", "org.apache.spark.deploy.master.Master", *local)
        self.address = self._said(log, r"(spark://127\.0\.0\.1:\d+)")
        for number in (1, 2):
            size = ("--cores", "1", "--memory", "1g", "--work-dir", str(self.home / f"work-{number}"))
            self._launch(f"worker-{number}", "org.apache.spark.deploy.worker.Worker", *local, *size, self.address)
        self._until(lambda: log.read_text().count("Registering worker") == 2, "two workers never registered")

    def stop(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a worker's executors are of its group
            process.wait()

    def submit(self, job: str, *arguments: object) -> dict:
        """Run a job as the README says, from a folder that holds its file and the zip; returns its JSON line."""
        command = [BIN / "spark-submit", "--master", self.address, "--packages", DELTA_PACKAGE]
        command += ["--py-files", "headrace.zip", f"{job}.py", *arguments]
        with open(self.home / f"{job}.log", "w") as log:
            process = self._run(list(map(str, command)), log, stdout=subprocess.PIPE, cwd=self.home / "submitted")
            told, _ = process.communicate(timeout=3 * SECONDS)
        assert process.returncode == 0, (self.home / f"{job}.log").read_text()[-3000:]
        return json.loads(told.decode().splitlines()[-1])

    def executors(self) -> list[str]:
        """The executors that ran tasks of the latest job, by the job's event log."""
        latest = max(self.events.glob("app-*"), key=lambda path: path.stat().st_mtime_ns)
        told = (json.loads(line) for line in latest.read_text().splitlines())
        return sorted({each["Task Info"]["Executor ID"] for each in told if each["Event"] == "SparkListenerTaskEnd"})

    def _launch(self, name: str, *arguments: str) -> Path:
        log = self.home / f"{name}.log"
        with open(log, "w") as output:
            self._run([str(BIN / "spark-class"), *arguments], output, stdout=output, cwd=self.home)
        return log

    def _run(self, command: list[str], log, **options) -> subprocess.Popen:
        process = subprocess.Popen(command, env=self.surroundings, stderr=log, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def _said(self, log: Path, pattern: str) -> str:
        self._until(lambda: re.search(pattern, log.read_text()), f"{log} never said {pattern}")
        return re.search(pattern, log.read_text()).group(1)

    def _until(self, holds, fault: str) -> None:
        for _ in range(10 * SECONDS):
            if holds():
                return
            assert all(process.poll() is None for process in self.processes), fault
            time.sleep(0.1)
        pytest.fail(fault)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster, and beside its jobs' files the zip, made as the README says."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    zipped = made.home / "submitted" / "headrace.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", zipped, "schemas", "jobs"], cwd=PROJECT, check=True)
    for job in ("ingest_logs", "label_target_groups", "replay_events"):
        (made.home / "submitted" / f"{job}.py").write_text((PROJECT / "jobs" / f"{job}.py").read_text())
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_zip_is_where_the_code_comes_from(cluster):
    """The workers' Python cannot import the package by itself."""
    alone = subprocess.run(
        [cluster.python, "-c", "import pyarrow; print('third parties are there'); import jobs"],
        cwd=cluster.home, env=cluster.surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.stdout == "third parties are there\n"
    assert "No module named 'jobs'" in alone.stderr


def test_logs_and_labels_of_the_worked_example(cluster, tmp_path):
    rows = {name: getattr(example, name.upper()) for name in ("requests", "retrievals", "impressions")}
    for day in DAYS:
        for name, tuples in rows.items():
            tiny_root.put_landing(tmp_path, name, day, tuples if day == example.DAY else [])
        happened = [row for row in example.CONVERSIONS if row[4].date() == day]
        tiny_root.put_landing(tmp_path, "conversions", day, happened)
    landed = len(example.REQUESTS + example.RETRIEVALS + example.IMPRESSIONS + example.CONVERSIONS)
    ingested = cluster.submit("ingest_logs", "--root", tmp_path, "--date", f"{DAYS[0]}..{DAYS[1]}")
    assert ingested["rows_written"] == landed
    labelled = cluster.submit("label_target_groups", "--root", tmp_path, "--date", example.DAY)
    assert cluster.executors() == ["0", "1"]
    assert (labelled["rows_written"], labelled["unlabelable"]) == (len(example.EXPECTED), 1)
    found = arrow.read(str(tmp_path), target_groups, example.DAY, target_groups.names).to_pylist()
    assert {tuple(tuple(v) if isinstance(v, list) else v for v in row.values()) for row in found} == example.EXPECTED


def test_python_that_runs_in_the_workers(cluster, tmp_path):
    """replay_events alone runs Python there: the channels learn from four dates, and answer on the fifth.

    Item 10 was used by three users, 11 by two, 12 by one; user 4 is new, and gets the hot items only.
    """
    events = [
        (1, 10, "pv", "24 17:00:00"), (2, 10, "pv", "24 18:00:00"), (3, 10, "buy", "25 09:00:00"),
        (1, 11, "pv", "25 10:00:00"), (2, 11, "cart", "26 11:00:00"), (1, 12, "buy", "27 12:00:00"),
        (4, 11, "pv", "28 12:00:00"), (1, 10, "pv", "28 13:00:00"),
    ]  # fmt: skip
    lines = (
        f"{user},{item},100,{behavior},{datetime.fromisoformat(f'2017-11-{time}+00:00').timestamp():.0f}\n"
        for user, item, behavior, time in events
    )
    (tmp_path / "UserBehavior.csv").write_text("".join(lines))
    day = date(2017, 11, 28)
    source = ("--events", tmp_path / "UserBehavior.csv", "--source", "taobao", "--channel-size", 4)
    cluster.submit("replay_events", "--root", tmp_path, "--date", day, *source)
    assert cluster.executors() == ["0", "1"]
    rows = parquet.read_table(tmp_path / landing(logs.retrievals, day)).to_pylist()
    hot = {row["request_id"]: (row["item_ids"], row["scores"]) for row in rows if row["channel"] == "hot"}
    assert sorted(hot) == ["1-20171128125959", "4-20171128115959"]
    assert hot["4-20171128115959"] == ([10, 11, 12], [3.0, 2.0, 1.0])
    assert [row["channel"] for row in rows if row["request_id"].startswith("4-")] == ["hot"]
