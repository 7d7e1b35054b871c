"""What every DAG has, and a job as an Airflow task."""

import os
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param

PROJECT = Path(__file__).resolve().parent.parent
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"  # as schemas/storage/session.py has it; a test compares

POLICY = {
    "start_date": datetime(2017, 11, 25, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {
        "owner": "headrace",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "depends_on_past": False,
    },
    "tags": ["headrace"],
}


# Absolute: workers that share no working directory would each take a relative one for another folder.
ROOT_PARAM = Param(
    os.environ.get("HEADRACE_ROOT", str(PROJECT / "root")),
    type="string",
    description="Absolute path or URI of what holds every table; HEADRACE_ROOT where it is set.",
)


def interval_bound(moment: object) -> datetime:
    """A bound of the run's data interval, as a template was given it.

    Raises:
        ValueError: the run has none, as one of `airflow dags trigger` has not.
    """
    if not isinstance(moment, datetime):
        raise ValueError(
            "this run has no data interval, so no date: start one for day T by `airflow backfill create --dag-id DAG "
            "--from-date T --to-date T`"
        )
    return moment


def spark_job(job: str, arguments: list[str], **options) -> SparkSubmitOperator:
    """A Spark job by spark-submit; master and queue are the connection's."""
    return SparkSubmitOperator(
        task_id=job,
        name=job,
        application=str(PROJECT / "jobs" / f"{job}.py"),
        application_args=arguments,
        conn_id="spark_default",
        packages="{{ var.value.get('headrace_packages', '" + DELTA_PACKAGE + "') }}",
        py_files="{{ var.value.get('headrace_py_files', '') }}",
        conf={"spark.driver.memory": "4g", "spark.log.level": "ERROR"},
        **options,
    )


def python_job(job: str, arguments: list[str], **options) -> BashOperator:
    """A job without a JVM, in the worker's own Python."""
    # Not shlex.quote: Airflow fills templates in before the shell reads them, so a template's own quotes must stay.
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    command = f"exec {shlex.quote(sys.executable)} -m jobs.{job} {quoted}"
    return BashOperator(task_id=job, bash_command=command, cwd=str(PROJECT), **options)
