"""The Spark session under spark-submit: the submitter's settings win, but for those the tables need."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.project import PROJECT

SCRIPT = """
from schemas.storage.session import session
conf = session("asked").conf
print("told", conf.get("spark.sql.shuffle.partitions"), conf.get("spark.sql.session.timeZone"),
      conf.get("spark.sql.parquet.compression.codec"))
"""


def test_without_java_there_is_one_clear_error(tmp_path):
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT), "JAVA_HOME": str(tmp_path)}
    script = "from schemas.storage.session import session; session('asked')"
    done = subprocess.run([sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("schemas.table.MissingDataError: Spark did not start")
    assert "openjdk-17" in told


def test_the_submitters_settings_win_but_for_those_that_the_tables_need(tmp_path):
    """7 partitions stay 7, a time zone becomes UTC, and what was not said is ours."""
    script = tmp_path / "ask.py"
    script.write_text(SCRIPT)
    said = {"spark.sql.shuffle.partitions": "7", "spark.sql.session.timeZone": "Asia/Tokyo"}
    # Nothing is read or written here, so Delta need not be found.
    said |= {"spark.sql.extensions": "", "spark.sql.catalog.spark_catalog": ""}
    flags = [word for key, value in said.items() for word in ("--conf", f"{key}={value}")]
    submit = [Path(sys.executable).parent / "spark-submit", "--master", "local[1]", *flags, script]
    surroundings = {**os.environ, "PYTHONPATH": str(PROJECT), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(submit, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["told", "7", "UTC", "zstd"]
