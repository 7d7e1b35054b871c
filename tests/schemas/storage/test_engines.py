"""Which engine a session is of, and what a job says of it."""

import json
import os
import subprocess
import sys

from tests.support.project import PROJECT

SCRIPT = """
from schemas.storage.session import engine_name, is_connected, session
spark = session("asked")
print(engine_name(spark), is_connected(spark), spark.conf.get("spark.sql.session.timeZone"), spark.range(3).count())
"""


def asked(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE", "SPARK", "PYSPARK"))}
    surroundings = {**plain, "PYTHONPATH": str(PROJECT), **variables}
    command = [sys.executable, *(["-c", script] if script else []), *arguments]
    return subprocess.run(command, env=surroundings, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_sail_runs_in_the_process_without_java(tmp_path):
    done = asked(SCRIPT, HEADRACE_ENGINE="sail", JAVA_HOME=str(tmp_path))
    assert done.stdout.split() == ["sail", "0.7.2", "True", "UTC", "3"], done.stderr


def test_an_unknown_engine_is_one_clear_error():
    done = asked("", "-m", "jobs.maintain_tables", "--root", "r", "--date", "2024-03-01", HEADRACE_ENGINE="flink")
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told == "maintain_tables 2024-03-01: HEADRACE_ENGINE is 'flink', should be one of spark, sail"


def test_spark_submit_and_another_engine_is_one_clear_error():
    done = asked(SCRIPT, HEADRACE_ENGINE="sail", PYSPARK_GATEWAY_PORT="1")
    assert done.returncode == 1
    assert "spark-submit runs Spark, not sail" in done.stderr.splitlines()[-1]


def test_a_job_names_its_engine_and_version(tmp_path):
    """The flag wins over the variable."""
    from tests.support import worked_example as example
    from tests.support.tiny_root import put_delta

    put_delta(tmp_path, "requests", example.DAY, example.REQUESTS)
    flags = ["--root", str(tmp_path), "--date", str(example.DAY), "--engine", "sail"]
    done = asked("", "-m", "jobs.maintain_tables", *flags, HEADRACE_ENGINE="spark")
    assert json.loads(done.stdout)["engine"] == "sail 0.7.2", done.stderr


def test_a_job_that_needs_spark_says_so_in_one_line():
    done = asked("from schemas.storage.session import session; session('job', needs_jvm=True)", HEADRACE_ENGINE="sail")
    assert done.stderr.splitlines()[-1].endswith(
        "job does not run on Sail or a Spark Connect server yet: use --engine spark"
    )
