"""One date's requests as HCCP is judged on them, whatever orders a request's candidates."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from jobs.command import cli
from jobs.evaluation import candidates
from jobs.evaluation import segments as scenarios
from jobs.evaluation.candidates import Candidates
from jobs.evaluation.evaluate import Measured, partition_states
from jobs.evaluation.timing import one_core
from models import batches, hashing
from models.checkpoint import ModelDirectory
from models.evaluation import ranking_metrics
from models.evaluation.per_request import PerRequest
from models.evaluation.retrieval_metrics import ACTIVE, ALL, COLD_START
from models.hccp import inputs as hccp_inputs
from models.hccp import model as hccp
from models.hccp.model import Hccp
from schemas.storage import arrow
from schemas.tables.features import item_stats
from schemas.tables.labels import target_groups
from schemas.tables.logs import retrievals, stages
from schemas.tables.samples import hccp_samples
from schemas.vocabulary import Action, Popularity

# A cut says nothing of the incumbent at its output size or beyond: there its ish and isph are 1 by construction.
CUTS = (10, 20, 50)
_COLUMNS = ("request_id", "history_item_ids", "history_actions", "item_ids", "levels", "in_scenario_actions")
_AT_HAND = "item_vectors_at_hand"
_WARM_UP = 10
_EVERYWHERE = ("ash", "asph")  # metrics of items acted on in whichever scenario


@dataclass(frozen=True)
class Settings:
    """What the figures depend on beside the data."""

    requests: int = 2_000  # at most so many of the date, those whose keyed hash is smallest
    seed: int = 0  # of that hash and of the random row
    ranker_top: int = 10
    cold_start_below: int = 5  # known conversions
    timed_requests: int = 500  # five of them are above the 99th percentile
    timed_candidates: int = 600


class Judge:
    """The date's requests and all their candidates.

    Raises:
        MissingDataError: the samples, item_stats, retrievals or labels of the date are not there.
    """

    sources = (hccp_samples, item_stats, retrievals, target_groups, stages)

    def __init__(self, root: str, day: date, settings: Settings):
        self.root, self.day, self.settings = root, day, settings
        self.snapshot = arrow.Snapshot(root)
        self.states = partition_states(root, day, self.sources)
        samples = batches.chosen_samples(root, hccp_samples, day, _COLUMNS, settings.seed, settings.requests)
        self._found = candidates.read(self.snapshot, day, samples)
        self._users = batches.decode(samples.select(["history_item_ids", "history_actions"]))
        self._cold = self._users["history_item_ids"].lengths < settings.cold_start_below
        self.request_ids = samples["request_id"].combine_chunks()
        self._scenarios = self._acted_in(self.request_ids)
        self._stats = arrow.read(root, item_stats, day, ["item_id", *hccp_inputs.COUNTS])
        self.requests = samples.num_rows
        self.counts = {"requests": self.requests, "candidates": len(self._found.item_ids)}
        cli.log(f"{self.requests} requests, {len(self._found.item_ids)} candidates")

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured:
        """What each model's order earns and, if `untrained`, those of the orders that need no training."""
        scores = untrained_scores(self._found, self.settings) if untrained else {}
        values = {(name, 0): [*self._measured(each)] for name, each in scores.items()}
        for each in models if self.requests else ():
            cli.log(f"measuring {each.place}")
            ours = self.model(each).scores(self._users, self._found.requests, self._found.item_ids)
            values[each.variant, each.seed] = [*self._measured(ours)]
        return values

    def _measured(self, scores: np.ndarray) -> Iterator[PerRequest]:
        return measure(self._found, scores, self._cold, self.settings, self._scenarios)

    def _acted_in(self, request_ids: pa.Array) -> dict[str, np.ndarray]:
        """The candidates that were acted on, by the scenario of the action."""
        found, acted = np.full(len(self._found.item_ids), "", object), self._found.actions > 0
        targets = self._found.requests[acted], self._found.item_ids[acted]
        found[acted] = scenarios.of_targets(self.snapshot, self.day, request_ids, *targets)
        return scenarios.segments(found)

    def model(self, directory: ModelDirectory) -> Hccp:
        """The model, knowing of each item what hot_items knows too: the counts of the days before this date.

        Its own counts end a day earlier; those are what it had learned from.
        """
        model = hccp.load(directory)
        model.counts.assign(hccp_inputs.counts_by_row(model.catalogue, self._stats))
        return model

    def cost(self, model: ModelDirectory) -> list[dict]:
        """Milliseconds to score one request, kept on one core."""
        return [*cost(self.model(model), self._users, np.unique(self._found.item_ids), self.settings)]


