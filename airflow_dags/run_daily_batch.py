"""Run the daily batch on this machine, from a real event log to evaluated, exported models and a report.

The shipped slice of Taobao's UserBehavior log is landed (its funnel is simulated around the real events), then
Airflow runs the DAG `daily_batch` once, as a backfill of two days: both models train on the first, are judged on the
second, which they have not seen, and train on. Makes its environment first if there is none.
What is there already is not done again, unless code, settings or logs have changed.

Reads: tests/data/taobao
Writes: every table below --root; Airflow's own files and all logs in --root/_airflow
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from airflow_dags import environment
from airflow_dags.environment import PROJECT, say
from airflow_dags.local_airflow import LocalAirflow

EVENTS = PROJECT / "tests" / "data" / "taobao" / "events.parquet"
LANDED = (date(2017, 11, 26), date(2017, 11, 30))
TRAINED, JUDGED = date(2017, 11, 28), date(2017, 11, 29)
# What the batch's outcome depends on beside the logs; a change of any file runs it again.
SOURCES = (
    "setup.py",
    "airflow_dags/daily_batch.py",
    "jobs/**/*.py",
    "jobs/**/*.html",
    "models/**/*.py",
    "schemas/*.py",
)
# Metrics of the headline, with the cut-off nearest to this one.
HEADLINES = {"increc": ("Inc", "IncF", 500), "hccp": ("ISH", "ASH", 50)}


def main(root, again):
    """Do what is not done yet, then print where the report is and the headline table."""
    home = root / "_airflow"
    os.environ.update(settings(home))
    started = time.monotonic()
    say(f"1/2 landing {LANDED[0]}..{LANDED[1]} (funnel simulated around real events)")
    command = ["--root", str(root), "--date", f"{LANDED[0]}..{LANDED[1]}", "--events", str(EVENTS)]
    command = [sys.executable, "-m", "jobs.replay_events", *command, "--source", "taobao"]
    log = home / "replay_events.log"
    with LocalAirflow(home) as airflow:
        if environment.follow("  replay_events", command, log, telling="replay_events "):
            sys.exit(f"replay_events failed: {environment.last_error(log)} (all of it: {log})")
        say(f"2/2 batch of {TRAINED}..{JUDGED}, models of {TRAINED} judged on {JUDGED}")
        conf = {"root": str(root), "first_date": str(TRAINED), "first_log_date": str(LANDED[0])}
        stamp, state = home / "done", fingerprint(root, conf)
        if not again and stamp.exists() and stamp.read_text() == state and report(root, JUDGED).exists():
            say("  already done; --again does it anew")
        else:
            airflow.run(JUDGED + timedelta(days=1), conf, home / "daily_batch.log")
            stamp.write_text(state)
    say(f"done in {time.monotonic() - started:.0f} s\n")
    print(headline(root, JUDGED))
    print(f"report: {report(root, JUDGED)}")


def settings(home):
    """Environment variables of Spark and TensorFlow on this machine; all of their files are in `home`."""
    spark = home / "spark"
    spark.mkdir(parents=True, exist_ok=True)
    # Jobs of seconds: planning, compiling and finding jars cost more than running. Compiling once, not twice, halves
    # the processor time of a short job; the code cache of that mode alone would be too small for Spark.
    spark.joinpath("spark-defaults.conf").write_text(
        f"spark.driver.extraClassPath {os.pathsep.join(map(str, environment.delta_jars()))}\n"
        "spark.driver.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m\n"
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
        "SPARK_CONF_DIR": str(spark),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def fingerprint(root, conf):
    """Names one state of all that the DAG run depends on: code, settings and landed logs."""
    parts = [json.dumps(conf, sort_keys=True)]
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


def arg_parser():
    parser = argparse.ArgumentParser(
        prog="python3 -m airflow_dags.run_daily_batch",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", default=str(PROJECT / "root"), help="directory for every table (default root/)")
    parser.add_argument("--again", action="store_true", help="do the batch anew even where nothing has changed")
    return parser


if __name__ == "__main__":
    given = arg_parser().parse_args()
    environment.enter(environment.RUN_EXTRAS, ["-m", "airflow_dags.run_daily_batch", *sys.argv[1:]])
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # what was started is stopped too
    try:
        main(Path(given.root).absolute(), given.again)
    except KeyboardInterrupt:
        sys.exit("\nstopped; run the command again to go on")
