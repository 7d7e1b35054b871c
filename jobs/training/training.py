"""What every training job does alike: its flags, its days, its warm start, its manifest."""

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.command import cli
from jobs.training.loop import Trained, fit
from models import batches, checkpoint
from models.checkpoint import ModelDirectory
from models.item_vocabulary import Catalogue
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import Table
from schemas.tables.logs import items

# What a random stream is for: without it [seed, day, epoch 0] were the same key as [seed, day, epoch 0, step 0].
_ORDER, _DRAWS = 1, 2
_SNAPSHOT_DAYS = 30  # an older snapshot of items is none
_BESIDE_THE_WEIGHTS = ("item_cf_share",)  # settings that no weight depends on


@dataclass(frozen=True)
class Training:
    """One preset of one date: where it goes, whose model it goes on from (None: from nothing), over which days."""

    samples: Table
    directory: ModelDirectory
    before: ModelDirectory | None
    days: list[date]
    settings: Any

    @classmethod
    def of(cls, samples: Table, directory: ModelDirectory, settings: Any, most_days: int) -> "Training":
        """From the newest model of the week before, if it has these settings, over every date since; else from nothing.

        From nothing it learns from up to `most_days` dates that end here.

        Args:
            directory: where the model goes.
            settings: the preset as a dataclass.
        """
        day = directory.day
        before = newest_before(directory)
        if before and continues(before, settings):
            since = (before.day - day).days + 1
            dates = [day + timedelta(days=n) for n in range(since, 1)]
            present = partitions.dates(Root.of(directory.root), samples)
            return cls(samples, directory, before, [each for each in dates if each in present or each == day], settings)
        return cls(samples, directory, None, days_of(directory.root, samples, day, most_days), settings)

    def catalogue(self, item_ids: np.ndarray) -> tuple[Catalogue, dict]:
        """The items to know, with those of the day's snapshot, and the version of `items` that it was read from."""
        snapshot, made_from = _snapshot_of(self.directory.root, self.directory.day)
        if self.before:
            known = self.before.catalogue()
            for name, kind in known.mistyped(snapshot).items() if snapshot else ():
                cli.log(f"{self.before.place} learned the attribute {name} of items otherwise than as {kind}: not used")
            return known.grown(item_ids, snapshot, self.settings.attribute_size), made_from
        known = Catalogue.empty(self.settings.unknown_buckets, snapshot, self.settings.attribute_size)
        return known.grown(item_ids, snapshot), made_from

    def learn(
        self,
        model: Trained,
        columns: Sequence[str],
        assemble: Callable[[batches.Batch, np.random.Generator], dict],
        example: str,
        found: dict,
    ) -> dict:
        """Fit the model to the days' samples and publish it; returns its place, and how many requests it learned from.

        Args:
            columns: of the samples, as `assemble` takes them.
            assemble: rows and a random generator -> a batch of the model's.
            example: name of the batch's array that has an entry an example, for the progress lines.
            found: what the manifest says beside what every model's says: `made_from` and `requests` among it.
        """
        own, settings, day = self.directory, self.settings, self.directory.day
        groups = batches.row_groups(own.root, self.samples, self.days)
        cli.log(
            f"{own.place}: {found['requests']} requests of {self.days[0]} to {self.days[-1]}, "
            f"{len(model.catalogue.item_ids)} items, "
            f"{f'continues {self.before.place}' if self.before else 'from nothing'}"
        )

        def epoch_batches(epoch: int) -> Iterator[dict]:
            streams = [own.seed, day.toordinal()]
            order = [*streams, _ORDER]
            rows = batches.batches(own.root, groups, columns, settings.batch_requests, order, epoch)
            for step, batch in enumerate(rows):
                yield assemble(batch, np.random.default_rng([*streams, _DRAWS, epoch, step]))

        folder = checkpoint.open_directory()
        try:
            steps = -(-sum(group.rows for group in groups) // settings.batch_requests)
            losses = fit(model, settings.epochs, epoch_batches, lambda batch: len(batch[example]), folder, steps)
            checkpoint.save(folder, model, model.catalogue)
            manifest = {
                "model": own.model,
                "variant": own.variant,
                "seed": own.seed,
                "date": day.isoformat(),
                "days": [one.isoformat() for one in self.days],
                "continued_from": self.before.place if self.before else None,
                "settings": asdict(model.settings),
                "items": len(model.catalogue.item_ids),
                "attributes": {attribute.name: attribute.size for attribute in model.catalogue.attributes},
                "epochs": losses,
            }
            checkpoint.publish(folder, own, manifest | found)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # a published one is gone already
        return {"requests": found["requests"], "model": own.place}


def training_parser(
    description: str, presets: Mapping[str, Callable], sizes: tuple[str, ...]
) -> argparse.ArgumentParser:
    """--root, --date, --preset, --days, --seed and --size; the first size is the default one."""

    def names(text: str) -> list[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in presets]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no preset named {', '.join(map(repr, unknown))}; there are {', '.join(presets)}"
            )
        return asked

    parser = cli.parser(description)
    parser.add_argument(
        "--preset",
        type=names,
        default=["full"],
        metavar="NAMES",
        help="default full; several joined by commas; a wrong one lists all",
    )
    parser.add_argument("--days", type=cli.at_least(1), default=1, help="dates to start from nothing over (default 1)")
    parser.add_argument("--seed", type=cli.at_least(0), default=1, help="of weights, order and negatives (default 1)")
    parser.add_argument("--size", choices=sizes, default=sizes[0], help="tiny shrinks any preset to seconds")
    return parser


def variant(preset: str, size: str) -> str:
    """What a trained model is called: the preset, and its size unless that is the default one."""
    return preset if size == "default" else f"{preset}-{size}"


def newest_before(directory: ModelDirectory) -> ModelDirectory | None:
    """The newest model of this variant and seed of the days before that one may go on from."""
    days = (directory.day - timedelta(days=n) for n in range(1, checkpoint.CONTINUED_DAYS + 1))
    return next((before for day in days if (before := replace(directory, day=day)).exists), None)


def continues(before: ModelDirectory, settings: Any) -> bool:
    """Whether a model's weights are what these settings would have made of the same dates; logs what differs."""
    recorded, unknown = checkpoint.recorded_settings(type(settings), before.manifest()["settings"])
    if unknown:
        cli.log(f"{before.place} has settings of an earlier release, which no longer count: {', '.join(unknown)}")
    had = asdict(recorded)
    differ = [
        f"{name} {had[name]!r}, now {value!r}"
        for name, value in asdict(settings).items()
        if had[name] != value and name not in _BESIDE_THE_WEIGHTS
    ]
    if differ:
        cli.log(f"{before.place} has other settings, so training starts from nothing: {'; '.join(differ)}")
    return not differ


def days_of(root: str, table: Table, day: date, days: int) -> list[date]:
    """The dates that end at `day`; fewer, and said so, if the samples begin later."""
    there = partitions.dates(Root.of(root), table)
    wanted = [day - timedelta(days=n) for n in reversed(range(days))]
    used = [one for one in wanted if there and one >= there[0]] or [day]
    if len(used) < len(wanted):
        cli.log(f"--days {days}: {table.name} begin at {used[0]}, so {len(used)} of them are used")
    return used


def _snapshot_of(root: str, day: date) -> tuple[pa.Table | None, dict]:
    """The newest items at or before a date with their attributes, and the version that they were read from."""
    newest = arrow.newest_date(root, items, day, _SNAPSHOT_DAYS)
    if newest is None:
        return None, {}
    return arrow.read(root, items, newest), {items.path: arrow.delta(root, items).version()}
