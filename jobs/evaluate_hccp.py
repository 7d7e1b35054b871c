"""Measure the HCCP models of the day before on the date's requests, which they have never seen.

Each model orders all retrieved items of a request, and its first K are looked at: ish, isph: hit rate of the items
acted on, purchased in the scenario (any of the four actions counts as acted on); ash, asph: the same in any scenario;
ranker_recall_10: of the ranker's first ten. ranker_ndcg is against the ranker's order over what the ranker saw; auc,
gauc are on exposures. milliseconds_p50, _p99 are of one request of 600 candidates on this machine, as they come and,
of a base with vectors, with the items' at hand; unlike all others they differ from run to run. The same is measured
of random, hot_items and, where its stage is logged, the incumbent's order. Without any model of the day before only
those are written. At most 2,000 requests are measured, chosen by a keyed hash.

Reads:  samples/hccp_samples, labels/target_groups, logs/retrievals, logs/stages (optional), features/item_stats,
        models/hccp of the day before
Writes: reports/evaluations, the date's hccp rows anew
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np

from jobs import command
from models import candidates, checkpoint, evaluations, hccp, inputs, keyed_choice, ranking_metrics
from models.candidates import Candidates
from models.checkpoint import ModelDirectory
from models.hccp import Hccp
from schemas import arrow, storage
from schemas.features import item_stats
from schemas.labels import Action, Popularity
from schemas.logs import retrievals, stages
from schemas.samples import hccp_samples
from schemas.storage import Root
from schemas.table import partition
from schemas.target_groups import target_groups

MODEL = "hccp"
# Well below what a pre-ranker lets through: at its output size isph would be 1 by construction.
CUTS = (10, 20, 50)
_COLUMNS = ("request_id", "history_item_ids", "history_actions", "item_ids", "levels", "in_scenario_actions")
_AT_HAND = "item_vectors_at_hand"


@dataclass(frozen=True)
class Settings:
    """What the figures depend on beside the data."""

    requests: int = 2_000  # at most so many of the date, those whose keyed hash is smallest
    seed: int = 0  # of that hash and of the random row
    ranker_top: int = 10
    timed_requests: int = 100
    timed_candidates: int = 600


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--requests", type=command.at_least(1), default=Settings.requests, help="at most so many, default 2000"
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, settings = arguments.root, Settings(requests=arguments.requests)
    samples = inputs.chosen_samples(root, hccp_samples, day, _COLUMNS, settings.seed, settings.requests)
    found = candidates.read(root, day, samples)
    command.log(f"{samples.num_rows} requests, {len(found.item_ids)} candidates")
    rows = []
    for variant, scores in untrained_scores(found, settings).items():
        rows += rows_of(variant, 0, measure(found, scores, settings))
    before = day - timedelta(1)
    models = checkpoint.found(root, MODEL, before)
    if not models:
        command.log(f"there is no model in models/{MODEL}/date={before}: only the rows that need no training")
    users = inputs.decode(samples.select(["history_item_ids", "history_actions"]))
    for directory in models if samples.num_rows else ():
        command.log(f"measuring {directory.place}")
        model = hccp.load(directory)
        scores = model.scores(users, found.requests, found.item_ids)
        rows += rows_of(directory.variant, directory.seed, measure(found, scores, settings))
        rows += rows_of(directory.variant, directory.seed, cost(model, users, found, settings))
    written = evaluations.replace_rows(root, day, MODEL, rows, made_from(root, day, models), asdict(settings))
    return {
        "rows_written": written,
        "requests": samples.num_rows,
        "candidates": len(found.item_ids),
        "models": [model.place for model in models],
    }


def untrained_scores(found: Candidates, settings: Settings) -> dict[str, np.ndarray]:
    """Variant -> score of each candidate, float64 [N], for the orders that need no training.

    What the incumbent filtered out comes after what it let through, all alike.
    """
    scores = {
        "random": keyed_choice.keyed_hash(settings.seed, found.requests, found.item_ids).astype(np.float64),
        "hot_items": found.conversions.astype(np.float64),
    }
    if found.pre_ranking_order.any():
        scores["incumbent"] = np.where(found.pre_ranking_order > 0, 1.0 / np.maximum(found.pre_ranking_order, 1), 0.0)
    return scores


def measure(found: Candidates, scores: np.ndarray, settings: Settings) -> Iterator[tuple]:
    """(metric, segment, k, value, support) of one order; a value is None where nothing supports it."""
    ranks = ranking_metrics.rank(found.requests, found.item_ids, scores, settings.seed)
    bought = Action.PURCHASE.strength
    targets = {
        "ish": found.in_scenario_actions > 0,
        "isph": found.in_scenario_actions == bought,
        "ash": found.actions > 0,
        "asph": found.actions == bought,
        f"ranker_recall_{settings.ranker_top}": (found.teacher_order > 0)
        & (found.teacher_order <= settings.ranker_top),
    }
    for metric, target in targets.items():
        for k in CUTS:
            hit, whose = ranking_metrics.hits(ranks[target], k), found.requests[target]
            yield metric, "all", k, *_mean(hit)
            yield f"{metric}_per_request", "all", k, *_mean(ranking_metrics.mean_per_request(hit, whose))
            for segment in map(str, Popularity):
                yield metric, segment, k, *_mean(hit[found.popularity[target] == segment])
    seen, shown = found.teacher_order > 0, found.exposed
    agreement = ranking_metrics.ndcg(found.requests[seen], ranks[seen], found.teacher_order[seen])
    yield "ranker_ndcg", "all", 0, *_mean(agreement)
    acted = found.in_scenario_actions[shown] > 0
    pooled = ranking_metrics.auc(scores[shown], acted)
    yield "auc", "all", 0, None if np.isnan(pooled) else pooled, int(shown.sum())
    values, weights = ranking_metrics.grouped_auc(found.requests[shown], scores[shown], acted)
    yield "gauc", "all", 0, float(np.average(values, weights=weights)) if len(values) else None, len(values)


def cost(model: Hccp, users: inputs.Batch, found: Candidates, settings: Settings) -> Iterator[tuple]:
    """Milliseconds to score one request, as TensorFlow runs here; of a base with vectors also with the items' at hand.

    One request at a time; the first ones warm up and do not count.
    """
    item_ids = np.resize(np.unique(found.item_ids), settings.timed_candidates)
    if model.has_vectors:
        held = model.item_vectors(item_ids)
        ways = {
            "all": lambda one: model.score(model.user_vectors(one), model.item_vectors(item_ids)),
            _AT_HAND: lambda one: model.score(model.user_vectors(one), held),
        }
    else:
        ways = {"all": lambda one: model.scores(one, np.zeros(len(item_ids), np.int64), item_ids)}
    warm_up, taken = 10, {segment: [] for segment in ways}
    for n in range(warm_up + settings.timed_requests):
        one = inputs.take(users, np.array([n % inputs.size(users)]))
        for segment, times in taken.items():
            started = time.perf_counter()
            ways[segment](one)
            times.append(1000 * (time.perf_counter() - started))
    for segment, times in taken.items():
        for percentile in (50, 99):
            value = float(np.percentile(times[warm_up:], percentile))
            yield f"milliseconds_p{percentile}", segment, 0, value, settings.timed_requests


def rows_of(variant: str, seed: int, measured: Iterator[tuple]) -> list[dict]:
    names = ("metric", "segment", "k", "value", "support")
    return [{"variant": variant, "seed": seed, **dict(zip(names, one, strict=True))} for one in measured]


def made_from(root: str, day: date, models: list[ModelDirectory]) -> dict:
    """The state of every input that the figures come from."""
    place = Root.of(root)
    tables = {partition(table, day): storage.identity(place, table, day) for table in (hccp_samples, item_stats)}
    logs = [table for table in (retrievals, target_groups, stages) if day in arrow.dates(root, table)]
    tables |= {table.path: arrow.delta(root, table).version() for table in logs}
    return tables | {model.place: model.manifest()["made_from"] for model in models}


def _mean(values: np.ndarray) -> tuple[float | None, int]:
    return (float(np.mean(values)) if len(values) else None), len(values)


if __name__ == "__main__":
    command.run("evaluate_hccp", arg_parser().parse_args(), main)
