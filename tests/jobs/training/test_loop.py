"""jobs/training/loop: the mean of each loss term per epoch, a line an epoch, and a loss that is not finite."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from jobs.command.cli import WorkFailedError
from jobs.training.loop import fit


def learner():
    """A model whose loss is what the batch holds."""
    mean = tf.keras.metrics.Mean()
    return SimpleNamespace(
        step=lambda batch: mean.update_state(batch["loss"]),
        terms={"loss": mean},
        optimizer=SimpleNamespace(iterations=0),
    )


def test_each_epochs_mean_and_line(tmp_path, capsys):
    epochs = [[{"loss": 1.0}, {"loss": 3.0}], [{"loss": 0.5}]]
    assert fit(learner(), 2, lambda epoch: iter(epochs[epoch]), len, tmp_path, 2) == [{"loss": 2.0}, {"loss": 0.5}]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in lines] == ["  epoch 1/2: loss 2.0000", "  epoch 2/2: loss 0.5000"]
    assert all(line.endswith(" examples/s") for line in lines)
    assert list((tmp_path / "logs").iterdir())


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    with pytest.raises(WorkFailedError, match=r"epoch 1: \{'loss': nan\}, should be finite; no model was published"):
        fit(learner(), 1, lambda _: iter([{"loss": float("nan")}]), len, tmp_path, 1)
