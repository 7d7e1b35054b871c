"""The retrieval channels: each sees the world through its own bias, and none sees the planted segment.

A list of n requests is an int32 array (n, k) of item indices, best first, -1 where a list has ended.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np

from jobs.simulator.demand import visits_elsewhere
from jobs.simulator.population import Items, items_of, standardised, unit, users_of
from jobs.simulator.settings import World
from jobs.simulator.streams import Purpose, stream

_PROTOTYPES = 2048
_NEIGHBOURS = 64
_NEAR_CATEGORIES = 4
_SCORES_AT_ONCE = 2**24


@dataclass(frozen=True)
class Channels:
    """What the channels know, fitted once: P prototypes of users, N neighbours, T items of a category."""

    item_vectors_Id: np.ndarray
    bias_I: np.ndarray
    prototypes_Pd: np.ndarray
    prototype_lists: np.ndarray
    neighbours_IN: np.ndarray
    category_tops_CT: np.ndarray


@lru_cache(maxsize=2)
def channels_of(world: World) -> Channels:
    """Fit the channels on noisy item vectors (noisier for rare items), noisy users and popularity."""
    items, people = items_of(world), users_of(world)
    draws = stream(world, Purpose.CHANNELS)
    rarity = np.clip(1 - 0.3 * standardised(items.log_popularity), 0.5, 1.5)[:, None]
    vectors = unit(items.taste_Id + world.channel_noise * rarity * unit(draws.normal(size=items.taste_Id.shape)))
    bias = (world.channel_popularity * standardised(items.log_popularity)).astype(np.float32)
    bias[items.planted] = -np.inf
    sampled = np.sort(draws.permutation(world.users)[:_PROTOTYPES])
    prototypes = _noisy(world, people.taste_Ud[sampled], draws)
    sizes = world.channel_sizes()
    return Channels(
        item_vectors_Id=vectors,
        bias_I=bias,
        prototypes_Pd=prototypes,
        prototype_lists=_best_items(prototypes, vectors, bias, 2 * sizes.get("embedding", 1)),
        neighbours_IN=_neighbours(items, vectors, bias),
        category_tops_CT=_category_tops(items, draws, -(-sizes.get("category", 1) // world.categories_retrieved)),
    )


def retrieve(world: World, users: np.ndarray, day: date, chunk: int) -> dict[str, np.ndarray]:
    """The list of every channel for requests of these users (n,)."""
    fitted, people, sizes = channels_of(world), users_of(world), world.channel_sizes()
    draws = stream(world, Purpose.RETRIEVAL, day, chunk)
    seen = _noisy(world, people.taste_Ud[users], draws)
    recent = recent_items(world, day)[users]
    made = {
        "hot": lambda size: np.broadcast_to(
            _hot(world, day, size), (len(users), min(size, len(_hot(world, day, size))))
        ),
        "item_to_item": lambda size: _from_recent(fitted, recent[:, : world.triggers], size),
        "embedding": lambda size: _embedding(fitted, seen, size),
        "category": lambda size: _categories(world, fitted, seen, size),
        "own_recent": lambda size: first_occurrences(recent, size),
    }
    return {name: made[name](size) for name, size in sizes.items()}


@lru_cache(maxsize=2)
def recent_items(world: World, day: date) -> np.ndarray:
    """The items each user visited elsewhere in the days before, newest first, none planted: (U, own_recent)."""
    days = [visits_elsewhere(world, day - timedelta(n)) for n in range(1, world.memory_days + 1)]
    users = np.concatenate([visits.users for visits in days] or [np.empty(0, int)])
    items = np.concatenate([visits.items for visits in days] or [np.empty(0, np.int32)])
    times = np.concatenate([visits.times for visits in days] or [np.empty(0, np.int64)])
    known = ~items_of(world).planted[items]
    users, items, times = users[known], items[known], times[known]
    order = np.lexsort((-times, users))
    users, items = users[order], items[order]
    place = np.arange(len(users)) - np.searchsorted(users, users)
    width = max(world.own_recent, world.triggers, 1)
    lists = np.full((world.users, width), -1, np.int32)
    lists[users[place < width], place[place < width]] = items[place < width]
    return lists


def first_occurrences(lists: np.ndarray, size: int) -> np.ndarray:
    """Each row without -1 and without repetitions, in its order, cut or filled up to `size`."""
    width = lists.shape[1]
    bits = max(1, width.bit_length())
    ended = np.iinfo(np.int64).max
    keys = (lists.astype(np.int64) << bits) | np.arange(width)
    keys[lists < 0] = ended
    keys.sort(axis=1)
    found = keys >> bits
    again = np.zeros(lists.shape, bool)
    again[:, 1:] = found[:, 1:] == found[:, :-1]
    ordered = ((keys & ((1 << bits) - 1)) << 32) | (found & 0xFFFFFFFF)
    ordered[again | (keys == ended)] = ended
    ordered.sort(axis=1)
    kept = ordered[:, :size]
    return np.where(kept == ended, -1, kept & 0xFFFFFFFF).astype(np.int32)


def _noisy(world: World, vectors: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    return unit(vectors + world.channel_noise * unit(draws.normal(size=vectors.shape)))


def _best_items(queries: np.ndarray, vectors: np.ndarray, bias: np.ndarray, size: int) -> np.ndarray:
    """The `size` best items of each query by cosine and bias, best first."""
    size = min(size, int(np.isfinite(bias).sum()))
    lists = np.empty((len(queries), size), np.int32)
    rows = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(queries), rows):
        lists[start : start + rows] = top(queries[start : start + rows] @ vectors.T + bias, size)
    return lists


def top(scores: np.ndarray, size: int) -> np.ndarray:
    """Column indices of each row's `size` greatest scores, greatest first."""
    part = np.argpartition(-scores, min(size, scores.shape[1] - 1), axis=1)[:, :size]
    order = np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1, kind="stable")
    return np.take_along_axis(part, order, axis=1)


