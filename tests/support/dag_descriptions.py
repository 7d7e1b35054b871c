"""What Airflow makes of a DAG file: its policies, its tasks, and each task's rendered arguments."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.project import PROJECT

# Airflow is imported in a process of its own: it has its own mind about logging, and this one may hold Spark.
DESCRIBE = """
import json, sys
from datetime import datetime, UTC
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException


class Variables:
    def get(self, name, default=None):
        return default

class Var:
    value = Variables()

class Run:
    def __init__(self, run_type):
        self.run_type = run_type

bag = DagBag("airflow_dags")
told = {"errors": bag.import_errors, "dags": list(bag.dags)}
dag = bag.dags[sys.argv[1]]
told["engines"] = sorted({"pyspark", "tensorflow", "pyarrow", "pandas", "numpy"} & set(sys.modules))
told["schedules"] = {name: each.timetable.expression for name, each in bag.dags.items()}
told["catchup"], told["runs"], told["doc"] = dag.catchup, dag.max_active_runs, dag.doc_md
told["root"] = dag.params["root"]
told["tasks"] = {
    task.task_id: {
        "retries": task.retries, "delay": task.retry_delay.total_seconds(), "pool": task.pool,
        "depends_on_past": task.depends_on_past, "upstream": sorted(task.upstream_task_ids),
        "operator": type(task).__name__, "connection": getattr(task, "_conn_id", None),
        "application": getattr(task, "application", None), "trigger_rule": task.trigger_rule.value,
        "command": getattr(task, "bash_command", None),
    }
    for task in dag.tasks
}
told["arguments"], told["skipped"] = {}, {}
for case, given in json.loads(sys.argv[2]).items():
    given, run_type = given if isinstance(given, dict) else {}, "manual" if given is None else "scheduled"
    run_type = given.pop("run_type", run_type)
    context = {"params": {**dag.params.dump(), "root": "/a root", **given}, "var": Var(), "dag_run": Run(run_type)}
    if run_type != "manual":
        context["data_interval_start"] = datetime(2017, 12, 1, tzinfo=UTC)
        context["data_interval_end"] = datetime(2017, 12, 2, tzinfo=UTC)
    rendered, skipped = told["arguments"][case], told["skipped"][case] = {}, []
    for task in dag.tasks:
        try:
            if task._pre_execute_hook:
                task._pre_execute_hook(context)
        except AirflowSkipException:
            skipped.append(task.task_id)
        source = task.env if hasattr(task, "bash_command") else task.application_args
        try:
            filled = task.render_template(source, context, dag.get_template_env())
            rendered[task.task_id] = list(filled.values()) if isinstance(filled, dict) else filled
        except (ValueError, AirflowFailException) as fault:
            rendered[task.task_id] = f"{type(fault).__name__}: {fault}"
spark_task = next(task for task in dag.tasks if hasattr(task, "application"))
told["packages"] = spark_task.render_template(spark_task.packages, context, dag.get_template_env())
print(json.dumps(told))
"""


def describe(dag: str, cases: dict[str, dict | None], home: Path) -> dict:
    """Everything about one DAG; `arguments` and tasks `skipped` for each case, whose params differ from the defaults.

    The data interval is 2017-12-01. A case that is None, or has the `run_type` manual, is a run by hand without one.
    The root is `/a root`.
    """
    surroundings = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, dag, json.dumps(cases)],
        cwd=PROJECT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def arguments(described: dict, case: str, job: str) -> list[str] | str:
    """The arguments that the job gets, or the error's text."""
    rendered, command = described["arguments"][case][job], described["tasks"][job]["command"]
    if command and isinstance(rendered, list):
        words = [f'"$HEADRACE_ARGUMENT_{n}"' for n in range(len(rendered))]
        assert command == " ".join(["exec", shlex.quote(sys.executable), "-m", f"jobs.{job}", *words])
    return rendered
