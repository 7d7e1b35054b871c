"""Fixtures that more than one test module needs."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.project import PROJECT

# Jobs of seconds on two cores: compiling well costs more than it saves, and by default so little code is kept that
# compiling would stop for good. The jobs that tests start inherit it.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC")


@pytest.fixture(scope="session")
def spark():
    """One Spark session with Delta for the whole run, on two cores, with few shuffle partitions."""
    os.environ["SPARK_MASTER"] = "local[2]"
    from schemas.storage.session import session

    made = session("headrace-tests")
    made.conf.set("spark.sql.shuffle.partitions", "4")
    yield made
    made.stop()


@pytest.fixture
def run_job():
    """Run `python -m jobs.<name> <arguments>` and return (exit status, last JSON line or None, standard error)."""

    def run(name: str, *arguments: object) -> tuple[int, dict | None, str]:
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{name}", *map(str, arguments)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        line = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None
        return done.returncode, line, done.stderr

    return run
