"""Train IncRec: models/increc for one date, from that date's samples.

Reads:  samples/increc_samples, features/item_stats, logs/items (optional),
        models/increc of 7 days before, logs/retrievals for a preset that
        masks what was retrieved
Writes: models/increc/date=D/<preset>-seed<seed>/, or
        <preset>-<size>-seed<seed>/ if the size is not the default one

- Training goes on from the newest model of the 7 days before, over every date
  since; without one it starts from nothing over the --days dates that end here.
- The same seed on a CPU gives the same losses.

In detail:

With a model of the 7 days before (same preset, seed, size and settings) training goes on from the newest, over every
date since: new items and attributes get rows, everything learned stays. Otherwise it starts from nothing over the
--days dates that end here. Items' attributes are those of the newest snapshot of at most 30 days before.
The same seed on a CPU gives the same losses.
"""

import argparse
from datetime import date

import tensorflow as tf

from jobs.command import cli
from jobs.training import increc
from jobs.training.training import Training, training_parser, variant
from models.checkpoint import ModelDirectory
from models.increc.presets import PRESETS, SIZES, sized
from schemas.tables.samples import increc_samples


def arg_parser() -> argparse.ArgumentParser:
    return training_parser(__doc__, PRESETS, SIZES)


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    trained = [train(arguments.root, day, preset, arguments) for preset in arguments.preset]
    return {"rows_written": sum(one["requests"] for one in trained), "models": [one["model"] for one in trained]}


def train(root: str, day: date, preset: str, arguments: argparse.Namespace) -> dict:
    directory = ModelDirectory(root, "increc", day, variant(preset, arguments.size), arguments.seed)
    settings = sized(PRESETS[preset](), arguments.size)
    return increc.train(Training.of(increc_samples, directory, settings, arguments.days))


if __name__ == "__main__":
    cli.run("train_increc", arg_parser().parse_args(), main)
