"""When people come, and what they visit outside the homepage: their true taste over the whole catalogue."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise

import numpy as np

from jobs.simulator.population import Items, Users, items_of, users_of
from jobs.simulator.settings import World
from jobs.simulator.streams import Purpose, stream

SECOND = 1_000_000
DAY = 86_400 * SECOND
_VISITS_AT_ONCE = 1024


@dataclass(frozen=True)
class Requests:
    """A date's requests in the order of their times: user indices and microseconds since 1970."""

    users: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class Visits:
    """A date's visits outside the homepage, in the order of their times: each is at least a click."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray


def midnight(day: date) -> int:
    """The date's first microsecond since 1970, UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


def within_day(times: np.ndarray, delays: np.ndarray, day: date, draws: np.random.Generator) -> np.ndarray:
    """times + delays, except that what would fall on the next date falls before its own midnight instead.

    So a date's homepage actions are those of its own requests, and a date can be made alone.
    """
    left = midnight(day) + DAY - 1 - times
    squeezed = (draws.random(len(times)) * left).astype(np.int64)
    return times + np.where(delays <= left, delays, squeezed)


def homepage_requests(world: World, day: date) -> Requests:
    return _arrivals(world, day, Purpose.REQUESTS, world.requests_per_user)


def other_requests(world: World, day: date) -> Requests:
    """Requests of other scenarios: they are logged, and no channel is asked."""
    return _arrivals(world, day, Purpose.OTHER_REQUESTS, world.requests_per_user * world.other_requests)


def _arrivals(world: World, day: date, purpose: Purpose, rate: float) -> Requests:
    draws = stream(world, purpose, day)
    users = np.repeat(np.arange(world.users), draws.poisson(rate * users_of(world).activity))
    times = _times(draws, len(users), day)
    order = np.argsort(times, kind="stable")
    return Requests(users[order], times[order])


def _times(draws: np.random.Generator, size: int, day: date) -> np.ndarray:
    """Half of them at any time, half in the evening."""
    evening = np.mod(draws.normal(20 / 24, 3 / 24, size=size), 1.0)
    shares = np.where(draws.random(size) < 0.5, draws.random(size), evening)
    return midnight(day) + np.minimum((shares * DAY).astype(np.int64), DAY - 1)


@lru_cache(maxsize=16)
def visits_elsewhere(world: World, day: date) -> Visits:
    """A category by the user's taste and its popularity, then an item in it by the same: exact softmax draws.

    Depends on no other date, nor on what the homepage showed.
    """
    items, people = items_of(world), users_of(world)
    arrived = _arrivals(world, day, Purpose.ELSEWHERE, world.visits_elsewhere)
    draws = stream(world, Purpose.ELSEWHERE, day, 1)
    planted = draws.random(len(arrived.users)) < people.planted_interest[arrived.users]
    categories = _categories(world, items, people, arrived.users, planted, draws.random(len(planted)))
    chosen = np.empty(len(planted), np.int32)
    uniform = draws.random(len(planted))
    order = np.argsort(categories, kind="stable")
    bounds = np.searchsorted(categories[order], np.arange(world.categories() + 1))
    for category, (start, end) in enumerate(pairwise(bounds)):
        pool = items.by_category[items.category_starts[category] : items.category_starts[category + 1]]
        for block in range(start, end, _VISITS_AT_ONCE):
            rows = order[block : min(block + _VISITS_AT_ONCE, end)]
            fixed = items.log_popularity[pool] + world.elsewhere_sharpness * world.quality * items.quality[pool]
            cosines = people.taste_Ud[arrived.users[rows]] @ items.taste_Id[pool].T
            chosen[rows] = pool[_drawn(fixed + world.elsewhere_sharpness * world.taste * cosines, uniform[rows])]
    return Visits(arrived.users, chosen, arrived.times)


def _categories(
    world: World, items: Items, people: Users, users: np.ndarray, planted: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """A category for each visit, among the planted ones or among the others."""
    sizes = np.diff(items.category_starts)
    mass = np.zeros(len(sizes))
    np.add.at(mass, items.category, np.exp(items.log_popularity))
    fixed = np.log(np.sqrt(mass) + 1e-12)
    fixed[sizes == 0] = -np.inf
    chosen = np.empty(len(users), np.int64)
    for start in range(0, len(users), _VISITS_AT_ONCE):
        rows = slice(start, start + _VISITS_AT_ONCE)
        logits = fixed + world.elsewhere_sharpness * world.taste * (people.taste_Ud[users[rows]] @ items.category_Cd.T)
        logits[items.category_planted[None, :] != planted[rows, None]] = -np.inf
        nowhere = ~np.isfinite(logits).any(axis=1)  # a planted category may be empty in a tiny world
        logits[nowhere] = fixed
        chosen[rows] = _drawn(logits, uniform[rows])
    return chosen


def _drawn(logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One index a row, by softmax."""
    weights = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    return np.minimum((weights <= uniform[:, None] * weights[:, -1:]).sum(axis=1), logits.shape[1] - 1)
