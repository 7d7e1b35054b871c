"""What every DAG has, and a job as an Airflow task."""

import shlex
import sys
from datetime import UTC, datetime, timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator

from airflow_dags.environment import DELTA_PACKAGE, PROJECT

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
    # Not shlex.quote: Airflow fills templates in before the shell reads them, so a template's own quotes must stay.
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    command = f"exec {shlex.quote(sys.executable)} -m jobs.{job} {quoted}"
    return BashOperator(task_id=job, bash_command=command, cwd=str(PROJECT), **options)
