"""Retrievals that need no training: what a claim about a trained channel has to beat.

Shapes: N requests, C items of the catalogue (ascending ids), M nearest neighbours of an item. A scorer is a function
(start, stop) -> float32 [stop - start, C] of the requests start to stop; higher is better.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.batches import Ragged
from models.evaluation.retrieval_metrics import Scorer, entries, locate, order_keys
from models.hashing import mix

_PAIRS_AT_ONCE = 2**22
_RANK_CONSTANT = 60  # of reciprocal rank fusion, as its authors have it
_SPREAD_AT_ONCE = 64  # requests; each spreads over up to (history x M) x M items


@dataclass(frozen=True)
class ItemNeighbours:
    """Item-to-item collaborative filtering: the M items that share most users with each item.

    The similarity of items i and j is users(i and j) / sqrt(users(i) users(j)).
    """

    columns: np.ndarray  # int32 [C, M]; 0 with weight 0 where an item has fewer neighbours
    weights: np.ndarray  # float32 [C, M], best first

    @classmethod
    def fit(cls, users: np.ndarray, columns: np.ndarray, items: int, neighbours: int, longest: int) -> "ItemNeighbours":
        """Count the users that any two items share, a bounded number of pairs at a time.

        Args:
            users: int64 [E] of each event, columns: int64 [E] its item; a repeated pair counts once.
            items: C. neighbours: M.
            longest: a user with more items counts with this many only, the events' last ones: a robot or a
                whole household says little about two items, and its pairs grow as the square.
        """
        users, columns = _last_of_each_user(users, columns, longest)
        users, offsets = _grouped(users)
        by_item = np.argsort(columns, kind="stable")
        lengths = np.diff(offsets)[users[by_item]]  # an event of an item brings all items of its user
        counts_C = np.bincount(columns, minlength=items)
        made = cls(np.zeros((items, neighbours), np.int32), np.zeros((items, neighbours), np.float32))
        ends = np.cumsum(counts_C)
        start = 0
        while start < items:
            first = ends[start] - counts_C[start]
            reach = np.concatenate([[0], np.cumsum(lengths[first:])])
            stop = max(start + 1, int(np.searchsorted(reach[ends[start:] - first], _PAIRS_AT_ONCE)) + start)
            events = by_item[first : ends[stop - 1]]
            left, right = _pairs(columns, users, offsets, events)
            made._keep_best(start, stop, left, right, counts_C)
            start = stop
        return made

    def _keep_best(self, start: int, stop: int, left: np.ndarray, right: np.ndarray, counts_C: np.ndarray) -> None:
        items, M = self.columns.shape
        pairs, shared = np.unique((left - start) * items + right, return_counts=True)
        left, right = pairs // items, pairs % items
        similarity = shared / np.sqrt(counts_C[left + start] * counts_C[right])
        apart = left + start != right
        left, right, similarity = left[apart], right[apart], similarity[apart]
        order = np.lexsort((-similarity, left))  # stable, and `right` ascends already
        left, right, similarity = left[order], right[order], similarity[order]
        place = np.arange(len(left)) - np.searchsorted(left, left)
        best = place < M
        self.columns[left[best] + start, place[best]] = right[best]
        self.weights[left[best] + start, place[best]] = similarity[best]

    def spread(self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, requests: int) -> np.ndarray:
        """float64 [requests, C]: each entry's weight times the similarity, summed over what reaches an item."""
        items = len(self.columns)
        reached = rows[:, None] * items + self.columns[columns]
        weight = weights[:, None] * self.weights[columns]
        summed = np.bincount(reached.ravel(), weight.ravel(), requests * items)
        return summed.astype(np.float64, copy=False).reshape(
            requests, items
        )  # of nothing NumPy counts in whole numbers


