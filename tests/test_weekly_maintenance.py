"""The maintenance DAG parses without engines, keeps our policies and says what its job understands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import maintain_tables
from schemas.spark import DELTA_PACKAGE

PROJECT = Path(__file__).resolve().parent.parent

# Airflow is imported in a process of its own: it has its own mind about logging, and this one may hold Spark.
DESCRIBE = """
import json, sys
from datetime import datetime, UTC
from airflow.dag_processing.dagbag import DagBag

class Variables:
    def get(self, name, default=None):
        return default

class Var:
    value = Variables()

bag = DagBag("airflow_dags/weekly_maintenance.py")
dag = bag.dags["weekly_maintenance"]
task, = dag.tasks
context = {"params": {**dag.params.dump(), "root": "/a root"}, "var": Var(),
           "data_interval_end": datetime(2017, 12, 3, 12, tzinfo=UTC)}
def rendered(source):
    return task.render_template(source, context, dag.get_template_env())
print(json.dumps({
    "errors": bag.import_errors, "catchup": dag.catchup, "runs": dag.max_active_runs, "doc": dag.doc_md,
    "engines": sorted({"pyspark", "tensorflow", "pyarrow", "pandas", "numpy"} & set(sys.modules)),
    "schedule": dag.timetable.expression,
    "task": task.task_id, "retries": task.retries, "delay": task.retry_delay.total_seconds(),
    "depends_on_past": task.depends_on_past, "connection": task._conn_id, "application": task.application,
    "arguments": rendered(task.application_args), "packages": rendered(task.packages),
    "py_files": rendered(task.py_files),
}))
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """What Airflow makes of the DAG file."""
    home = tmp_path_factory.mktemp("airflow")
    surroundings = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE], cwd=PROJECT, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_parses_without_an_engine(described):
    assert (described["errors"], described["engines"]) == ({}, [])


def test_policies(described):
    assert (described["catchup"], described["runs"], described["depends_on_past"]) == (False, 1, False)
    assert described["schedule"] == "0 12 * * 0"
    assert described["retries"] >= 1
    assert described["delay"] > 0
    assert described["connection"] == "spark_default"
    assert (described["packages"], described["py_files"]) == (DELTA_PACKAGE, "")


def test_its_one_task_is_the_job(described):
    assert described["task"] == "maintain_tables"
    assert described["application"] == str(PROJECT / "jobs" / "maintain_tables.py")
    assert "`maintain_tables`" in described["doc"]


def test_every_argument_is_one_that_the_job_takes(described):
    """A run whose week ends on the 3rd at noon takes the dates up to the 2nd, the last whole day."""
    parsed = maintain_tables.arg_parser().parse_args(described["arguments"])
    assert (parsed.root, list(map(str, parsed.date)), parsed.retention_days) == ("/a root", ["2017-12-02"], 30)
