"""Run the daily batch on this machine, from a real event log to evaluated, exported models and a report.

The shipped slice of Taobao's UserBehavior log is landed (its funnel is simulated around the real events), then
Airflow runs the DAG `daily_batch` twice: a backfill of two days that trains both models on the first, and the second
day, which judges them on requests they have not seen and trains on. Makes its environment first if there is none.
What is there already is not done again, unless code, settings or logs have changed.

Reads: examples/taobao
Writes: every table below --root; Airflow's own files and all logs in --root/_airflow
"""

import argparse
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from examples.taobao import environment
from examples.taobao.environment import PROJECT, say

EVENTS = PROJECT / "examples" / "taobao" / "events.parquet"
LANDED = (date(2017, 11, 26), date(2017, 11, 30))
TRAINED, JUDGED = date(2017, 11, 28), date(2017, 11, 29)
# What the batch's outcome depends on beside the logs; a change of any file runs it again.
SOURCES = (
    "setup.py",
    "airflow_dags/daily_batch.py",
    "airflow_dags/tasks.py",
    "jobs/**/*.py",
    "jobs/**/*.html",
    "jobs/**/*.css",
    "models/**/*.py",
    "schemas/**/*.py",
)
# Tasks that a run need not do, as patterns: the models of the backfill are judged in the next run, by what it built.
JUDGING, BUILDING = "evaluate_.*|export_models|render_report", "ingest_.*|label_.*|build_.*"
# Metrics of the headline, with the cut-off nearest to this one.
HEADLINES = {"increc": ("Inc", "IncF", 500), "hccp": ("ISH", "ASH", 50)}


def main(root, again):
    """Do what is not done yet, then print where the report is and the headline table."""
    home = root / "_airflow"
    os.environ.update(settings(home))
    started = time.monotonic()
    say(f"1/3 landing {LANDED[0]}..{LANDED[1]} (funnel simulated around real events)")
    command = ["--root", str(root), "--date", f"{LANDED[0]}..{LANDED[1]}", "--events", str(EVENTS)]
    command = [sys.executable, "-m", "jobs.replay_events", *command, "--source", "taobao"]
    log = home / "replay_events.log"
    with ThreadPoolExecutor(1) as meanwhile:
        airflow = meanwhile.submit(prepare_airflow, home)
        if environment.follow("  replay_events", command, log, telling="replay_events "):
            sys.exit(f"replay_events failed: {environment.last_error(log)} (all of it: {log})")
        if airflow.result():
            sys.exit(airflow.result())
    backfill = {"first_date": str(TRAINED), "first_log_date": str(LANDED[0]), "model_date": str(TRAINED)}
    done_before = ""
    for step, what, settings_of_run, done_already in (
        (2, f"backfill of {TRAINED}..{JUDGED}, models of {TRAINED}", backfill, JUDGING),
        (3, f"models of {JUDGED}: judge, train on", {}, BUILDING),
    ):
        say(f"{step}/3 {what}")
        conf = {"root": str(root), **settings_of_run}
        stamp, state = home / f"done-{step}", fingerprint(root, conf, done_before)
        done_before = state
        made = stamp.exists() and (step == 2 or report(root, JUDGED).exists())
        if not again and made and stamp.read_text() == state:
            say("  already done; --again does it anew")
            continue
        again = True
        run_dag(JUDGED + timedelta(days=1), conf, home / f"daily_batch-{step}.log", done_already)
        stamp.write_text(state)
    say(f"done in {time.monotonic() - started:.0f} s\n")
    print(headline(root, JUDGED))
    print(f"report: {report(root, JUDGED)}")


def settings(home):
    """Environment variables of Airflow and Spark on this machine; all of their files are in `home`."""
    spark = home / "spark"
    spark.mkdir(parents=True, exist_ok=True)
    # Jobs of seconds: planning, compiling and finding jars cost more than running.
    spark.joinpath("spark-defaults.conf").write_text(
        f"spark.driver.extraClassPath {os.pathsep.join(map(str, environment.delta_jars()))}\n"
        "spark.driver.extraJavaOptions -XX:+UseSerialGC\n"
        "spark.sql.shuffle.partitions 2\n"
        "spark.sql.adaptive.enabled false\n"
        "spark.databricks.delta.snapshotPartitions 1\n"
        f"spark.sql.warehouse.dir {home / 'warehouse'}\n"
    )
    spark.joinpath("log4j2.properties").write_text(
        "rootLogger.level = warn\nrootLogger.appenderRef.stderr.ref = console\nappender.console.type = Console\n"
        "appender.console.name = console\nappender.console.target = SYSTEM_ERR\n"
        "appender.console.layout.type = PatternLayout\nappender.console.layout.pattern = %p %c{1}: %m%n%ex\n"
    )
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


def prepare_airflow(home):
    """Make Airflow's database and the pool of training tasks, once per home; returns what went wrong, or None."""
    ready, log = home / "ready", home / "prepare.log"
    if ready.exists():
        return None
    for step in (["db", "migrate"], ["pools", "set", "gpu", "1", "one training at a time"]):
        with open(str(log), "w") as output:
            made = subprocess.run([sys.executable, "-m", "airflow", *step], stdout=output, stderr=subprocess.STDOUT)
        if made.returncode:
            return f"Airflow could not be set up: {environment.last_error(log)} (all of it: {log})"
    ready.touch()
    return None


