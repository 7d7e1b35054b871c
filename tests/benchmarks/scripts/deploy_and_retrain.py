"""Deploy a pre-ranker, learn from what it logs, deploy that: `python .../deploy_and_retrain.py ROOT`.

A round is a day of a simulated world. The incumbent serves the first, and two days before it that are only counted.
From then on a trained model serves each day in its place: the day is landed with it, the ordinary jobs run on it, and a
new model learns from it, from nothing, to serve the next. Below ROOT/plain lie the logs of each model that served its
own next round, and those of the incumbent serving every round, from which models learn too: without them nobody could
tell what feedback does from what longer histories do. ROOT/exploring has the incumbent with exploration slots.

Every model is judged on one later day by the truth, before the same ranker, with the histories and counts that its own
logs give. A model that stands below ROOT is not trained again; `page` after ROOT prints what is there and goes on with
nothing. Prints Markdown. All jobs run in this process; they are quicker where it is spark-submit's, with 4 shuffle
partitions.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from judge_in_world import FIRST, SEEDS, SMALL, run
from pyarrow import dataset
from serve_in_world import Known, Name, PreRanker, by_variant, counted, serve_pre_rankers, trained
from served_tables import PRE_RANKERS, Figures, differences_table, sanity, values_table

from jobs.command import cli
from jobs.simulator.demand import Requests, homepage_requests
from jobs.simulator.deployed import Deployed
from jobs.simulator.landing import elsewhere, land
from jobs.simulator.settings import World
from jobs.training import hccp as training
from jobs.training.training import Training
from models import batches
from models.checkpoint import ModelDirectory
from models.hccp import model as hccp
from models.hccp import presets as hccp_presets
from models.hccp.settings import HccpSettings
from schemas.storage import arrow
from schemas.table import landing
from schemas.tables.logs import conversions, requests
from schemas.tables.samples import hccp_samples

COUNTED, ROUNDS = 2, 4  # days before the rounds, and rounds; the incumbent serves the former and the first round
JUDGED = FIRST + timedelta(COUNTED + ROUNDS)
SLOTS = 10
_PLAIN = replace(SMALL, requests_per_user=2.0, shadow_ranked=8)
WORLDS = {"plain": _PLAIN, "exploring": replace(_PLAIN, exploration_slots=SLOTS)}
PRESETS = ("full", "exposed_only", "distillation", "shadow", "ranker_order")
_EVENT = ["user_id", "event_time", "event_id", "item_id", "action", "logged_time"]


@dataclass(frozen=True)
class Logs:
    """One root's logs, and what learns from each of its rounds from `learned` on; if `deployed`, it serves the next.

    Rounds count from 0; the days that are only counted come before, down to -COUNTED.
    """

    root: str
    world: World
    presets: tuple[str, ...]
    seeds: tuple[int, ...]
    deployed: bool = False
    learned: int = 0

    def models(self, number: int) -> list[ModelDirectory]:
        """Those that learn from a round."""
        day, presets = day_of(number), self.presets if number >= self.learned else ()
        return [ModelDirectory(self.root, "hccp", day, preset, seed) for seed in self.seeds for preset in presets]


def day_of(number: int) -> date:
    """The day of a round."""
    return FIRST + timedelta(COUNTED + number)


def all_logs(root: str) -> dict[str, Logs]:
    """Every root of the comparison by what serves it, those first that the others need."""
    plain, exploring = (f"{root}/{name}" for name in WORLDS)
    own = {
        f"{preset}, seed {seed}": Logs(f"{plain}/{preset}-seed{seed}", WORLDS["plain"], (preset,), (seed,), True)
        for seed in SEEDS
        for preset in PRESETS
    }
    return {
        "the incumbent": Logs(f"{plain}/incumbent", WORLDS["plain"], PRESETS, SEEDS),
        "exploring": Logs(f"{exploring}/incumbent", WORLDS["exploring"], PRESETS[:3], SEEDS, learned=ROUNDS - 1),
        **own,
    }


def go_on(logs: Logs, number: int) -> None:
    """Serve a round, run the jobs on it, learn from it; nothing if that is done."""
    day, learning = day_of(number), logs.models(number)
    if all(model.exists for model in learning) and day in arrow.dates(logs.root, requests):
        return
    cli.log(f"{day} of {logs.root}")
    if learning:
        run(logs.root, "build_item_stats", day, day)
    deployed = None
    if logs.deployed:
        chosen = logs.models(number - 1)[0]
        deployed = Deployed(chosen.place, trained(known(logs.root, logs.world, day), hccp.load(chosen)))
    land(logs.root, logs.world, day, deployed=deployed)
    run(logs.root, "ingest_logs", day, day)
    if learning:
        for job in ("label_target_groups", "build_user_histories", "build_hccp_samples"):
            run(logs.root, job, day, day)
        learn(learning)


def learn(models: Sequence[ModelDirectory]) -> None:
    """Each from its date alone; train_hccp would go on from the model of the day before."""
    tf.config.experimental.enable_op_determinism()
    for model in models:
        training.train(Training(hccp_samples, model, None, [model.day], hccp_presets.PRESETS[model.variant]()))


def known(root: str, world: World, day: date) -> Known:
    """What a model can know of a day's requests before the day is served.

    Of the days before, all that was logged; of the day, what its users did outside the homepage until their request.
    What they do on the homepage itself comes into their histories overnight.
    """
    asked = homepage_requests(world, day)
    before = (FIRST + timedelta(n) for n in range((day - FIRST).days))
    folders = [f"{root}/{landing(conversions, one)}" for one in before]
    logged = [dataset.dataset(folder, format="parquet").to_table(_EVENT) for folder in folders]
    events = pa.concat_tables([*logged, elsewhere(world, day)["conversions"].select(_EVENT)])
    rows = histories(asked, events) | {"user_id": asked.users + 1}
    return Known(root, day, rows, counted(root, day))


def histories(asked: Requests, events: pa.Table) -> batches.Batch:
    """By build_user_histories' rule, as long as a model looks back; no event may be older than its 30 days."""
    events = events.sort_by([(name, "ascending") for name in ("user_id", "event_time", "event_id")])
    owners = events["user_id"].to_numpy()
    times, logged = (events[name].cast(pa.int64()).to_numpy() for name in ("event_time", "logged_time"))
    found = []
    for user, time in zip(asked.users + 1, asked.times, strict=True):
        own = np.arange(*np.searchsorted(owners, [user, user + 1]))
        found.append(own[(times[own] < time) & (logged[own] <= time)][-HccpSettings.history_length :])
    offsets = pa.array(np.cumsum([0, *map(len, found)]), pa.int32())
    chosen = events.take(pa.array(np.concatenate(found))).combine_chunks()
    lists = {
        f"history_{name}s": pa.ListArray.from_arrays(offsets, chosen[name].combine_chunks())
        for name in ("item_id", "action")
    }
    return batches.decode(pa.table(lists))


