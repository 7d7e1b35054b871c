"""Pre-ranking, ranking, re-ranking of what was retrieved, and what users do with what is shown.

Shapes: n requests; W candidates of a request, -1 where there are fewer. An order is best first.
"""

from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

import numpy as np

from jobs.simulator.channels import retrieve, top
from jobs.simulator.demand import homepage_requests
from jobs.simulator.exploration import chances_of, passing
from jobs.simulator.population import click_logits, items_of, purchase_logits
from jobs.simulator.settings import World
from jobs.simulator.streams import PILOT, Purpose, stream

_PILOT_DAY = date(1970, 1, 1)
_PILOT_REQUESTS = 2_000


@dataclass(frozen=True)
class Served:
    """A chunk of requests and what the funnel made of them.

    `lists` has each channel's items. `candidates` (n, W) are all of them once, ascending, with their true click
    logits before the intercept and the pre-ranker's scores beside them, and `kept` (n, keep) the columns of those that
    passed it. `pre_ranked`, the items there, and `ranked` (n, keep) are best first, with that stage's scores; `shown`
    (n, exposed) is in order of position, with the true click logits. `ranker_scale` (n, keep) are the items over which
    the ranker's line is standardised.
    """

    users: np.ndarray
    lists: dict[str, np.ndarray]
    candidates: np.ndarray
    candidate_clicks: np.ndarray
    pre_ranking_scores: np.ndarray
    kept: np.ndarray
    pre_ranked: np.ndarray
    pre_ranked_scores: np.ndarray
    ranked: np.ndarray
    ranked_scores: np.ndarray
    shown: np.ndarray
    shown_clicks: np.ndarray
    ranker_scale: np.ndarray


def serve(world: World, users: np.ndarray, day: date, chunk: int) -> Served:
    """Run the whole funnel for requests of these users, with the incumbent pre-ranker."""
    lists = retrieve(world, users, day, chunk)
    draws = stream(world, Purpose.STAGES, day, chunk)
    candidates = distinct(np.concatenate(list(lists.values()), axis=1))
    there = candidates >= 0
    clicks = click_logits(world, users, np.maximum(candidates, 0))
    popularity = np.take(items_of(world).log_popularity, np.maximum(candidates, 0))

    def at(columns: np.ndarray, *rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.take_along_axis(values, columns, axis=1) for values in rows)

    bias = world.pre_ranking_popularity * standard(popularity, there)
    noise = np.sqrt(1 - world.pre_ranking_popularity**2) * draws.standard_normal(clicks.shape, np.float32)
    first = correlated(clicks, bias + noise, world.pre_ranking_correlation, there)
    columns = passing(world, first, chances_of(world, first.shape, day, chunk))
    scores, kept, kept_clicks = at(columns, first, candidates, clicks)
    second = draws.standard_normal(kept.shape, np.float32)
    second = correlated(kept_clicks, second, world.ranking_correlation, kept >= 0)
    ranked_scores, ranked, ranked_clicks = at(top(second, kept.shape[1]), second, kept, kept_clicks)
    slots = capped(world, ranked)
    shown = np.where(slots < 0, -1, np.take_along_axis(ranked, np.maximum(slots, 0), axis=1))
    return Served(
        users=users,
        lists=lists,
        candidates=candidates,
        candidate_clicks=clicks,
        pre_ranking_scores=first,
        kept=columns,
        pre_ranked=kept,
        pre_ranked_scores=scores,
        ranked=ranked,
        ranked_scores=ranked_scores,
        shown=shown,
        shown_clicks=np.take_along_axis(ranked_clicks, np.maximum(slots, 0), axis=1),
        ranker_scale=ranked,
    )


def distinct(lists: np.ndarray) -> np.ndarray:
    """Each row's items once, ascending, -1 in between and at the ends where there are fewer."""
    items = np.sort(lists, axis=1)
    items[:, 1:][items[:, 1:] == items[:, :-1]] = -1
    return items


