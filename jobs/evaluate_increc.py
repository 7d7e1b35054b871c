"""Measure the IncRec models of the day before on the date's requests.

Reads:  samples/increc_samples, features/item_stats, logs/retrievals,
        logs/conversions of the days before, labels/target_groups (optional),
        models/increc of the day before
Writes: reports/evaluations, the date's increc rows

- Each model orders the whole catalogue for each request; its first K count.
- The rows random, hot_items, item_cf_twice and <channel>_deeper need no
  training. Without a model of the day before only they are written.

In detail:

Each request orders the whole catalogue: the items of the date's item_stats, the same for every row. Its ITG, RTG and
ETG items are looked up in that order (inc, base, exposure, order), once more after what the channels had retrieved is
left out (inc_filtered, what the channel would really add), and the share of the top K that the channels had retrieved
is counted (overlap). Lists of the channel `increc` do not count: they are an earlier model's own. Popularity of an
item is that of the days before; a user with fewer than five known conversions is cold_start; targets acted on in
several scenarios have segments by it, those with most of them. The same is measured of retrievals that need no
training: random (with its exact expectation beside it), hot_items, item_cf_twice, and <channel>_deeper, which
estimates what a channel would have returned further down. Without any model of the day before only those are written.
The labels of the day before reach into the date, as far as its last windows do: what a model knows of these hours the
rows without training do not.
"""

import argparse
from datetime import date

from jobs.command import cli
from jobs.evaluation import evaluate
from jobs.evaluation.increc import Judge, Settings


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--requests",
        type=cli.at_least(1),
        default=Settings.requests,
        metavar="N",
        help="requests measured at most, default 20000",
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    judge = Judge(arguments.root, day, Settings(requests=arguments.requests))
    return evaluate.evaluate(judge, "increc")


if __name__ == "__main__":
    cli.run("evaluate_increc", arg_parser().parse_args(), main)