def play(every: dict[str, Logs]) -> None:
    """All rounds of all logs; who deploys a model begins with a copy of the incumbent's first round."""
    start = every["the incumbent"]
    for number in range(-COUNTED, 1):
        go_on(start, number)
    for logs in every.values():
        if logs.deployed and not Path(logs.root).exists():
            shutil.rmtree(f"{logs.root}.part", ignore_errors=True)
            shutil.copytree(start.root, f"{logs.root}.part")
            Path(f"{logs.root}.part").rename(logs.root)
    for logs in every.values():
        for number in range(-COUNTED, ROUNDS):
            go_on(logs, number)


def judged(every: dict[str, Logs]) -> tuple[dict[str, list[Figures]], dict[str, list[Figures]]]:
    """What the judged day earns with each model that is there, and with some that explore while they serve."""
    world = WORLDS["plain"]
    asked: dict[Name, PreRanker] = {
        ("incumbent", 0): lambda given: given.incumbent,
        ("oracle", 0): lambda given: given.clicks,
    }
    for server, logs in every.items():
        numbers = range(int(logs.deployed), ROUNDS)
        there = [(number, one) for number in numbers for one in logs.models(number) if one.exists]
        if not there or there[-1][0] < ROUNDS - 1:
            continue
        run(logs.root, "build_item_stats", JUDGED, JUDGED)
        features = known(logs.root, logs.world, JUDGED)
        for number, one in there:
            asked[variant(one.variant, number, "its own" if logs.deployed else server), one.seed] = trained(
                features, hccp.load(one)
            )
    exploring = {(f"{name[0]}, {SLOTS} slots", name[1]): asked[name] for name in asked if name[0] in explored()}
    with_slots = serve_pre_rankers(world, exploring, JUDGED, SLOTS)
    return by_variant(serve_pre_rankers(world, asked, JUDGED)), by_variant(with_slots)


def variant(preset: str, number: int, logs: str) -> str:
    return f"{preset}, round {number}, {logs}"


def explored() -> tuple[str, str]:
    return "incumbent", variant("full", ROUNDS - 1, "the incumbent")


def page(every: dict[str, Logs]) -> Iterator[str]:
    """What is there, as Markdown."""
    found, with_slots = judged(every)
    seeds = " / ".join(map(str, SEEDS))
    yield f"## Simulated, seeds {seeds} of training\n\n{sanity(WORLDS['plain'], found['incumbent'][0])}\n"
    yield from (*values_table({name: found[name] for name in ("incumbent", "oracle")}, PRE_RANKERS), "")
    last = ROUNDS - 1
    for preset in PRESETS:
        of_incumbent = [variant(preset, number, "the incumbent") for number in range(ROUNDS)]
        own = [variant(preset, number, "its own") for number in range(1, ROUNDS)]
        yield f"### `{preset}`: the round it learned from, and whose logs these were\n"
        yield from compared(found, [*of_incumbent, *own], of_incumbent[last], [own[last - 1]])
    yield f"### Exploration: {SLOTS} of the places that pre-ranking fills\n"
    for preset in PRESETS[:3]:
        plain, exploring = (variant(preset, last, logs) for logs in ("the incumbent", "exploring"))
        yield from compared(found, [plain, exploring], plain, [exploring])
    for name in explored():
        costs = found | with_slots
        yield from compared(costs, [name, f"{name}, {SLOTS} slots"], name, [f"{name}, {SLOTS} slots"])


def compared(
    found: dict[str, list[Figures]], names: Sequence[str], reference: str, others: Sequence[str]
) -> Iterator[str]:
    """The values of those names that are there, and differences of some of them from a reference."""
    yield from (*values_table({name: found[name] for name in names if name in found}, PRE_RANKERS), "")
    paired = {name: found[name] for name in (reference, *others) if name in found}
    seeds = min((len(figures) for figures in paired.values()), default=0)
    if len(paired) > 1:
        yield from (*differences_table({name: each[:seeds] for name, each in paired.items()}, reference), "")


if __name__ == "__main__":
    every = all_logs(sys.argv[1])
    if sys.argv[2:] != ["page"]:
        play(every)
    print(*page(every), sep="\n", flush=True)
