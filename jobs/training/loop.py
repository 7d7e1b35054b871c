"""The loop over epochs and batches: progress lines, TensorBoard, and losses that have to be finite."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from jobs.command.cli import WorkFailedError
from jobs.command.progress import Progress
from models.item_vocabulary import Catalogue


class Trained(Protocol):
    """What training needs of a model, beside all that a Keras model has.

    `step` learns from one batch; `terms` are the running means of the loss terms, by name; `settings` is a dataclass.
    """

    step: Callable[[Mapping], object]
    terms: Mapping[str, tf.keras.metrics.Mean]
    optimizer: tf.keras.optimizers.Optimizer
    catalogue: Catalogue
    settings: Any


def fit(
    model: Trained,
    epochs: int,
    batches: Callable[[int], Iterator[dict]],
    examples_of: Callable[[dict], int],
    folder: Path,
    steps: int,
) -> list[dict[str, float]]:
    """Learn from each epoch's batches; returns the mean loss terms of each epoch.

    Args:
        batches: epoch -> its batches, in an order of its own.
        examples_of: how many examples a batch holds, for the progress lines.
        folder: TensorBoard's logs go to its logs/.
        steps: how many batches an epoch has, for the time left.
    """
    losses = []
    writer = tf.summary.create_file_writer(str(folder / "logs"))
    with Progress(epochs * steps) as progress:
        for epoch in range(epochs):
            for term in model.terms.values():
                term.reset_state()
            for batch in batches(epoch):
                model.step(batch)
                progress.step(examples_of(batch), lambda: f"epoch {epoch + 1}/{epochs}, {_line(model)}")  # noqa: B023
            progress.line(f"  epoch {epoch + 1}/{epochs}: {_line(model)}; {progress.rate()}")
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


def _line(model: Trained) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in _terms(model).items())
