"""An Airflow of its own in a folder, on this machine, that runs a DAG once with tasks side by side.

For the first README command and the tests; a team's Airflow needs nothing of this.
"""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from airflow_dags import environment
from airflow_dags.environment import PROJECT, say

AT_ONCE = 2  # tasks; a Spark job of the batch keeps about one core busy and at most 4 GB
_SERVER_SECONDS = 120  # until the server answers
_GRACE_SECONDS = 10  # between asking a process to end and ending it


class LocalAirflow:
    """Made ready in the background from the moment it is entered; all that it started ends when it is left."""

    def __init__(self, home):
        self._home = home
        self._server = None
        self._meanwhile = ThreadPoolExecutor(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._surroundings = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "airflow_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(AT_ONCE),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[*]"}),
            "AIRFLOW_VAR_HEADRACE_PACKAGES": "",
        }

    def __enter__(self):
        self._home.mkdir(parents=True, exist_ok=True)
        self._ready = self._meanwhile.submit(self._prepare)
        return self

    def __exit__(self, *_):
        self._meanwhile.shutdown()
        if self._server:
            stop(self._server)

    def run(self, ingested, conf, log):
        """Run the DAG once, with a progress line a task; stop at the first task that fails.

        Args:
            ingested: T, the day of the data interval; a run by hand has the date at which its interval ends.
        """
        fault = self._ready.result()
        if fault:
            sys.exit(fault)
        command = ["dags", "test", "daily_batch", f"{ingested + timedelta(days=1)}", "--use-executor"]
        process = self._start([*command, "--conf", json.dumps(conf)], subprocess.PIPE)
        try:
            with open(str(log), "w") as kept:
                fault = follow_tasks(_lines_of(process, kept))
            status = None if fault else process.wait()
        finally:
            stop(process)
        if fault or status:
            sys.exit(f"{fault or 'Airflow failed: ' + environment.last_error(log)}\nall of it: {log}")

    def _prepare(self):
        """Make the database and the pool of training tasks, once, and start the server that tasks report to.

        Returns what went wrong, or None.
        """
        ready, log = self._home / "ready", self._home / "prepare.log"
        for step in (["db", "migrate"], ["pools", "set", "gpu", "1", "one training at a time"]):
            if not ready.exists():
                with open(str(log), "w") as output:
                    status = self._start(step, output).wait()
                if status:
                    return f"Airflow could not be set up: {environment.last_error(log)} (all of it: {log})"
        ready.touch()
        log = self._home / "api_server.log"
        serving = ["api-server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        with open(str(log), "w") as output:
            self._server = self._start([*serving, "--apps", "execution"], output)
        give_up = time.monotonic() + _SERVER_SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > give_up:
                return f"Airflow's server does not answer: {environment.last_error(log)} (all of it: {log})"
            time.sleep(0.5)
        return None

    def _answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/execution/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _start(self, command, output):
        return subprocess.Popen(
            [sys.executable, "-m", "airflow", *command],
            env=self._surroundings,
            cwd=str(PROJECT),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )


def follow_tasks(lines):
    """Print a line for each task as it ends; returns what went wrong, or None.

    Reads what `airflow dags test --use-executor` logs: each task's own output, with its name, and its end.
    """
    live, running = sys.stderr.isatty(), {}
    for line in lines:
        named = re.search(r"task_id=(\w+)", line or "")
        task = named and running.setdefault(named.group(1), {"started": time.monotonic(), "said": "", "rows": 0})
        output = re.search(r"\[info +\] (.*\S) +\[\S*(?:SparkSubmitHook|SubprocessHook)\]", line or "")
        if task and output and not output.group(1).startswith(("Command exited", "Running command")):
            task["said"] = output.group(1)
            task["rows"] = _rows(task["said"]) or task["rows"]
        elif task and "Task failed with exception" in line:
            return f"{_erased(live)}  {named.group(1)} failed: {task['said'] or 'see the log'}"
        elif task and "TaskInstance Finished:" in line:
            rows = f"{task['rows']:>12,} rows" if task["rows"] else ""
            seconds = time.monotonic() - running.pop(named.group(1))["started"]
            say(f"{_erased(live)}  {named.group(1):<22}{seconds:>4.0f} s{rows}")
        if live and running:
            times = [f"{name} {time.monotonic() - one['started']:.0f} s" for name, one in running.items()]
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(_erased(live) + f"  {', '.join(times)}"[:width])
            sys.stderr.flush()
    return None


def _lines_of(process, kept):
    """The lines a process prints, each kept in a file too; None about every half second without one."""
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
        kept.write(line)
        kept.flush()
        yield line.rstrip("\n")


def stop(process):
    """End a process and all that it started: asked first, then without asking."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=_GRACE_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _erased(live):
    return "\r\033[K" if live else ""


def _rows(text):
    try:
        return json.loads(text)["rows_written"]
    except (ValueError, KeyError, TypeError):
        return 0
