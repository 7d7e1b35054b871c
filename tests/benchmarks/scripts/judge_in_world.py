"""Train and judge both models in a simulated world, job by job: `python .../judge_in_world.py ROOT`.

Four days are landed, three are labelled, two are learned from, the third is judged on; labels of the second reach into
it, as far as their windows do. Two settings of the world's dials, both of 2,000 users and items and a pre-ranker that
keeps 50: `plain` has the defaults else; `covered` has channels that cover most targets.
A name after ROOT picks one. Ends with the evaluations of the judged date as Markdown.
"""

import json
import sys
from dataclasses import asdict, replace
from datetime import date, timedelta
from importlib import import_module

from jobs.simulator.landing import land
from jobs.simulator.settings import World
from models import checkpoint
from schemas.storage import arrow
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.table import landing
from schemas.tables.logs import requests
from schemas.tables.reports import evaluations

FIRST = date(2024, 3, 1)
LEARNED, JUDGED, LANDED = FIRST + timedelta(1), FIRST + timedelta(2), FIRST + timedelta(3)
SEEDS = (1, 2)
SMALL = World(users=2_000, items=2_000, pre_ranking_keep=50)
WORLDS = {
    "plain": SMALL,
    "covered": replace(SMALL, coverage=2.0, requests_per_user=0.5, planted_items=0.05, planted_demand=0.1),
}
PRESETS = {"increc": "base,na,full", "hccp": "exposed_only,full"}
ROWS = {
    "hccp": (("ish", 20), ("ash", 20), ("isph", 20), ("asph", 20), ("ranker_recall_10", 20)),
    "increc": (("inc", 100), ("inc", 500), ("inc_filtered", 100), ("inc_filtered", 500), ("base", 100)),
}


def run(root: str, name: str, first: date, last: date, *flags: str) -> None:
    """A job as its command does it, in this process: one Spark session and one TensorFlow for all of a world."""
    job = import_module(f"jobs.{name}")
    arguments = job.arg_parser().parse_args(["--root", root, "--date", f"{first}..{last}", *flags])
    for day in arguments.date:
        job.main(arguments, day)


def learn(root: str, world: World, presets: dict[str, str] = PRESETS) -> None:
    """Everything up to the models of `presets`, with every seed."""
    for n in range((LANDED - FIRST).days + 1):
        land(root, world, FIRST + timedelta(n))
    run(root, "ingest_logs", FIRST, LANDED)
    for job in ("label_target_groups", "build_user_histories", "build_item_stats"):
        run(root, job, FIRST, JUDGED)
    for model in presets:
        run(root, f"build_{model}_samples", FIRST, JUDGED)
    for seed in SEEDS:
        for model, names in presets.items():
            run(root, f"train_{model}", LEARNED, LEARNED, "--preset", names, "--days", "2", "--seed", str(seed))


def learned(root: str, world: World, presets: dict[str, str]) -> bool:
    """Whether every model of `presets` and every seed is there.

    Raises:
        ValueError: what is there is of another world.
    """
    place, manifest = Root.of(root), f"{landing(requests, FIRST)}/{MANIFEST}"
    if place.exists(manifest):
        said = json.loads(place.read_text(manifest))["settings"]
        wanted, usual = (json.loads(json.dumps(asdict(each))) for each in (world, World()))
        other = [name for name, value in wanted.items() if said.get(name, usual[name]) != value]  # dials may be younger
        if other:
            raise ValueError(f"{root} is of another world: {', '.join(other)} differ; remove it to have it made anew")
    wanted = {(model, name, seed) for model, names in presets.items() for name in names.split(",") for seed in SEEDS}
    there = {(model, one.variant, one.seed) for model in presets for one in checkpoint.found(root, model, LEARNED)}
    return wanted <= there


def table(root: str, model: str) -> str:
    """Each variant's metrics in per cent, a value a seed."""
    rows = [
        row
        for row in arrow.read(root, evaluations, JUDGED).to_pylist()
        if row["model"] == model and row["segment"] == "all" and row["value"] is not None
    ]
    known = {(row["metric"], row["k"]) for row in rows}
    columns = [column for column in ROWS[model] if column in known]
    lines = ["| variant | " + " | ".join(f"{metric}@{k}" for metric, k in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for variant in sorted({row["variant"] for row in rows}):
        cells = []
        for metric, k in columns:
            values = [row for row in rows if (row["variant"], row["metric"], row["k"]) == (variant, metric, k)]
            cells.append(" / ".join(f"{100 * row['value']:.1f}" for row in sorted(values, key=lambda r: r["seed"])))
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    for name in sys.argv[2:] or WORLDS:
        root = f"{sys.argv[1]}/{name}"
        learn(root, WORLDS[name])
        for model in ROWS:
            run(root, f"evaluate_{model}", JUDGED, JUDGED)
            print(f"\n{name}, {model}, simulated, seeds {SEEDS}, in %:\n\n{table(root, model)}", flush=True)
