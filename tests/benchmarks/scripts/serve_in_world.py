"""Serve a simulated day with a trained model in a part's place: `python .../serve_in_world.py ROOT`.

Each pre-ranker takes the incumbent's place; each channel stands beside the others, with and without a quota of what
pre-ranking keeps. Learned from and served as in judge_in_world.py; a world below ROOT that has all models is not made
again. Four more worlds are there: `clicked`, whose planted interest is clicked on; `large`, the same with ten times the
items and 25,000 requests a day (an hour or two); and two in which nothing should help: `perfect`, an incumbent that
orders by the truth, and `everything`, channels that return the whole catalogue. Names after ROOT pick some. Prints
Markdown: expected values, and differences in per cent of the reference with paired 95 % bootstrap intervals over users.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from judge_in_world import JUDGED, LEARNED, SEEDS, SMALL, learn, learned
from judge_in_world import WORLDS as JUDGED_WORLDS
from served_tables import CHANNELS, PRE_RANKERS, differences_table, sanity, values_table

from jobs.evaluation import increc as judge_increc
from jobs.simulator.channels import top
from jobs.simulator.demand import homepage_requests
from jobs.simulator.deployed import Retrieved, catalogue_clicks, passed, retrieved, with_channel
from jobs.simulator.earnings import Earned, Ratio, earned, popularity_correlation
from jobs.simulator.landing import request_ids_of
from jobs.simulator.settings import World
from models import batches, checkpoint
from models.evaluation import untrained_baselines
from models.evaluation.retrieval_metrics import Scorer, locate
from models.evaluation.untrained_baselines import ItemNeighbours
from models.hashing import keyed_hash, request_keys
from models.hccp import inputs as hccp_inputs
from models.hccp import model as hccp
from models.increc import model as increc
from schemas.storage import arrow
from schemas.tables.features import item_stats, user_histories

WORLDS = {
    **JUDGED_WORLDS,
    "clicked": replace(SMALL, planted_taste=0.7),
    "large": World(users=25_000, items=20_000, pre_ranking_keep=50, planted_taste=0.7),
    "perfect": replace(SMALL, pre_ranking_correlation=1.0),
    "everything": replace(SMALL, hot=10_000, coverage=4.0, planted_items=0.0),
}
_HCCP = "exposed_only,distillation,full,debiased"
PRESETS = {
    **{name: {"increc": "base,na,full", "hccp": _HCCP} for name in JUDGED_WORLDS},
    "clicked": {"increc": "base,base_aligned,boost,na,full,rtg_weight_half,residual_1,masked", "hccp": _HCCP},
    "large": {"increc": "base,full", "hccp": _HCCP},
    "perfect": {"hccp": _HCCP},
    "everything": {},
}
RETURNED, QUOTA = 100, 10  # items of the added channel, and how many of them pass pre-ranking whatever their scores
WITH_QUOTA = f", quota {QUOTA}"

PreRanker = Callable[[Retrieved], np.ndarray]
Name = tuple[str, int]  # variant, seed; 0 where nothing was trained


@dataclass(frozen=True)
class Known:
    """What a model is given of the day: its homepage requests in their order, and counts of the days before."""

    root: str
    day: date
    rows: batches.Batch
    stats: pa.Table

    @classmethod
    def of(cls, root: str, world: World, day: date) -> "Known":
        """Histories are those logged: what a user did earlier on the day, the incumbent had a hand in."""
        users = homepage_requests(world, day).users
        histories = arrow.read(root, user_histories, day)
        ids = pa.array(request_ids_of(day, range(len(users))))
        places = pc.index_in(ids, value_set=histories["request_id"].combine_chunks())
        if places.null_count:
            raise ValueError(f"{places.null_count} of {len(ids)} requests have no history: {root} is of another world")
        rows = batches.decode(histories.select(["history_item_ids", "history_actions"]).take(places))
        return cls(root, day, rows | {"user_id": users + 1}, counted(root, day))

    def by_index(self, column: str, world: World) -> np.ndarray:
        """A count of every item of the world, 0 for one that was never counted."""
        found = np.zeros(world.items)
        found[self.stats["item_id"].to_numpy() - 1] = self.stats[column].to_numpy()
        return found


def counted(root: str, day: date) -> pa.Table:
    """What a model knows of the items on a day: their counts of the days before, by item_id."""
    return arrow.read(root, item_stats, day, ["item_id", *hccp_inputs.COUNTS]).sort_by("item_id")


def pre_rankers(world: World, known: Known) -> dict[Name, PreRanker]:
    """The incumbent, the truth, and what may take the incumbent's place."""
    counts = known.by_index("conversions", world)
    found = {
        ("incumbent", 0): lambda given: given.incumbent,
        ("oracle", 0): lambda given: given.clicks,
        ("hot_items", 0): lambda given: counts[given.items],
        ("random", 0): _by_chance,
    }
    models = checkpoint.found(known.root, "hccp", LEARNED)
    return found | {(each.variant, each.seed): trained(known, hccp.load(each)) for each in models}


def _by_chance(given: Retrieved) -> np.ndarray:
    requests = np.repeat(given.numbers, given.items.shape[1])
    return keyed_hash(0, requests, given.items.ravel()).reshape(given.items.shape).astype(float)


