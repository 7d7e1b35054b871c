"""Train IncRec: models/increc for one date, from that date's samples.

With a model of the day before (same preset, seed and size) training goes on from it with this date alone: new
items get rows, everything learned stays. Otherwise it starts from nothing over the --days dates that end here.
The same seed on a CPU gives the same losses.

Reads: samples/increc_samples, features/item_stats, logs/items (optional), models/increc of the day before
Writes: models/increc/date=D/<preset>-seed<seed>/
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import tensorflow as tf

from jobs import command
from jobs.command import WorkFailedError
from models import checkpoint, increc_inputs, inputs
from models.catalogue import Catalogue, by_row
from models.checkpoint import ModelDirectory
from models.increc import IncRec, load, settings_of
from models.increc_presets import PRESETS, SIZES, IncRecSettings, sized
from schemas import arrow, storage
from schemas.features import item_stats
from schemas.logs import items
from schemas.samples import increc_samples
from schemas.storage import Root
from schemas.table import partition

_STEPS_PER_LINE = 50
_ITEM_LISTS = ("history_item_ids", "etg_item_ids", "rtg_item_ids", "itg_item_ids")


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--preset", type=presets, default=["full"], help=f"one or more of {', '.join(PRESETS)}, joined by commas"
    )
    parser.add_argument(
        "--days", type=command.at_least(1), default=1, help="dates to start from nothing over (default 1)"
    )
    parser.add_argument(
        "--seed", type=command.at_least(0), default=1, help="of weights, order and negatives (default 1)"
    )
    parser.add_argument("--size", choices=SIZES, default=SIZES[0], help="tiny shrinks any preset to seconds")
    return parser


def presets(text: str) -> list[str]:
    """The presets of `base,full`."""
    names = text.split(",")
    unknown = [name for name in names if name not in PRESETS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no preset named {', '.join(map(repr, unknown))}; there are {', '.join(PRESETS)}"
        )
    return names


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    trained = [train(arguments.root, day, preset, arguments) for preset in arguments.preset]
    return {"rows_written": sum(one["requests"] for one in trained), "models": [one["model"] for one in trained]}


def train(root: str, day: date, preset: str, arguments: argparse.Namespace) -> dict:
    """Train one preset and publish it; returns its place, and how many requests it learned from."""
    settings = sized(PRESETS[preset](), arguments.size)
    directory = ModelDirectory(root, "increc", day, preset, arguments.seed)
    before = ModelDirectory(root, "increc", day - timedelta(days=1), preset, arguments.seed)
    warm = _continues(before, settings)
    days = [day] if warm else _training_days(root, day, arguments.days)
    groups = inputs.row_groups(root, increc_samples, days)
    facts = facts_of(root, days)
    catalogue, probabilities, made_from = _catalogue(root, days, before if warm else None, facts["item_ids"], settings)
    model = load(before, catalogue) if warm else IncRec(settings, catalogue, arguments.seed)
    command.log(
        f"{directory.place}: {facts['requests']} requests of {days[0]} to {days[-1]}, "
        f"{len(catalogue.item_ids)} items, {f'continues {before.place}' if warm else 'from nothing'}"
    )
    folder = checkpoint.open_directory()
    losses = fit(model, root, groups, probabilities, arguments.seed, day, folder)
    checkpoint.save(folder, model, catalogue)
    manifest = {
        "model": directory.model,
        "preset": preset,
        "seed": arguments.seed,
        "date": day.isoformat(),
        "days": [one.isoformat() for one in days],
        "continued_from": before.place if warm else None,
        "made_from": made_from,
        "settings": settings_of(model),
        "serving": settings.serving,
        "items": len(catalogue.item_ids),
        "attributes": {attribute.name: attribute.size for attribute in catalogue.attributes},
        "requests": facts["requests"],
        "share_of_requests_with_rtg_and_itg": facts["both"] / facts["requests"],
        "epochs": losses,
    }
    checkpoint.publish(folder, directory, manifest)
    return {"requests": facts["requests"], "model": directory.place}


def fit(model: IncRec, root: str, groups: list, probabilities: np.ndarray, seed: int, day: date, folder: Path) -> list:
    """Train for the settings' epochs; returns one dict of mean loss terms an epoch."""
    settings, losses = model.settings, []
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    for epoch in range(settings.epochs):
        started, examples = time.monotonic(), 0
        for term in model.terms.values():
            term.reset_state()
        order = [seed, day.toordinal()]
        rows = inputs.batches(root, groups, increc_inputs.COLUMNS, settings.batch_requests, order, epoch)
        for step, batch in enumerate(ahead(_assembled(rows, model, probabilities, [*order, epoch]))):
            model.step(batch)
            examples += len(batch["target_slots"])
            if (step + 1) % _STEPS_PER_LINE == 0:
                command.log(f"  epoch {epoch + 1} step {step + 1}: {_line(model, examples, started)}")
        command.log(f"  epoch {epoch + 1}/{settings.epochs}: {_line(model, examples, started)}")
        losses.append(_terms(model))
        with writer.as_default(step=int(model.optimizer.iterations)):
            for name, value in losses[-1].items():
                tf.summary.scalar(name, value)
    writer.close()
    return losses


