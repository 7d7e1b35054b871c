"""Airflow on this machine: its settings, its database, and one run of `daily_batch` with a line for each task."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

from examples.taobao import delta_jars
from examples.taobao.environment import PROJECT
from examples.taobao.progress import last_error, say, show

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
"""


def settings(home):
    """Return the environment variables of Airflow and Spark; all of their files are in the folder `home`."""
    spark = home / "spark"
    spark.mkdir(parents=True, exist_ok=True)
    # The jobs take seconds: planning, compiling and finding jars would cost more than running.
    spark.joinpath("spark-defaults.conf").write_text(
        f"spark.driver.extraClassPath {os.pathsep.join(map(str, delta_jars.paths()))}\n"
        "spark.driver.extraJavaOptions -XX:+UseSerialGC\n"
        "spark.sql.shuffle.partitions 2\n"
        "spark.sql.adaptive.enabled false\n"
        "spark.databricks.delta.snapshotPartitions 1\n"
        f"spark.sql.warehouse.dir {home / 'warehouse'}\n"
    )
    spark.joinpath("log4j2.properties").write_text(LOG4J)
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "airflow_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[*]"}),
        "AIRFLOW_VAR_HEADRACE_PACKAGES": "",
        "SPARK_CONF_DIR": str(spark),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def prepare(home):
    """Make Airflow's database and the pool of training tasks, once; return the error message, or None."""
    ready, log = home / "ready", home / "prepare.log"
    if ready.exists():
        return None
    for step in (["db", "migrate"], ["pools", "set", "gpu", "1", "one training at a time"]):
        with open(str(log), "w") as output:
            command = [sys.executable, "-m", "airflow", *step]
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
        if status:
            return f"Airflow could not be set up: {last_error(log)} (all of it: {log})"
    ready.touch()
    return None


def run_dag(ingested, conf, log, skipped=""):
    """Run the DAG once in Airflow, with a progress line for each task; exit at the first task that fails.

    Args:
        ingested: T, the day of the run.
        conf: parameters of the DAG.
        skipped: a pattern of tasks that are marked as done instead of run.
    """
    command = [sys.executable, "-m", "airflow", "dags", "test", "daily_batch", f"{ingested}"]
    if skipped:
        command += ["--mark-success-pattern", skipped]
    process = subprocess.Popen(
        [*command, "--conf", json.dumps({"date": str(ingested), **conf})],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=str(PROJECT),
        start_new_session=True,
    )
    try:
        with open(str(log), "w") as copy:
            fault = follow_tasks(lines_of(process, copy))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    if fault or process.wait():
        sys.exit(f"{fault or 'Airflow failed: ' + last_error(log)}\nall of it: {log}")


def lines_of(process, copy):
    """Yield the lines that a process prints and copy them to a file; yield None after half a second without one."""
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            yield None
            continue
        if not line:
            return
        copy.write(line)
        copy.flush()
        yield line.rstrip("\n")


def follow_tasks(lines):
    """Print a line for each task as it ends; return what went wrong, or None.

    Reads the log of `airflow dags test`: the start and end of each task, and the job's own output between them.
    """
    task, started, message, counts = None, 0.0, "", {}
    for line in lines:
        text = line or ""
        start = re.search(r"\[DAG TEST\] starting task_id=(\w+)", text)
        output = re.search(r"\[info +\] (.*\S) +\[\S*(?:SparkSubmitHook|SubprocessHook)\]", text)
        if start:
            task, started, message, counts = start.group(1), time.monotonic(), "", {}
        elif output and not output.group(1).startswith(("Command exited", "Running command")):
            message = output.group(1)
            counts = _json(message) or counts
        elif task and "Task failed with exception" in text:
            return f"\r  {task} failed: {message or 'see the log'}"
        elif task and "[DAG TEST] end task" in text:
            rows = f"{counts['rows_written']:>12,} rows" if counts.get("rows_written") else ""
            say(f"  {task:<22}{time.monotonic() - started:>4.0f} s{rows}")
            task = None
        if task and sys.stderr.isatty():
            show(f"  {task:<22}{time.monotonic() - started:>4.0f} s  {message}")
    return None


def _json(text):
    try:
        return json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
