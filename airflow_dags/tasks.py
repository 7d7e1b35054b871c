"""What every DAG has, and a job as an Airflow task."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator

PROJECT = Path(__file__).resolve().parent.parent
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"  # as schemas.session has it; a test compares
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
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    return BashOperator(
        task_id=job, bash_command=f"exec '{sys.executable}' -m jobs.{job} {quoted}", cwd=str(PROJECT), **options
    )
