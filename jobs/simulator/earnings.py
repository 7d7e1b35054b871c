"""What a served day earns: expected values of the world's truth, not what somebody happened to do.

Every figure is a sum over a sum, so that it can be added up over chunks and drawn anew by user.
Shapes: n requests; U users, those with a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.simulator.channels import top
from jobs.simulator.deployed import BEST, Passed, Retrieved
from jobs.simulator.population import items_of, purchase_logits
from jobs.simulator.settings import World
from jobs.simulator.stages import intercepts, looked_at, probability, standard
from schemas.vocabulary import Popularity

_TOP_SHARE, _MIDDLE_SHARE = 0.5, 0.8  # as item_stats has them, of the true popularity instead of what was counted

Ratio = tuple[np.ndarray, np.ndarray]  # numerators, denominators, parallel


@dataclass(frozen=True)
class Earned:
    """Of each request: `ratios` by figure, and in `none` the log probability that nothing of a kind happens.

    ec, ep: expected clicks and purchases per 100 requests. uctr, ucvr: the share of users with a click, with a
    purchase. slots: positions filled; added: those filled by what the added channel alone returned. ctr, cvr: expected
    clicks an impression, purchases a click.
    r10_full: of the ranker's top 10 of all candidates the share that pre-ranking keeps. best_kept: the same of the 10
    candidates that the user is truly most likely to click on, and of those in each segment of popularity.
    retrieved_of_best, kept_of_best, shown_of_best: the share of the truly best 10 of the whole catalogue.
    """

    users: np.ndarray
    ratios: dict[str, Ratio]
    none: dict[str, np.ndarray]

    @classmethod
    def joined(cls, parts: Sequence["Earned"]) -> "Earned":
        """One of all chunks."""
        ratios = {
            name: tuple(np.concatenate(each) for each in zip(*(part.ratios[name] for part in parts), strict=True))
            for name in parts[0].ratios
        }
        none = {name: np.concatenate([part.none[name] for part in parts]) for name in parts[0].none}
        return cls(np.concatenate([part.users for part in parts]), ratios, none)

    def by_user(self) -> dict[str, Ratio]:
        """Figure -> its sums, (U,) each, by rising user: users are who intervals draw anew."""
        own, places = np.unique(self.users, return_inverse=True)
        found = {name: tuple(np.bincount(places, each) for each in ratio) for name, ratio in self.ratios.items()}
        some = {name: -np.expm1(np.bincount(places, each)) for name, each in self.none.items()}
        return found | {name: (share, np.ones(len(own))) for name, share in some.items()}


def earned(world: World, given: Retrieved, through: Passed) -> Earned:
    """What a chunk of requests earns by what passed."""
    click, purchase = intercepts(world)
    there, shown = through.shown >= 0, np.maximum(through.shown, 0)
    items, logits = (np.take_along_axis(values, shown, axis=1) for values in (given.items, given.clicks))
    looked = np.where(there, looked_at(world, shown.shape[1]), 0.0)
    clicked = looked * probability(logits + click)
    bought = clicked * probability(purchase_logits(world, logits, items) + purchase)
    clicks, purchases, filled = clicked.sum(axis=1), bought.sum(axis=1), there.sum(axis=1).astype(float)
    one = np.ones(len(shown))
    ratios = {
        "ec": (100 * clicks, one),
        "ep": (100 * purchases, one),
        "ctr": (clicks, filled),
        "cvr": (purchases, clicks),
        "slots": (filled, one),
        "added": ((there & (shown >= given.first_added)).sum(axis=1).astype(float), one),
        **_survival(world, given, through),
        **_of_catalogue(given, through),
    }
    none = {"uctr": np.log1p(-clicked).sum(axis=1), "ucvr": np.log1p(-bought).sum(axis=1)}
    return Earned(given.users, ratios, none)


def popularity_correlation(world: World, given: Retrieved, scores: np.ndarray) -> Ratio:
    """The correlation of scores (n, W) with log popularity inside each request."""
    there = given.items >= 0
    popularity = np.take(items_of(world).log_popularity, np.maximum(given.items, 0))
    both = standard(np.where(there, scores, 0), there) * standard(popularity, there)
    return both.sum(axis=1) / np.maximum(there.sum(axis=1), 1), np.ones(len(there))


@lru_cache(maxsize=2)
def segments(world: World) -> np.ndarray:
    """The place in `Popularity` of every item's segment, (I,): half of the true popularity is that of `top`."""
    weights = np.exp(items_of(world).log_popularity.astype(float))
    order = np.argsort(-weights, kind="stable")
    ahead = (np.cumsum(weights[order]) - weights[order]) / weights.sum()
    found = np.empty(len(order), np.int64)
    found[order] = np.searchsorted([_TOP_SHARE, _MIDDLE_SHARE], ahead, side="right")
    return found


def _survival(world: World, given: Retrieved, through: Passed) -> dict[str, Ratio]:
    """How much of the ranker's and of the users' first items pre-ranking keeps."""
    kept = np.zeros((len(given.items), given.items.shape[1] + 1), bool)
    np.put_along_axis(kept, through.kept, True, axis=1)  # -1 is the last column, which is no candidate
    there = given.items >= 0

    def first(scores: np.ndarray) -> tuple[np.ndarray, ...]:
        columns = top(scores, min(BEST, scores.shape[1]))
        return tuple(np.take_along_axis(values, columns, axis=1) for values in (kept, there, given.items))

    inside, real, _ = first(given.ranker)
    found = {"r10_full": _share(inside, real)}
    inside, real, items = first(np.where(there, given.clicks, -np.inf))
    segment = segments(world)[items]
    parts = {f"best_kept_{part}": _share(inside, real & (segment == place)) for place, part in enumerate(Popularity)}
    return found | {"best_kept": _share(inside, real)} | parts


def _of_catalogue(given: Retrieved, through: Passed) -> dict[str, Ratio]:
    """What is left of the truly best items after each stage."""

    def items(columns: np.ndarray) -> np.ndarray:
        return np.where(columns < 0, -1, np.take_along_axis(given.items, np.maximum(columns, 0), axis=1))

    left = {"retrieved": given.items, "kept": items(through.kept), "shown": items(through.shown)}
    counted = np.ones(given.best.shape, bool)
    return {f"{name}_of_best": _share(_among(given.best, some), counted) for name, some in left.items()}


def _among(best: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Which of each row's best items are in its other row."""
    return np.stack([(column[:, None] == some).any(axis=1) for column in best.T], axis=1)


def _share(inside: np.ndarray, counted: np.ndarray) -> Ratio:
    return (inside & counted).sum(axis=1).astype(float), counted.sum(axis=1).astype(float)
