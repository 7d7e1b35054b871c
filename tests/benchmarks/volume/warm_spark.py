"""Spark's steps in one session, in turn, for some rounds: `python -m volume.warm_spark ROOT DATE OUT ROUNDS [STEP...]`.

Prints one JSON line a step and round: step, round (0 compiles), wall and cpu seconds, Python and JVM together. The
plain labels begin with round 1: they take minutes, of which compiling is a small part.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path

from pyspark.sql import SparkSession
from volume import plain_spark

from schemas.storage.session import session
from schemas.storage.spark import Store

JOBS = (
    "label_target_groups",
    "build_user_histories",
    "build_item_stats",
    "build_increc_samples",
    "build_hccp_samples",
)


def steps(spark: SparkSession, root: str, day: date, out: str) -> dict[str, Callable[[], object]]:
    """The scan, each job but ingest, and the plain labels."""
    made: dict[str, Callable[[], object]] = {"scan": lambda: plain_spark.scan(Store(spark, root), day)}
    for name in JOBS:
        job = import_module(f"jobs.{name}")
        made[name] = partial(job.main, job.arg_parser().parse_args(["--root", root, "--date", str(day)]), day)
    made["plain_labels"] = lambda: plain_spark.label(Store(spark, root), day, out)
    return made


def cpu_seconds(process: int) -> float:
    """User and system seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(root: str, day: date, out: str, rounds: int, chosen: list[str]) -> None:
    spark = session("compare_at_volume")
    jvm = spark.sparkContext._gateway.proc.pid
    for number in range(rounds):
        for name, step in steps(spark, root, day, out).items():
            if (chosen and name not in chosen) or (name == "plain_labels" and number == 0):
                continue
            started, used = time.monotonic(), cpu_seconds(jvm) + time.process_time()
            step()
            wall, cpu = time.monotonic() - started, cpu_seconds(jvm) + time.process_time() - used
            print(json.dumps({"step": name, "round": number, "wall": wall, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    root, day, out, rounds, *chosen = sys.argv[1:]
    main(root, date.fromisoformat(day), out, int(rounds), chosen)
