"""Train HCCP: models/hccp for one date, from that date's samples.

Reads:  samples/hccp_samples, features/item_stats, logs/items (optional),
        models/hccp of the 7 days before
Writes: models/hccp/date=D/<preset>-seed<seed>/, or
        <preset>-<size>-seed<seed>/ if the size is not the default one

- Training goes on from the newest model of the 7 days before, over every date
  since; without one it starts from nothing over the --days dates that end here.
- The same seed on a CPU gives the same losses.

In detail:

With a model of the 7 days before (same preset, seed, size and settings) training goes on from the newest, over every
date since: new items and attributes get rows, everything learned stays. Otherwise it starts from nothing over the
--days dates that end here. Items' attributes are those of the newest snapshot of at most 30 days before.
A request sees the item counts of its own date, which end before it. The same seed on a CPU gives the same losses.
"""

import argparse
from datetime import date

import tensorflow as tf

from jobs.command import cli
from jobs.training import hccp
from jobs.training.training import Training, training_parser, variant
from models.checkpoint import ModelDirectory
from models.hccp.presets import PRESETS, SIZES, sized
from schemas.tables.samples import hccp_samples


def arg_parser() -> argparse.ArgumentParser:
    return training_parser(__doc__, PRESETS, SIZES)


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    trained = [train(arguments.root, day, preset, arguments) for preset in arguments.preset]
    return {"rows_written": sum(one["requests"] for one in trained), "models": [one["model"] for one in trained]}


def train(root: str, day: date, preset: str, arguments: argparse.Namespace) -> dict:
    directory = ModelDirectory(root, "hccp", day, variant(preset, arguments.size), arguments.seed)
    settings = sized(PRESETS[preset](), arguments.size)
    return hccp.train(Training.of(hccp_samples, directory, settings, arguments.days))


if __name__ == "__main__":
    cli.run("train_hccp", arg_parser().parse_args(), main)
