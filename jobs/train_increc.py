"""Train IncRec: models/increc for one date, from that date's samples.

With a model of the day before (same preset, seed and size) training goes on from it with this date alone: new
items get rows, everything learned stays. Otherwise it starts from nothing over the --days dates that end here.
The same seed on a CPU gives the same losses.

Reads: samples/increc_samples, features/item_stats, logs/items (optional), models/increc of the day before
Writes: models/increc/date=D/<preset>-seed<seed>/
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import tensorflow as tf

from jobs import command, training
from jobs.command import WorkFailedError
from models import checkpoint, increc_inputs, inputs
from models.catalogue import Catalogue, by_row
from models.checkpoint import ModelDirectory
from models.increc import IncRec, load, settings_of
from models.increc_presets import PRESETS, SIZES, IncRecSettings, sized
from schemas import arrow, storage
from schemas.features import item_stats
from schemas.samples import increc_samples
from schemas.storage import Root
from schemas.table import partition

_ITEM_LISTS = ("history_item_ids", "etg_item_ids", "rtg_item_ids", "itg_item_ids")


def arg_parser() -> argparse.ArgumentParser:
    return training.arg_parser(__doc__, PRESETS, SIZES)


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    trained = [train(arguments.root, day, preset, arguments) for preset in arguments.preset]
    return {"rows_written": sum(one["requests"] for one in trained), "models": [one["model"] for one in trained]}


def train(root: str, day: date, preset: str, arguments: argparse.Namespace) -> dict:
    """Train one preset and publish it; returns its place, and how many requests it learned from."""
    settings = sized(PRESETS[preset](), arguments.size)
    directory = ModelDirectory(root, "increc", day, preset, arguments.seed)
    before = ModelDirectory(root, "increc", day - timedelta(days=1), preset, arguments.seed)
    warm = training.continues(before, asdict(settings))
    days = [day] if warm else training.days_of(root, increc_samples, day, arguments.days)
    groups = inputs.row_groups(root, increc_samples, days)
    facts = facts_of(root, days)
    catalogue, probabilities, made_from = _catalogue(root, days, before if warm else None, facts["item_ids"], settings)
    model = load(before, catalogue) if warm else IncRec(settings, catalogue, arguments.seed)
    command.log(
        f"{directory.place}: {facts['requests']} requests of {days[0]} to {days[-1]}, "
        f"{len(catalogue.item_ids)} items, {f'continues {before.place}' if warm else 'from nothing'}"
    )

    def batches(epoch: int) -> Iterator[dict]:
        order = [arguments.seed, day.toordinal()]
        rows = inputs.batches(root, groups, increc_inputs.COLUMNS, settings.batch_requests, order, epoch)
        for step, batch in enumerate(rows):
            random = np.random.default_rng([*order, epoch, step])
            yield increc_inputs.assemble(batch, catalogue, probabilities, settings, random)

    folder = checkpoint.open_directory()
    losses = training.fit(model, settings.epochs, batches, lambda batch: len(batch["target_slots"]), folder)
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
    snapshot, version = training.snapshot_of(root, day)
    known = (
        before.catalogue() if before else Catalogue.empty(settings.unknown_buckets, snapshot, settings.attribute_size)
    )
    ids = stats["item_id"].to_numpy()
    catalogue = known.grown(np.concatenate([item_ids, ids]), snapshot)
    probabilities = stats["sampling_probability"].to_numpy()
    missing = probabilities.min() if len(ids) else 1 / len(catalogue.item_ids)
    return catalogue, by_row(catalogue, ids, probabilities, missing), made_from | version


if __name__ == "__main__":
    command.run("train_increc", arg_parser().parse_args(), main)