def trained(known: Known, model: hccp.Hccp) -> PreRanker:
    """As evaluate_hccp has it: the model knows the counts of the days before the served one."""
    model.counts.assign(hccp_inputs.counts_by_row(model.catalogue, known.stats))

    def scores(given: Retrieved) -> np.ndarray:
        there = given.items >= 0
        found = np.full(there.shape, -np.inf, np.float32)
        rows = batches.take(known.rows, given.numbers)
        found[there] = model.scores(rows, np.nonzero(there)[0], given.items[there].astype(np.int64) + 1)
        return found

    return scores


def channels(world: World, known: Known | None) -> dict[Name, Scorer]:
    """Scores of the whole catalogue: of the truth, of what needs no training, and of the models."""
    users = homepage_requests(world, JUDGED).users
    found: dict[Name, Scorer] = {("oracle", 0): lambda start, stop: catalogue_clicks(world, users[start:stop])}
    if known is None:
        return found
    counts, catalogue = known.by_index("conversions", world), np.arange(1, world.items + 1)
    settings = judge_increc.Settings()
    owners, item_ids = judge_increc.known_conversions(known.root, known.day, settings)
    near = ItemNeighbours.fit(
        owners, locate(catalogue, item_ids), world.items, settings.neighbours, settings.longest_user
    )
    keys = request_keys(request_ids_of(known.day, range(len(users))), settings.seed)
    untrained = untrained_baselines.scorers(keys, known.rows["history_item_ids"], {}, catalogue, counts, near)
    found |= {(name, 0): scorer for name, scorer in untrained.items()}
    for each in checkpoint.found(known.root, "increc", LEARNED):
        model = increc.load(each)
        found[each.variant, each.seed] = _products(model.user_vectors(known.rows), model.item_vectors(catalogue))
    return found


def _products(users_ND: np.ndarray, items_CD: np.ndarray) -> Scorer:
    return lambda start, stop: users_ND[start:stop] @ items_CD.T


def serve_pre_rankers(
    world: World, asked: Mapping[Name, PreRanker], day: date = JUDGED, exploration_slots: int = 0
) -> dict[Name, dict[str, Ratio]]:
    """What the day earns with each in the incumbent's place, by user.

    Args:
        exploration_slots: places that each gives away; world and ranker stay those of `world`.
    """
    funnel = replace(world, exploration_slots=exploration_slots)
    parts: dict[Name, list[Earned]] = {name: [] for name in asked}
    for given in retrieved(world, day):
        for name, scores_of in asked.items():
            scores = scores_of(given)
            one = earned(world, given, passed(funnel, given, scores))
            one.ratios["popularity"] = popularity_correlation(world, given, scores)
            parts[name].append(one)
    return {name: Earned.joined(each).by_user() for name, each in parts.items()}


def serve_channels(world: World, asked: Mapping[Name, Scorer]) -> dict[Name, dict[str, Ratio]]:
    """What the day earns with no channel more, and with each as one more, the incumbent choosing or by a quota."""
    parts: dict[Name, list[Earned]] = {}
    for given in retrieved(world, JUDGED):
        parts.setdefault(("none", 0), []).append(earned(world, given, passed(world, given, given.incumbent)))
        for (variant, seed), scorer in asked.items():
            lists = top(scorer(given.numbers[0], given.numbers[-1] + 1), RETURNED)
            wider = with_channel(world, JUDGED, given, lists)
            for name, quota in ((variant, 0), (variant + WITH_QUOTA, QUOTA)):
                one = earned(world, wider, passed(world, wider, wider.incumbent, quota))
                parts.setdefault((name, seed), []).append(one)
    return {name: Earned.joined(each).by_user() for name, each in parts.items()}


def by_variant(found: Mapping[Name, dict[str, Ratio]]) -> dict[str, list[dict[str, Ratio]]]:
    """Variant -> a dict a seed, seeds rising."""
    variants: dict[str, list[dict[str, Ratio]]] = {}
    for variant, seed in sorted(found, key=lambda name: name[1]):
        variants.setdefault(variant, []).append(found[variant, seed])
    return variants


def page(name: str, root: str) -> Iterator[str]:
    """The world's tables, as Markdown."""
    world, trained = WORLDS[name], PRESETS[name]
    known = Known.of(root, world, JUDGED) if trained else None
    asked = pre_rankers(world, known) if known else {("incumbent", 0): lambda given: given.incumbent}
    served = by_variant(serve_pre_rankers(world, asked))
    seeds = f", seeds {' / '.join(map(str, SEEDS))} of training" if trained else ""
    yield f"## World `{name}`, simulated{seeds}\n\n{sanity(world, served['incumbent'][0])}\n"
    if known:
        yield from ("### Pre-rankers in the incumbent's place\n", *values_table(served, PRE_RANKERS), "")
        for reference in ("exposed_only", "incumbent"):
            yield from (*differences_table(served, reference), "")
    if "increc" in trained or not known:
        served = by_variant(serve_channels(world, channels(world, known)))
        yield from ("### One channel more\n", *values_table(served, CHANNELS), "")
        yield from (*differences_table(served, "none"), "")


if __name__ == "__main__":
    for name in sys.argv[2:] or WORLDS:
        root = f"{sys.argv[1]}/{name}"
        if not learned(root, WORLDS[name], PRESETS[name]):
            learn(root, WORLDS[name], PRESETS[name])
        print(*page(name, root), sep="\n", flush=True)