def _last_of_each_user(users: np.ndarray, columns: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The last `longest` distinct items of each user, by the order of the events; grouped by user."""
    order = np.lexsort((-np.arange(len(users)), columns, users))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(users[order]) != 0) | (np.diff(columns[order]) != 0)
    latest = order[first]
    latest = latest[np.lexsort((-latest, users[latest]))]
    place = np.arange(len(latest)) - np.searchsorted(users[latest], users[latest])
    kept = latest[place < longest]
    return users[kept], columns[kept]


def _grouped(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Users renumbered from 0, and where each one's events start; the events are grouped by user already."""
    _, starts, numbers = np.unique(users, return_index=True, return_inverse=True)
    return numbers, np.append(starts, len(users))


def _pairs(
    columns: np.ndarray, users: np.ndarray, offsets: np.ndarray, events: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(item of the event, item of its user) for every item of the user of each event."""
    starts, lengths = offsets[users[events]], np.diff(offsets)[users[events]]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(columns[events], lengths), columns[np.repeat(starts, lengths) + within]


def random(request_keys_N: np.ndarray, catalogue_C: np.ndarray) -> Scorer:
    """A uniformly random order of each request, from a keyed hash of request and item.

    Args:
        request_keys_N: uint64 [N], a hash of the seed and the request's id.
    """

    def score(start: int, stop: int) -> np.ndarray:
        mixed = request_keys_N[start:stop, None] ^ mix(catalogue_C.astype(np.uint64))
        return (mix(mixed) >> np.uint64(40)).astype(np.float32)

    return score


def hot_items(conversions_C: np.ndarray) -> Scorer:
    """The same order for everybody: most conversions first."""
    scores_C = -_hot_places(conversions_C)
    return lambda start, stop: np.broadcast_to(scores_C, (stop - start, len(scores_C)))


def item_cf_twice(
    histories: Ragged, catalogue_C: np.ndarray, near: ItemNeighbours, conversions_C: np.ndarray
) -> Scorer:
    """Two steps of item-CF from the user's history, neighbours of neighbours; then hot items."""

    def reach(start: int, stop: int) -> np.ndarray:
        rows, columns, _ = _located(histories, catalogue_C, start, stop)
        once = near.spread(rows, columns, np.ones(len(rows)), stop - start)
        rows, columns = np.nonzero(once)
        return near.spread(rows, columns, once[rows, columns], stop - start)

    return _then_hot(reach, conversions_C)


def read_deeper(lists: Ragged, catalogue_C: np.ndarray, near: ItemNeighbours, conversions_C: np.ndarray) -> Scorer:
    """A logged channel as if it had returned more than the log holds: an estimate, since the channel is not at hand.

    First its list, in its order; behind it, what is nearest to the list by item-CF, an item at position p of the list
    counting 1/log2(p + 1); behind that, hot items.
    """

    def reach(start: int, stop: int) -> np.ndarray:
        rows, columns, places = _located(lists, catalogue_C, start, stop)
        reached = near.spread(rows, columns, 1 / np.log2(places + 2), stop - start)
        reached /= np.maximum(reached.max(axis=1, keepdims=True, initial=0), 1e-30)
        reached[rows, columns] = 2 + places.max(initial=0) - places
        return reached

    return _then_hot(reach, conversions_C)


def fused(scorer: Scorer, other: Scorer, share: float) -> Scorer:
    """Two orders as one: (1 - share) / (60 + rank) + share / (60 + the other's rank), ranks from 1.

    Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009), whose sum has no shares.
    """

    def score(start: int, stop: int) -> np.ndarray:
        first, second = (1 / (_RANK_CONSTANT + _ranks(each(start, stop))) for each in (scorer, other))
        return ((1 - share) * first + share * second).astype(np.float32)

    return score


def _ranks(scores_NC: np.ndarray) -> np.ndarray:
    """Each item's rank from 1 in its request; of equal scores the smaller id comes first."""
    order = np.argsort(order_keys(scores_NC), axis=1)
    ranks = np.empty(order.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
    return ranks


def _then_hot(reach: Scorer, conversions_C: np.ndarray) -> Scorer:
    behind_C = -_hot_places(conversions_C)

    def score(start: int, stop: int) -> np.ndarray:
        scores = np.empty((stop - start, len(behind_C)), np.float32)
        for first in range(start, stop, _SPREAD_AT_ONCE):
            last = min(first + _SPREAD_AT_ONCE, stop)
            reached = reach(first, last).astype(np.float32)
            scores[first - start : last - start] = np.where(reached > 0, reached, behind_C)
        return scores

    return score


def _hot_places(conversions_C: np.ndarray) -> np.ndarray:
    """float32 [C]: 1 for the most converted item; of two with as many, the smaller id comes first."""
    places = np.empty(len(conversions_C), np.float32)
    places[np.argsort(-np.asarray(conversions_C), kind="stable")] = np.arange(1, len(conversions_C) + 1)
    return places


def _located(
    lists: Ragged, catalogue_C: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, item_ids, places = entries(lists, start, stop)
    columns = locate(catalogue_C, item_ids)
    known = columns >= 0
    return rows[known], columns[known], places[known]


def scorers(
    request_keys_N: np.ndarray,
    histories: Ragged,
    retrieved: Mapping[str, Ragged],
    catalogue_C: np.ndarray,
    conversions_C: np.ndarray,
    near: ItemNeighbours,
) -> dict[str, Scorer]:
    """Every row that needs no training, by its variant's name."""
    return {
        "random": random(request_keys_N, catalogue_C),
        "hot_items": hot_items(conversions_C),
        "item_cf_twice": item_cf_twice(histories, catalogue_C, near, conversions_C),
        **{f"{name}_deeper": read_deeper(at, catalogue_C, near, conversions_C) for name, at in retrieved.items()},
    }