def untrained_scores(found: Candidates, settings: Settings) -> dict[str, np.ndarray]:
    """Variant -> score of each candidate, float64 [N], for the orders that need no training.

    What the incumbent filtered out comes after what it let through, all alike.
    """
    scores = {
        "random": hashing.keyed_hash(settings.seed, found.requests, found.item_ids).astype(np.float64),
        "hot_items": found.conversions.astype(np.float64),
    }
    if found.pre_ranking_order.any():
        scores["incumbent"] = np.where(found.pre_ranking_order > 0, 1.0 / np.maximum(found.pre_ranking_order, 1), 0.0)
    return scores


def measure(
    found: Candidates, scores: np.ndarray, cold: np.ndarray, settings: Settings, acted_in: Mapping[str, np.ndarray]
) -> Iterator[PerRequest]:
    """Every metric of one order of the candidates, by request.

    Args:
        cold: bool, of each request: its user has hardly any history.
        acted_in: segment -> bool [N], of the actions that any scenario counts for.
    """
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
    segments = {str(part): found.popularity == part for part in Popularity}
    segments |= {COLD_START: cold[found.requests], ACTIVE: ~cold[found.requests]}
    for metric, target in targets.items():
        parts = {**segments, **acted_in} if metric in _EVERYWHERE else segments
        for k in CUTS:
            hit, whose = ranking_metrics.hits(ranks[target], k), found.requests[target]
            yield PerRequest.summed((metric, ALL, k), whose, hit, by_request=True)
            for segment, inside in parts.items():
                yield PerRequest.summed((metric, segment, k), whose[inside[target]], hit[inside[target]])
    seen, shown = found.teacher_order > 0, found.exposed
    agreement = ranking_metrics.ndcg(found.requests[seen], ranks[seen], found.teacher_order[seen])
    yield PerRequest.summed(("ranker_ndcg", ALL, 0), np.unique(found.requests[seen]), agreement)
    yield from _on_exposures(found.requests[shown], scores[shown], found.in_scenario_actions[shown] > 0)


def _on_exposures(requests: np.ndarray, scores: np.ndarray, acted: np.ndarray) -> Iterator[PerRequest]:
    """auc as the mean over the items acted on of the share of all others below them, and gauc.

    Of the others auc holds no sum by request: a draw of requests draws the items acted on alone, and the interval of
    auc is too narrow by what the others would add. gauc's is whole.
    """
    shares, counted = np.zeros(len(scores)), acted & (not acted.all())
    if counted.any():
        shares[acted] = ranking_metrics.shares_below(scores, acted)
    yield PerRequest.summed(("auc", ALL, 0), requests, shares, counted.astype(np.float64))
    whose, values, sizes = ranking_metrics.grouped_auc(requests, scores, acted)
    yield PerRequest.summed(("gauc", ALL, 0), whose, values, sizes)


def cost(model: Hccp, users: batches.Batch, item_ids: np.ndarray, settings: Settings) -> Iterator[dict]:
    """Milliseconds to score one request, one at a time; of a base with vectors also with the items' at hand.

    All threads of TensorFlow and NumPy are kept on one core while it is measured. The first requests warm up and do
    not count.
    """
    item_ids = np.resize(item_ids, settings.timed_candidates)
    if model.has_vectors:
        held = model.item_vectors(item_ids)
        ways = {
            ALL: lambda one: model.score(model.user_vectors(one), model.item_vectors(item_ids)),
            _AT_HAND: lambda one: model.score(model.user_vectors(one), held),
        }
    else:
        ways = {ALL: lambda one: model.scores(one, np.zeros(len(item_ids), np.int64), item_ids)}
    taken = {segment: [] for segment in ways}
    with one_core() as alone:
        if not alone:
            cli.log("this system keeps no process on one core: milliseconds are of all cores")
        for n in range(_WARM_UP + settings.timed_requests):
            one = batches.take(users, np.array([n % batches.size(users)]))
            for segment, times in taken.items():
                started = time.perf_counter()
                ways[segment](one)
                times.append(1000 * (time.perf_counter() - started))
    for segment, times in taken.items():
        for percentile in (50, 99):
            value = float(np.percentile(times[_WARM_UP:], percentile))
            about = {"metric": f"milliseconds_p{percentile}", "segment": segment, "k": 0}
            yield about | {"value": value, "support": settings.timed_requests}
