"""Run the daily batch on this machine, from a real event log to evaluated, exported models and a report.

1. Lands five days of the shipped slice of Taobao's UserBehavior log; the funnel around the real events is simulated.
2. Runs the DAG `daily_batch` in Airflow as a backfill of two days, which trains both models on the first day.
3. Runs it for the second day, which evaluates the models on requests they have not seen and then trains on them.

The first run makes the environment. A later run repeats a step only if code, settings or logs have changed.

Reads: examples/taobao
Writes: every table below --root; Airflow's own files and all logs in --root/_airflow
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from examples.taobao import delta_jars, environment, local_airflow
from examples.taobao.environment import PROJECT
from examples.taobao.progress import follow, last_error, say

EVENTS = PROJECT / "examples" / "taobao" / "events.parquet"
LANDED = (date(2017, 11, 26), date(2017, 11, 30))
TRAINED, EVALUATED = date(2017, 11, 28), date(2017, 11, 29)
# What the batch's outcome depends on besides the logs; a change in any of these files runs it again.
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
# Tasks that a step skips, as patterns. Step 3 evaluates the models of step 2, on the tables that step 2 built.
EVALUATING, BUILDING = "evaluate_.*|export_models|render_report", "ingest_.*|label_.*|build_.*"


def main(root, again):
    """Do the steps that are not done yet, then print the headline table and the path of the report."""
    home = root / "_airflow"
    os.environ.update(local_airflow.settings(home))
    started = time.monotonic()
    land(root, home)
    run_batches(root, home, again)
    say(f"done in {time.monotonic() - started:.0f} s\n")
    print_headline(root, EVALUATED)
    print(f"report: {report(root, EVALUATED)}")


def land(root, home):
    """Land the log, and set up Airflow in the meantime. Exits with one line if either fails."""
    say(f"1/3 landing {LANDED[0]}..{LANDED[1]} (funnel simulated around real events)")
    arguments = ["--root", str(root), "--date", f"{LANDED[0]}..{LANDED[1]}", "--events", str(EVENTS)]
    command = [sys.executable, "-m", "jobs.replay_events", *arguments, "--source", "taobao"]
    log = home / "replay_events.log"
    with ThreadPoolExecutor(1) as executor:
        airflow = executor.submit(local_airflow.prepare, home)
        if follow("  replay_events", command, log, prefix="replay_events ", folder=str(PROJECT)):
            sys.exit(f"replay_events failed: {last_error(log)} (all of it: {log})")
        if airflow.result():
            sys.exit(airflow.result())


def run_batches(root, home, again):
    """Run both DAG runs, each only if it is not done yet; after one that ran, the next one runs too."""
    backfill = {"first_date": str(TRAINED), "first_log_date": str(LANDED[0]), "model_date": str(TRAINED)}
    state = ""
    for step, title, params, skipped in (
        (2, f"backfill of {TRAINED}..{EVALUATED}, models of {TRAINED}", backfill, EVALUATING),
        (3, f"models of {EVALUATED}: evaluate, then train", {}, BUILDING),
    ):
        say(f"{step}/3 {title}")
        conf = {"root": str(root), **params}
        stamp, state = home / f"done-{step}", fingerprint(root, conf, state)
        complete = stamp.exists() and (step == 2 or report(root, EVALUATED).exists())
        if not again and complete and stamp.read_text() == state:
            say("  already done; --again repeats it")
            continue
        again = True
        log = home / f"daily_batch-{step}.log"
        local_airflow.run_dag(EVALUATED + timedelta(days=1), conf, log, skipped)
        stamp.write_text(state)


def fingerprint(root, conf, before):
    """Identify one state of what a DAG run depends on: code, settings, landed logs and the run before it."""
    parts = [before, json.dumps(conf, sort_keys=True)]
    for pattern in SOURCES:
        for path in sorted(PROJECT.glob(pattern)):
            parts += [str(path.relative_to(PROJECT)), hashlib.sha256(path.read_bytes()).hexdigest()]
    for path in sorted(root.glob("landing/*/date=*/*")):
        content = path.read_text() if path.suffix == ".json" else str(path.stat().st_size)
        parts += [str(path.relative_to(root)), content]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def report(root, day):
    """Return the path of a date's page."""
    return root / "reports" / "report" / f"date={day}" / "index.html"


def print_headline(root, day):
    """Print both models' headline metrics of a date, as `inspect_table evaluations` does."""
    from rich.console import Console  # installed by now

    from jobs.report import scores, terminal

    terminal.headline(Console(highlight=False), scores.read(str(root), day), day)


def arg_parser():
    parser = argparse.ArgumentParser(
        prog="python3 -m examples.taobao.run_daily_batch",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", default=str(PROJECT / "root"), help="directory for every table (default root/)")
    parser.add_argument("--again", action="store_true", help="repeat the batch even if nothing has changed")
    return parser


if __name__ == "__main__":
    arguments = arg_parser().parse_args()
    environment.enter(["-m", "examples.taobao.run_daily_batch", *sys.argv[1:]])
    delta_jars.fetch()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # a signal ends the started processes too
    try:
        main(Path(arguments.root).absolute(), arguments.again)
    except KeyboardInterrupt:
        sys.exit("\nstopped; run the command again to go on")
