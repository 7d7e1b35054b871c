"""What Spark plans for the labels and both samples: `python -m volume.plans ROOT DATE [FOLDER]`.

Prints for each job its scans (columns and partitions), joins, exchanges and generators; FOLDER gets each plan whole, as
EXPLAIN FORMATTED has it. Nothing is written below ROOT.
"""

import re
import sys
from collections import Counter
from datetime import date
from importlib import import_module
from pathlib import Path

from pyspark.sql import DataFrame

from schemas.spark import Store

JOBS = ("label_target_groups", "build_user_histories", "build_increc_samples", "build_hccp_samples")


class Planned(Exception):  # noqa: N818 (no error: it ends a job where it would write)
    """What a job was about to write."""


def plan(job: str, root: str, day: date) -> str:
    """The plan of the rows that a job would write, before anything has run."""

    def stop(self: Store, table: object, day: date, frame: DataFrame, settings: dict) -> int:
        mode = self.spark._jvm.org.apache.spark.sql.execution.ExplainMode.fromString("formatted")
        raise Planned(frame._jdf.queryExecution().explainString(mode))

    replace, Store.replace = Store.replace, stop
    try:
        module = import_module(f"jobs.{job}")
        module.main(module.arg_parser().parse_args(["--root", root, "--date", str(day)]), day)
    except Planned as planned:
        return str(planned)
    finally:
        Store.replace = replace
    raise RuntimeError(f"{job} wrote nothing")


def summary(text: str) -> list[str]:
    """Lines that say what matters of a formatted plan: how often each operator, then scans, exchanges, generators."""
    sections = re.split(r"\n\n(?=\(\d+\) )", text)
    names = Counter(re.match(r"\(\d+\) ([A-Za-z]+)", one)[1] for one in sections if re.match(r"\(\d+\) ", one))
    lines = [", ".join(f"{count} {name}" for name, count in sorted(names.items()))]
    for one in sections:
        for field in ("ReadSchema", "PartitionFilters", "Arguments", "Generate"):
            wanted = field != "Arguments" or re.match(r"\(\d+\) (Exchange|Generate|BroadcastExchange)", one)
            if wanted and (found := re.search(rf"^{field}: (.*)$", one, re.MULTILINE)):
                head = one.splitlines()[0].split(" [codegen")[0]
                lines.append(f"{head}: {field} {found[1][:220]}")
    return lines


if __name__ == "__main__":
    root, day, *folder = sys.argv[1:]
    for job in JOBS:
        text = plan(job, root, date.fromisoformat(day))
        if folder:
            Path(folder[0]).mkdir(parents=True, exist_ok=True)
            (Path(folder[0]) / f"{job}.txt").write_text(text)
        print(f"# {job}", *summary(text), "", sep="\n", flush=True)