def _neighbours(items: Items, vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Item-to-item lists within an item's own category and the nearest others: (I, N), -1 at the end."""
    near = top(items.category_Cd @ items.category_Cd.T, min(1 + _NEAR_CATEGORIES, len(items.category_Cd)))
    members = np.split(items.by_category, items.category_starts[1:-1])
    lists = np.full((len(vectors), _NEIGHBOURS), -1, np.int32)
    for category, own in enumerate(members):
        pool = np.concatenate([members[other] for other in near[category]])
        pool = pool[np.isfinite(bias[pool])]
        if not len(own) or not len(pool):
            continue
        scores = vectors[own] @ vectors[pool].T + bias[pool]
        scores[own[:, None] == pool[None, :]] = -np.inf
        found = top(scores, min(_NEIGHBOURS, len(pool)))
        lists[own, : found.shape[1]] = np.where(np.isfinite(np.take_along_axis(scores, found, axis=1)), pool[found], -1)
    return lists


def _category_tops(items: Items, draws: np.random.Generator, size: int) -> np.ndarray:
    """The items of each category that sell best as far as its channel can tell: (C, size), -1 at the end."""
    estimated = items.log_popularity + 0.5 * draws.normal(size=len(items.log_popularity))
    order = np.lexsort((-estimated, items.category))
    lists = np.full((len(items.category_Cd), size), -1, np.int32)
    for category in np.flatnonzero(~items.category_planted):
        best = order[items.category_starts[category] : items.category_starts[category + 1]][:size]
        lists[category, : len(best)] = best
    return lists


@lru_cache(maxsize=2)
def _hot(world: World, day: date, size: int) -> np.ndarray:
    """The most popular items as yesterday's counts had them."""
    items = items_of(world)
    estimated = items.log_popularity + 0.3 * stream(world, Purpose.HOT, day).normal(size=world.items)
    estimated[items.planted] = -np.inf
    size = min(size, int((~items.planted).sum()))
    return np.argsort(-estimated, kind="stable")[:size].astype(np.int32)


def _from_recent(fitted: Channels, recent: np.ndarray, size: int) -> np.ndarray:
    """The best neighbour of each recent item, then the second best of each, and so on."""
    found = np.take(fitted.neighbours_IN, np.maximum(recent, 0), axis=0)
    found = np.where(recent[:, :, None] < 0, -1, found)
    return first_occurrences(found.transpose(0, 2, 1).reshape(len(recent), -1), size)


def _embedding(fitted: Channels, seen: np.ndarray, size: int) -> np.ndarray:
    """The nearest prototype's long list in the order of the user's own noisy vector."""
    nearest = np.argmax(seen @ fitted.prototypes_Pd.T, axis=1)
    pool = fitted.prototype_lists[nearest]
    vectors = np.take(fitted.item_vectors_Id, pool, axis=0)
    scores = np.matmul(vectors, seen[:, :, None])[:, :, 0] + fitted.bias_I[pool]
    return np.take_along_axis(pool, top(scores, min(size, pool.shape[1])), axis=1)


def _categories(world: World, fitted: Channels, seen: np.ndarray, size: int) -> np.ndarray:
    """The best sellers of the categories that look nearest to the user."""
    items = items_of(world)
    scores = seen @ items.category_Cd.T
    scores[:, items.category_planted] = -np.inf
    ordinary = int((~items.category_planted).sum())
    chosen = top(scores, min(world.categories_retrieved, ordinary))
    lists = fitted.category_tops_CT[chosen].reshape(len(seen), -1)
    return first_occurrences(lists, size)