def run_dag(ingested, conf, log, done_already=""):
    """Run the DAG once in Airflow, with a progress line a task; stop at the first task that fails.

    Args:
        ingested: T, the day of the data interval; a run by hand has the date at which its interval ends.
        done_already: a pattern of tasks that are marked as done instead.
    """
    command = [sys.executable, "-m", "airflow", "dags", "test", "daily_batch", f"{ingested + timedelta(days=1)}"]
    if done_already:
        command += ["--mark-success-pattern", done_already]
    process = subprocess.Popen(
        [*command, "--conf", json.dumps(conf)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=str(PROJECT),
        start_new_session=True,
    )
    try:
        with open(str(log), "w") as kept:
            fault = follow_tasks(lines_of(process, kept))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    if fault or process.wait():
        sys.exit(f"{fault or 'Airflow failed: ' + environment.last_error(log)}\nall of it: {log}")


def lines_of(process, kept):
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


def follow_tasks(lines):
    """Print a line for each task as it ends; returns what went wrong, or None.

    Reads what `airflow dags test` logs: the start and end of each task, and between them the job's own output.
    """
    live, task, started, said, counted = sys.stderr.isatty(), None, 0.0, "", {}
    for line in lines:
        text = line or ""
        begins = re.search(r"\[DAG TEST\] starting task_id=(\w+)", text)
        output = re.search(r"\[info +\] (.*\S) +\[\S*(?:SparkSubmitHook|SubprocessHook)\]", text)
        if begins:
            task, started, said, counted = begins.group(1), time.monotonic(), "", {}
        elif output and not output.group(1).startswith(("Command exited", "Running command")):
            said = output.group(1)
            counted = _json(said) or counted
        elif task and "Task failed with exception" in text:
            return f"\r  {task} failed: {said or 'see the log'}"
        elif task and "[DAG TEST] end task" in text:
            rows = f"{counted['rows_written']:>12,} rows" if counted.get("rows_written") else ""
            say(f"{_erased(live)}  {task:<22}{time.monotonic() - started:>4.0f} s{rows}")
            task = None
        if live and task:
            shown = f"  {task:<22}{time.monotonic() - started:>4.0f} s  {said}"
            sys.stderr.write(_erased(live) + shown[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
    return None


def fingerprint(root, conf, before):
    """Names one state of all that a DAG run depends on: code, settings, landed logs, and the run before it."""
    parts = [before, json.dumps(conf, sort_keys=True)]
    for pattern in SOURCES:
        for path in sorted(PROJECT.glob(pattern)):
            parts += [str(path.relative_to(PROJECT)), hashlib.sha256(path.read_bytes()).hexdigest()]
    for path in sorted(root.glob("landing/*/date=*/*")):
        content = path.read_text() if path.suffix == ".json" else str(path.stat().st_size)
        parts += [str(path.relative_to(root)), content]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def report(root, day):
    """Where the page of a date is."""
    return root / "reports" / "report" / f"date={day}" / "index.html"


def headline(root, day):
    """Both models' headline metrics of a date as text, the best variant first."""
    asked = [sys.executable, "-m", "jobs.inspect_table", "evaluations", "--root", str(root), "--date", str(day)]
    told = subprocess.run([*asked, "--rows", "1000000", "--json"], cwd=str(PROJECT), stdout=subprocess.PIPE, check=True)
    rows = [row for row in json.loads(told.stdout.decode())["rows"] if row["segment"] == "all"]
    return "\n".join(table(rows, model, day) for model in HEADLINES)


def table(rows, model, day):
    """One model's headline: each variant's two metrics in per cent, averaged over seeds."""
    first, second, near = HEADLINES[model]
    metrics = {first: first.lower(), second: {"IncF": "inc_filtered"}.get(second, second.lower())}
    mine = [row for row in rows if row["model"] == model and row["value"] is not None]
    cuts = {row["k"] for row in mine if row["metric"] == metrics[first]}
    if not cuts:
        return f"{model}: no evaluation on {day}\n"
    k = min(cuts, key=lambda cut: (abs(cut - near), cut))
    found = {}
    for row in mine:
        if row["k"] == k and row["metric"] in metrics.values():
            found.setdefault(row["variant"], {}).setdefault(row["metric"], []).append(row["value"])
    means = {name: [_mean(each.get(metric)) for metric in metrics.values()] for name, each in found.items()}
    lines = [f"{model}, requests of {day} (%)    {f'{first}@{k}':>10}{f'{second}@{k}':>10}"]
    for name, values in sorted(means.items(), key=lambda item: -(item[1][1] or 0)):
        lines.append(f"  {name:<32}" + "".join("         -" if v is None else f"{100 * v:>10.1f}" for v in values))
    return "\n".join([*lines, ""])


def _mean(values):
    return sum(values) / len(values) if values else None


def _erased(live):
    return "\r\033[K" if live else ""


def _json(text):
    try:
        return json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None


def arg_parser():
    parser = argparse.ArgumentParser(
        prog="python3 -m examples.taobao.run_daily_batch",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", default=str(PROJECT / "root"), help="directory for every table (default root/)")
    parser.add_argument("--again", action="store_true", help="do the batch anew even where nothing has changed")
    return parser


if __name__ == "__main__":
    given = arg_parser().parse_args()
    environment.enter(environment.RUN_EXTRAS, ["-m", "examples.taobao.run_daily_batch", *sys.argv[1:]])
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # what was started is stopped too
    try:
        main(Path(given.root).absolute(), given.again)
    except KeyboardInterrupt:
        sys.exit("\nstopped; run the command again to go on")
