"""A day of the world served anew: another pre-ranker in the incumbent's place, or a channel beside the others.

To see what it would earn, with nothing logged; or with a pre-ranker `Deployed`, to be landed.

Requests, tastes, ranker and re-ranker are those that made the logs, so that two servings differ in nothing but what was
replaced. The ranker is asked about every candidate: of what it had ranked it says what it said, of the rest what its
rule says, with noise by key; and so is the incumbent about what no channel had retrieved.

Shapes: n requests of a chunk; W candidates of a request, in no order, -1 where there are fewer; I items.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from jobs.simulator.channels import top
from jobs.simulator.demand import homepage_requests
from jobs.simulator.exploration import chances_of, passing
from jobs.simulator.population import click_logits, items_of, users_of
from jobs.simulator.settings import World
from jobs.simulator.stages import Served, capped, mixed, moments, ranker_scores, serve
from jobs.simulator.streams import REQUESTS_AT_ONCE
from models.hashing import keyed_hash

BEST = 10

_PRE_RANKING, _RANKING, _EXPLORATION = 1, 2, 3  # keys of their noise


@dataclass(frozen=True)
class Retrieved:
    """A chunk of requests, what was retrieved for them, and what the stages that made the logs say of it.

    `numbers` (n,) are the requests' among the day's. Beside `items` (n, W) stand their true click logits before the
    intercept, and the scores of the incumbent pre-ranker and of the ranker, -inf where there is no item, and the
    `chances` by which exploration slots are drawn. From `first_added` on the columns are those of an added channel, in
    its order. `best` (n, 10) are the items of the whole catalogue that the user is most likely to click on.
    """

    numbers: np.ndarray
    users: np.ndarray
    items: np.ndarray
    clicks: np.ndarray
    incumbent: np.ndarray
    ranker: np.ndarray
    chances: np.ndarray
    first_added: int
    best: np.ndarray
    logged: Served


@dataclass(frozen=True)
class Passed:
    """Columns of a `Retrieved` that passed, -1 where there are fewer.

    `kept` and `ranked` (n, keep) pre-ranking and ranking, best first; `shown` (n, exposed) by position.
    """

    kept: np.ndarray
    ranked: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True)
class Deployed:
    """A pre-ranker that serves in the incumbent's place.

    Its name tells what is landed with it apart from other landings of the date. `scores` gives (n, W) of a `Retrieved`;
    a landing asks it from one thread, chunk by chunk in the order of the requests.
    """

    name: str
    scores: Callable[[Retrieved], np.ndarray]


def retrieved(world: World, day: date) -> Iterator[Retrieved]:
    """The day's homepage requests, chunk by chunk as they were logged."""
    users = homepage_requests(world, day).users
    for chunk, start in enumerate(range(0, len(users), REQUESTS_AT_ONCE)):
        yield _retrieved(world, users[start : start + REQUESTS_AT_ONCE], day, chunk)


def serve_deployed(world: World, deployed: Deployed, users: np.ndarray, day: date, chunk: int) -> Served:
    """Like `serve`, with this pre-ranker: what the ranker says of an item, and so its line, is as with the incumbent.

    The incumbent's own scores give what `serve` gives.
    """
    given = _retrieved(world, users, day, chunk)
    scores = deployed.scores(given).astype(np.float32)
    through = passed(world, given, scores)

    def at(columns: np.ndarray, values: np.ndarray, nothing: float) -> np.ndarray:
        found = np.take_along_axis(values, np.maximum(columns, 0), axis=1)
        return np.where(columns < 0, np.array(nothing, values.dtype), found)

    return replace(
        given.logged,
        pre_ranking_scores=np.where(given.items >= 0, scores, -np.inf),
        kept=through.kept,
        pre_ranked=at(through.kept, given.items, -1),
        pre_ranked_scores=at(through.kept, scores, -np.inf),
        ranked=at(through.ranked, given.items, -1),
        ranked_scores=at(through.ranked, given.ranker, -np.inf),
        shown=at(through.shown, given.items, -1),
        shown_clicks=at(through.shown, given.clicks, 0.0),
    )


def _retrieved(world: World, users: np.ndarray, day: date, chunk: int) -> Retrieved:
    logged = serve(world, users, day, chunk)
    numbers = chunk * REQUESTS_AT_ONCE + np.arange(len(users))
    items, clicks = logged.candidates, logged.candidate_clicks
    ranker = _ranker(world, day, numbers, logged, items, clicks)
    _put_logged(ranker, logged)
    return Retrieved(
        numbers=numbers,
        users=users,
        items=items,
        clicks=clicks,
        incumbent=logged.pre_ranking_scores,
        ranker=ranker,
        chances=chances_of(world, items.shape, day, chunk),
        first_added=items.shape[1],
        best=top(catalogue_clicks(world, users), BEST),
        logged=logged,
    )


