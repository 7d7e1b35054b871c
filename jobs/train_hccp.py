"""Train HCCP: models/hccp for one date, from that date's samples.

With a model of the day before (same preset, seed and size) training goes on from it with this date alone: new
items get rows, everything learned stays. Otherwise it starts from nothing over the --days dates that end here.
A request sees the item counts of its own date, which end before it. The same seed on a CPU gives the same losses.

Reads: samples/hccp_samples, features/item_stats, logs/items (optional), models/hccp of the day before
Writes: models/hccp/date=D/<preset>-seed<seed>/
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import tensorflow as tf

from jobs import command, training
from jobs.command import WorkFailedError
from models import checkpoint, hccp_inputs, inputs
from models.catalogue import Catalogue
from models.checkpoint import ModelDirectory
from models.hccp import Hccp, load, settings_of
from models.hccp_presets import PRESETS, SIZES, HccpSettings, sized
from schemas import arrow, storage
from schemas.features import item_stats
from schemas.labels import Level
from schemas.samples import hccp_samples
from schemas.storage import Root
from schemas.table import partition


def arg_parser() -> argparse.ArgumentParser:
    return training.arg_parser(__doc__, PRESETS, SIZES)


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    trained = [train(arguments.root, day, preset, arguments) for preset in arguments.preset]
    return {"rows_written": sum(one["requests"] for one in trained), "models": [one["model"] for one in trained]}


def train(root: str, day: date, preset: str, arguments: argparse.Namespace) -> dict:
    """Train one preset and publish it; returns its place, and how many requests it learned from."""
    settings = sized(PRESETS[preset](), arguments.size)
    directory = ModelDirectory(root, "hccp", day, preset, arguments.seed)
    before = ModelDirectory(root, "hccp", day - timedelta(days=1), preset, arguments.seed)
    warm = training.continues(before, asdict(settings))
    days = [day] if warm else training.days_of(root, hccp_samples, day, arguments.days)
    groups = inputs.row_groups(root, hccp_samples, days)
    facts = facts_of(root, days)
    catalogue, counts, made_from = known_items(root, days, before if warm else None, facts["item_ids"], settings)
    model = load(before, catalogue) if warm else Hccp(settings, catalogue, arguments.seed)
    model.counts.assign(counts[_number(day)])
    command.log(
        f"{directory.place}: {facts['requests']} requests of {days[0]} to {days[-1]}, "
        f"{len(catalogue.item_ids)} items, {f'continues {before.place}' if warm else 'from nothing'}"
    )

    def batches(epoch: int) -> Iterator[dict]:
        order = [arguments.seed, day.toordinal()]
        rows = inputs.batches(root, groups, hccp_inputs.COLUMNS, settings.batch_requests, order, epoch)
        for step, batch in enumerate(rows):
            random = np.random.default_rng([*order, epoch, step])
            yield hccp_inputs.assemble(batch, catalogue, counts, settings, random)

    folder = checkpoint.open_directory()
    losses = training.fit(model, settings.epochs, batches, lambda batch: len(batch["rows"]), folder)
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
        "items": len(catalogue.item_ids),
        "attributes": {attribute.name: attribute.size for attribute in catalogue.attributes},
        "requests": facts["requests"],
        "items_by_level": facts["items_by_level"],
        "epochs": losses,
    }
    checkpoint.publish(folder, directory, manifest)
    return {"requests": facts["requests"], "model": directory.place}


def facts_of(root: str, days: list[date]) -> dict:
    """What the samples of these dates hold: requests, items of each level, the ids of all items."""
    requests, levels, found = 0, np.zeros(len(Level) + 1, np.int64), [np.zeros(0, np.int64)]
    for day in days:
        rows = inputs.decode(arrow.read(root, hccp_samples, day, ["history_item_ids", "item_ids", "levels"]))
        requests += inputs.size(rows)
        levels += np.bincount(rows["levels"].values, minlength=len(levels))
        found += [np.unique(rows[name].values) for name in ("history_item_ids", "item_ids")]
    if not requests:
        raise WorkFailedError(f"hccp_samples of {days[0]} to {days[-1]} hold no request to learn from")
    items_by_level = {str(level): int(levels[code]) for level, code in hccp_inputs.LEVEL_CODES.items()}
    return {"requests": requests, "items_by_level": items_by_level, "item_ids": np.unique(np.concatenate(found))}


def known_items(
    root: str, days: list[date], before: ModelDirectory | None, item_ids: np.ndarray, settings: HccpSettings
) -> tuple[Catalogue, dict[int, np.ndarray], dict]:
    """The items to know, `counts_by_row` of each date by its number, and what both were made from."""
    place, day = Root.of(root), days[-1]
    tables = [(table, one) for table in (hccp_samples, item_stats) for one in days]
    made_from = {partition(table, one): storage.identity(place, table, one) for table, one in tables}
    snapshot, version = training.snapshot_of(root, day)
    stats: dict[date, pa.Table] = {
        one: arrow.read(root, item_stats, one, ["item_id", *hccp_inputs.COUNTS]) for one in days
    }
    known = (
        before.catalogue() if before else Catalogue.empty(settings.unknown_buckets, snapshot, settings.attribute_size)
    )
    catalogue = known.grown(np.concatenate([item_ids, stats[day]["item_id"].to_numpy()]), snapshot)
    counts = {_number(one): hccp_inputs.counts_by_row(catalogue, stats[one]) for one in days}
    return catalogue, counts, made_from | version


def _number(day: date) -> int:
    """Days since 1970, as `hccp_inputs.assemble` counts them."""
    return (day - date(1970, 1, 1)).days


if __name__ == "__main__":
    command.run("train_hccp", arg_parser().parse_args(), main)
