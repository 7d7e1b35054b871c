"""Measure the HCCP models of the day before on the date's requests.

Reads:  samples/hccp_samples, labels/target_groups, logs/retrievals,
        logs/stages (optional), features/item_stats, models/hccp of the day
        before
Writes: reports/evaluations, the date's hccp rows

- Each model orders all retrieved items of a request; its first K count.
- The rows random, hot_items and incumbent need no training. Without a model of
  the day before only they are written.
- milliseconds_p50 and _p99 differ from run to run, unlike all other metrics.

In detail:

Each model orders all retrieved items of a request, and its first K are looked at: ish, isph: hit rate of the items
acted on, purchased in the scenario (any of the four actions counts as acted on); ash, asph: the same in any scenario;
ranker_recall_10: of the ranker's first ten. ranker_ndcg is against the ranker's order over what the ranker saw; auc,
gauc are on exposures. An item acted on in the scenario without having been shown is no target of ish and isph: the
samples hold only a draw of those. milliseconds_p50, _p99 are of one request of 600 candidates on one core of this
machine, as they come and, of a base with vectors, with the items' at hand; unlike all others they differ from run to
run. The same is measured of random, hot_items and, where its stage is logged, the incumbent's order; the models see the
date's item_stats as hot_items does. A user with fewer than five known conversions is cold_start; where the date's items
were acted on in several scenarios, ash and asph have segments by it, those with most of them. Without any model of the
day before only the rows without training are written. The labels of the day before reach into the date, as far as its
last windows do: what a model knows of these hours the rows without training do not. At most 2,000 requests are
measured, chosen by a keyed hash.
"""

import argparse
from datetime import date

from jobs.command import cli
from jobs.evaluation import evaluate
from jobs.evaluation.hccp import Judge, Settings


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--requests",
        type=cli.at_least(1),
        default=Settings.requests,
        metavar="N",
        help="requests measured at most, default 2000",
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    judge = Judge(arguments.root, day, Settings(requests=arguments.requests))
    return evaluate.evaluate(judge, "hccp")


if __name__ == "__main__":
    cli.run("evaluate_hccp", arg_parser().parse_args(), main)