def with_channel(world: World, day: date, given: Retrieved, lists: np.ndarray) -> Retrieved:
    """The same with what one more channel returns and no other had.

    Args:
        lists: (n, k) items, best first, none twice in a row, -1 where a list has ended.
    """
    there = np.zeros((len(lists), world.items + 1), bool)
    np.put_along_axis(there, given.items, True, axis=1)  # -1 is the last column, which is no item
    added = np.where(np.take_along_axis(there, lists, axis=1), -1, lists).astype(given.items.dtype)
    clicks = click_logits(world, given.users, np.maximum(added, 0))
    about = (world, day, given.numbers, given.logged, added, clicks)
    return replace(
        given,
        items=np.concatenate([given.items, added], axis=1),
        clicks=np.concatenate([given.clicks, clicks], axis=1),
        incumbent=np.concatenate([given.incumbent, _incumbent(*about)], axis=1),
        ranker=np.concatenate([given.ranker, _ranker(*about)], axis=1),
        chances=np.concatenate([given.chances, _halves(world, _EXPLORATION, day, given.numbers, added)[0]], axis=1),
    )


def passed(world: World, given: Retrieved, scores: np.ndarray, quota: int = 0) -> Passed:
    """Pre-rank by `scores` (n, W), then rank and re-rank as ever.

    Args:
        quota: so many of what the added channel alone returned pass pre-ranking whatever their scores, its best first;
            exploration slots leave fewer places for them.

    Raises:
        ValueError: a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are not a number; each has to be one")
    there = given.items >= 0
    first = np.where(there, scores, -np.inf)
    alone = there & (np.arange(there.shape[1]) >= given.first_added)
    first[alone & (np.cumsum(alone, axis=1) <= quota)] = np.inf
    kept = passing(world, first, given.chances)
    order = top(np.take_along_axis(given.ranker, kept, axis=1), kept.shape[1])
    ranked = np.take_along_axis(kept, order, axis=1)
    slots = capped(world, np.take_along_axis(given.items, ranked, axis=1))
    shown = np.where(slots < 0, -1, np.take_along_axis(ranked, np.maximum(slots, 0), axis=1))
    kept, ranked = (np.where(np.take_along_axis(there, columns, axis=1), columns, -1) for columns in (kept, ranked))
    return Passed(kept, ranked, shown)


def catalogue_clicks(world: World, users: np.ndarray) -> np.ndarray:
    """True click logits before the intercept of the whole catalogue for each of these users, (n, I)."""
    catalogue = items_of(world)
    cosines = users_of(world).taste_Ud[users] @ catalogue.taste_Id.T
    return world.taste * cosines + world.quality * catalogue.quality


def _put_logged(ranker: np.ndarray, logged: Served) -> None:
    """The scores that the ranker had given, in the columns of the candidates that it had given them to."""
    to, source = np.argsort(logged.pre_ranked, axis=1, kind="stable"), np.argsort(logged.ranked, axis=1, kind="stable")
    scores = np.take_along_axis(logged.ranked_scores, source, axis=1)
    np.put_along_axis(ranker, np.take_along_axis(logged.kept, to, axis=1), scores, axis=1)


def _ranker(
    world: World, day: date, numbers: np.ndarray, logged: Served, items: np.ndarray, clicks: np.ndarray
) -> np.ndarray:
    """Its rule, on the scale of what it had ranked: the truth standardised, and noise."""
    noise = _noise(world, _RANKING, day, numbers, items)
    scores = ranker_scores(world, logged, clicks, noise)
    return np.where(items >= 0, scores, -np.inf).astype(np.float32)


def _incumbent(
    world: World, day: date, numbers: np.ndarray, logged: Served, items: np.ndarray, clicks: np.ndarray
) -> np.ndarray:
    """Its rule, on the scale of all that was retrieved: the truth, and popularity and noise without their share of it.

    What the noise of the logged items happens to share with the truth it leaves aside: an item has the score that it
    would have had, up to that.
    """
    there, log_popularity = logged.candidates >= 0, items_of(world).log_popularity
    known = np.take(log_popularity, np.maximum(logged.candidates, 0))
    truth, popularity = moments(logged.candidate_clicks, there), moments(known, there)
    both = _standard(logged.candidate_clicks, truth) * _standard(known, popularity)
    bias = world.pre_ranking_popularity
    shared = bias * np.where(there, both, 0).sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1), 1)[:, None]
    standard = _standard(clicks, truth)
    noise = _noise(world, _PRE_RANKING, day, numbers, items)
    other = mixed(bias, _standard(np.take(log_popularity, np.maximum(items, 0)), popularity), noise)
    rest = (other - shared * standard) / np.sqrt(1 - shared**2)
    return np.where(items >= 0, mixed(world.pre_ranking_correlation, standard, rest), -np.inf).astype(np.float32)


def _standard(values: np.ndarray, moments: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    mean, deviation = moments
    return (values - mean) / deviation


def _noise(world: World, stage: int, day: date, numbers: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A standard normal for each request and item, whatever else is retrieved (Box and Muller, 1958)."""
    first, angle = _halves(world, stage, day, numbers, items)
    radius = first + 2.0**-32  # above 0, at most 1
    return np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)


def _halves(
    world: World, stage: int, day: date, numbers: np.ndarray, items: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two uniform numbers in [0, 1) for each request and item, whatever else is retrieved."""
    requests = np.repeat(numbers, items.shape[1])
    alike = (np.full(len(requests), value) for value in (stage, day.toordinal()))
    keys = keyed_hash(world.seed, *alike, requests, items.ravel()).reshape(items.shape)
    halves = keys >> np.uint64(32), keys & np.uint64(2**32 - 1)
    return tuple(half.astype(np.float64) / 2.0**32 for half in halves)
