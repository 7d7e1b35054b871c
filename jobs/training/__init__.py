"""What every training job does alike: its flags, its days, its warm start, its loop."""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import tensorflow as tf

from jobs import command
from jobs.command import WorkFailedError
from models.checkpoint import ModelDirectory
from schemas import arrow, storage
from schemas.logs import items
from schemas.storage import Root
from schemas.table import Table

_STEPS_PER_LINE = 100


class Trained(Protocol):
    """What the loop needs of a model.

    `step` learns from one batch; `terms` are the running means of the loss terms, by name.
    """

    step: Callable[[Mapping], object]
    terms: Mapping[str, tf.keras.metrics.Mean]
    optimizer: tf.keras.optimizers.Optimizer


def arg_parser(description: str, presets: Mapping[str, Callable], sizes: tuple[str, ...]) -> argparse.ArgumentParser:
    """--root, --date, --preset, --days, --seed and --size; the first size is the default one."""

    def names(text: str) -> list[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in presets]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no preset named {', '.join(map(repr, unknown))}; there are {', '.join(presets)}"
            )
        return asked

    parser = command.parser(description)
    parser.add_argument(
        "--preset", type=names, default=["full"], help=f"one or more of {', '.join(presets)}, joined by commas"
    )
    parser.add_argument(
        "--days", type=command.at_least(1), default=1, help="dates to start from nothing over (default 1)"
    )
    parser.add_argument(
        "--seed", type=command.at_least(0), default=1, help="of weights, order and negatives (default 1)"
    )
    parser.add_argument("--size", choices=sizes, default=sizes[0], help="tiny shrinks any preset to seconds")
    return parser


def continues(before: ModelDirectory, settings: dict) -> bool:
    """Whether there is a model of the day before with these settings."""
    if not before.exists:
        return False
    same = before.manifest()["settings"] == settings
    if not same:
        command.log(f"{before.place} has other settings: starting from nothing")
    return same


def days_of(root: str, table: Table, day: date, days: int) -> list[date]:
    """The dates that end at `day`; fewer, and said so, if the samples begin later."""
    there = storage.dates(Root.of(root), table)
    wanted = [day - timedelta(days=n) for n in reversed(range(days))]
    used = [one for one in wanted if there and one >= there[0]] or [day]
    if len(used) < len(wanted):
        command.log(f"--days {days}: {table.name} begin at {used[0]}, so {len(used)} of them are used")
    return used


def snapshot_of(root: str, day: date) -> tuple[pa.Table | None, dict]:
    """The items of a date with their attributes, if they are logged, and the version that they were read from."""
    if day not in arrow.dates(root, items):
        return None, {}
    return arrow.read(root, items, day), {items.path: arrow.delta(root, items).version()}


def fit(
    model: Trained,
    epochs: int,
    batches: Callable[[int], Iterator[dict]],
    examples_of: Callable[[dict], int],
    folder: Path,
) -> list[dict[str, float]]:
    """Learn from each epoch's batches; returns the mean loss terms of each epoch.

    Args:
        batches: epoch -> its batches, in an order of its own.
        examples_of: how many examples a batch holds, for the progress lines.
        folder: TensorBoard's logs go to its logs/.
    """
    losses = []
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    for epoch in range(epochs):
        started, examples = time.monotonic(), 0
        for term in model.terms.values():
            term.reset_state()
        for step, batch in enumerate(batches(epoch), start=1):
            model.step(batch)
            examples += examples_of(batch)
            if step % _STEPS_PER_LINE == 0:
                command.log(f"  epoch {epoch + 1} step {step}: {_line(model, examples, started)}")
        command.log(f"  epoch {epoch + 1}/{epochs}: {_line(model, examples, started)}")
        losses.append(_terms(model))
        if not all(map(math.isfinite, losses[-1].values())):
            raise WorkFailedError(f"epoch {epoch + 1}: {losses[-1]}, should be finite; no model was published")
        with writer.as_default(step=int(model.optimizer.iterations)):
            for name, value in losses[-1].items():
                tf.summary.scalar(name, value)
    writer.close()
    return losses


def _terms(model: Trained) -> dict[str, float]:
    return {name: round(float(term.result()), 6) for name, term in model.terms.items() if term.count}


def _line(model: Trained, examples: int, started: float) -> str:
    terms = ", ".join(f"{name} {value:.4f}" for name, value in _terms(model).items())
    return f"{terms}; {examples / (time.monotonic() - started):,.0f} examples/s"