def ahead(batches: Iterator) -> Iterator:
    """The same batches in the same order, the next one made in another thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def facts_of(root: str, days: list[date]) -> dict:
    """What the samples of these dates hold: requests, how many have both RTG and ITG, the ids of all items."""
    requests, both, found = 0, 0, [np.zeros(0, np.int64)]
    for day in days:
        rows = inputs.decode(arrow.read(root, increc_samples, day, _ITEM_LISTS))
        requests += inputs.size(rows)
        both += int(((rows["rtg_item_ids"].lengths > 0) & (rows["itg_item_ids"].lengths > 0)).sum())
        found.append(np.unique(np.concatenate([lists.values for lists in rows.values()])))
    if not requests:
        raise WorkFailedError(f"increc_samples of {days[0]} to {days[-1]} hold no request to learn from")
    return {"requests": requests, "both": both, "item_ids": np.unique(np.concatenate(found))}


def _catalogue(
    root: str, days: list[date], before: ModelDirectory | None, item_ids: np.ndarray, settings: IncRecSettings
):
    """The items to know and f_C by row, and what both were made from."""
    day = days[-1]
    stats = arrow.read(root, item_stats, day, ["item_id", "sampling_probability"])
    made_from = {
        **{partition(increc_samples, one): storage.identity(Root.of(root), increc_samples, one) for one in days},
        partition(item_stats, day): storage.identity(Root.of(root), item_stats, day),
    }
    snapshot = None
    if day in arrow.dates(root, items):
        snapshot = arrow.read(root, items, day)
        made_from[items.path] = arrow.delta(root, items).version()
    known = (
        before.catalogue() if before else Catalogue.empty(settings.unknown_buckets, snapshot, settings.attribute_size)
    )
    ids = stats["item_id"].to_numpy()
    catalogue = known.grown(np.concatenate([item_ids, ids]), snapshot)
    probabilities = stats["sampling_probability"].to_numpy()
    return catalogue, by_row(catalogue, ids, probabilities, probabilities.min()), made_from


def _continues(before: ModelDirectory, settings: IncRecSettings) -> bool:
    """Whether there is a model of the day before with these settings."""
    if not before.exists:
        return False
    same = before.manifest()["settings"] == asdict(settings)
    if not same:
        command.log(f"{before.place} has other settings: starting from nothing")
    return same


def _training_days(root: str, day: date, days: int) -> list[date]:
    """The dates that end at `day`; fewer, and said so, if the samples begin later."""
    there = storage.dates(Root.of(root), increc_samples)
    wanted = [day - timedelta(days=n) for n in reversed(range(days))]
    used = [one for one in wanted if there and one >= there[0]] or [day]
    if len(used) < len(wanted):
        command.log(f"--days {days}: increc_samples begin at {used[0]}, so {len(used)} of them are used")
    return used


def _assembled(rows: Iterator, model: IncRec, probabilities: np.ndarray, seed: list[int]) -> Iterator[dict]:
    for step, batch in enumerate(rows):
        random = np.random.default_rng([*seed, step])
        yield increc_inputs.assemble(batch, model.catalogue, probabilities, model.settings, random)


def _terms(model: IncRec) -> dict[str, float]:
    return {name: round(float(term.result()), 6) for name, term in model.terms.items() if term.count}


def _line(model: IncRec, examples: int, started: float) -> str:
    terms = ", ".join(f"{name} {value:.4f}" for name, value in _terms(model).items())
    return f"{terms}; {examples / (time.monotonic() - started):,.0f} examples/s"


if __name__ == "__main__":
    command.run("train_increc", arg_parser().parse_args(), main)
