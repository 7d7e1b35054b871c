"""What every DAG has, and a job as an Airflow task."""

import os
import shlex
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException

PROJECT = Path(__file__).resolve().parent.parent
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"  # as schemas/storage/session.py has it; a test compares

# That of settings.toml, so that a day's run starts once the local day is over and takes its date.
TIME_ZONE = os.environ.get("HEADRACE_TIME_ZONE", "UTC")

# Longer than any task of a day lasts; a task that hangs would hold up every run after it.
_LONGEST_TASK, _LONGEST_RUN = timedelta(hours=12), timedelta(days=2)

DAG_DEFAULTS = {
    "start_date": datetime(2017, 11, 25, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": _LONGEST_RUN,
    "default_args": {
        "owner": "headrace",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "depends_on_past": False,
        "execution_timeout": _LONGEST_TASK,
    },
    "tags": ["headrace"],
}


# Absolute: workers that share no working directory would each take a relative one for another folder.
ROOT_PARAM = Param(
    os.environ.get("HEADRACE_ROOT", str(PROJECT / "root")),
    type="string",
    description="Absolute path or URI of what holds every table; HEADRACE_ROOT where it is set.",
)


DATE_PARAM = Param(
    None, type=["null", "string"], format="date", description="T, the day of a run by hand; a schedule gives its own."
)


def run_date(params: dict, dag_run: object, interval_bound: object) -> date:
    """The day of a run: the parameter `date`, else that of a bound of its data interval.

    Airflow gives a run by hand the interval of the moment it was started in, which is another day than anybody meant.

    Raises:
        AirflowFailException: a run by hand has no `date`. Trying again would not help, so no retry follows.
    """
    if params["date"]:
        return date.fromisoformat(params["date"])
    if dag_run.run_type == "manual" or not isinstance(interval_bound, datetime):
        raise AirflowFailException(
            'this run was started by hand without a date: set the parameter `date`, as in --conf \'{"date": '
            '"2017-12-01"}\', or start several days by `airflow backfill create`'
        )
    return interval_bound.astimezone(ZoneInfo(TIME_ZONE)).date()


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
    """A job without a JVM, in the worker's own Python.

    The shell takes each argument from the environment as it is: no value of a parameter is read as shell.
    """
    env = {f"HEADRACE_ARGUMENT_{n}": argument for n, argument in enumerate(arguments)}
    command = " ".join(["exec", shlex.quote(sys.executable), "-m", f"jobs.{job}", *(f'"${name}"' for name in env)])
    return BashOperator(task_id=job, bash_command=command, env=env, append_env=True, cwd=str(PROJECT), **options)