def moments(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each row's entries that are there, (n, 1) each."""
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    mean = np.where(there, values, 0).sum(axis=1, keepdims=True) / count
    squares = np.where(there, values - mean, 0) ** 2
    return mean, np.maximum(np.sqrt(squares.sum(axis=1, keepdims=True) / count), 1e-6)


def standard(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the entries of a row that are there, 0 elsewhere."""
    values = np.where(there, values, 0).astype(np.float32)
    mean, deviation = moments(values, there)
    return np.where(there, values - mean, 0) / deviation


def mixed(correlation: float, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of two standardised and uncorrelated values one that correlates so much with the first."""
    return correlation * first + np.sqrt(1 - correlation**2) * second


def ranker_scores(world: World, served: Served, clicks: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What the ranker would say of items (n, S) with these true click logits: the line it scores the kept ones by.

    That line is standardised over what the incumbent kept, so that the scores compare.

    Args:
        noise: (n, S), standard normal.
    """
    scale = served.ranker_scale
    mean, deviation = moments(click_logits(world, served.users, np.maximum(scale, 0)), scale >= 0)
    return mixed(world.ranking_correlation, (clicks - mean) / deviation, noise)


def correlated(truth: np.ndarray, other: np.ndarray, correlation: float, there: np.ndarray) -> np.ndarray:
    """Scores whose correlation with the truth inside each row is exactly the one asked for, -inf where nothing is.

    What `other` shares with the truth is taken out first; the rest of the score is what remains of it.
    """
    truth, other = standard(truth, there), standard(other, there)
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    other = standard(other - truth * ((truth * other).sum(axis=1, keepdims=True) / count), there)
    scores = correlation * truth + np.float32(np.sqrt(1 - correlation**2)) * other
    return np.where(there, scores, -np.inf).astype(np.float32)


def capped(world: World, ranked: np.ndarray) -> np.ndarray:
    """Columns of `ranked` (n, k) that are shown: the best with at most category_cap of one category, -1 at the end."""
    category = np.where(ranked >= 0, np.take(items_of(world).category, np.maximum(ranked, 0)), -1)
    order = np.argsort(category, axis=1, kind="stable")
    grouped = np.take_along_axis(category, order, axis=1)
    columns = np.arange(ranked.shape[1])
    starts = np.where(np.diff(grouped, axis=1, prepend=-2) != 0, columns, 0)
    nth = np.empty_like(order)
    np.put_along_axis(nth, order, columns - np.maximum.accumulate(starts, axis=1), axis=1)
    allowed = (nth < world.category_cap) & (ranked >= 0)
    slot = np.cumsum(allowed, axis=1) - 1
    taken = allowed & (slot < world.exposed)
    slots = np.full((len(ranked), min(world.exposed, ranked.shape[1])), -1, np.int64)
    rows, found = np.nonzero(taken)
    slots[rows, slot[rows, found]] = found
    return slots


def looked_at(world: World, width: int) -> np.ndarray:
    """Probability that a user looks at positions 1..width."""
    return np.arange(1, width + 1) ** -world.position_bias


def probability(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@lru_cache(maxsize=2)
def intercepts(world: World) -> tuple[float, float]:
    """Intercepts of the click and purchase logits that give the world's ctr and cvr in expectation on a pilot.

    The pilot is some requests, evenly over a day that no log has, served by the incumbent without exploration: users
    are the same whoever serves them and however much is explored. Returns (0, 0) if nobody ever comes.
    """
    if world.exploration_slots:
        return intercepts(replace(world, exploration_slots=0))
    users = homepage_requests(world, _PILOT_DAY).users
    users = users[:: max(1, len(users) // _PILOT_REQUESTS)]
    if not len(users):
        return 0.0, 0.0
    served = [
        serve(world, users[start : start + 512], _PILOT_DAY, PILOT + start) for start in range(0, len(users), 512)
    ]
    shown = np.concatenate([chunk.shown for chunk in served])
    logits = np.concatenate([chunk.shown_clicks for chunk in served])
    there = shown >= 0
    looked = np.broadcast_to(looked_at(world, shown.shape[1]), shown.shape)[there]
    click = _solved(logits[there], looked, world.ctr * len(looked))
    clicked = looked * probability(logits[there] + click)
    purchase = purchase_logits(world, logits[there], shown[there])
    return click, _solved(purchase, clicked, world.cvr * clicked.sum())


def _solved(logits: np.ndarray, weights: np.ndarray, expected: float) -> float:
    """The intercept at which the weighted probabilities add up to what is expected, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if (weights * probability(logits + middle)).sum() < expected:
            low = middle
        else:
            high = middle
    return middle
