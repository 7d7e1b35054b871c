"""Hit rates of a retrieval: each request orders a whole catalogue, the targets it should have found are looked up.

Shapes: N requests, T targets over all requests, C items of the catalogue, K cut-offs. Everything is numpy; memory is
bounded by the chunk of requests that is scored at once. Equal scores are ordered by the smaller item id.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models.batches import Ragged
from models.evaluation.per_request import PerRequest
from schemas.vocabulary import Popularity

CUTOFFS = (100, 500, 1000)
COLD_START, ACTIVE, ALL = "cold_start", "active", "all"

Scorer = Callable[[int, int], np.ndarray]  # (start, stop) -> float32 [stop - start, C]; higher is better

_LAST = np.int64(2**63 - 1)  # behind every key: an item that is left out
_SCORES_AT_ONCE = 2**21
_REQUESTS_AT_ONCE = 256  # larger parts spend more time on fresh memory than on arithmetic
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Targets:
    """What each request should have found. A target acted on and exposed stands in two rows, as in the labels."""

    rows: np.ndarray  # int64 [T], the request, ascending
    item_ids: np.ndarray  # int64 [T]
    itg: np.ndarray  # bool [T]: acted on, retrieved by no channel
    rtg: np.ndarray  # bool [T]: acted on, retrieved
    etg: np.ndarray  # bool [T]: exposed
    purchased: np.ndarray  # bool [T]: the action is a purchase

    def of_metric(self) -> dict[str, np.ndarray]:
        """Which targets each hit rate is about (models.md)."""
        acted = self.itg | self.rtg
        return {
            "inc": self.itg,
            "inc_filtered": self.itg,
            "base": acted,
            "exposure": self.etg,
            "order": acted & self.purchased,
        }


@dataclass(frozen=True)
class Measured:
    """What one retrieval found, before any averaging."""

    cutoffs: tuple[int, ...]
    known: np.ndarray  # bool [T]: the catalogue has the target
    hits: np.ndarray  # bool [T, K]: it is in the top K
    filtered_hits: np.ndarray  # bool [T, K]: it is in the top K of what the channels had not retrieved
    overlap: np.ndarray  # float64 [N, K]: share of the top K that the channels had retrieved
    left: np.ndarray  # int64 [N]: items of the catalogue that the channels had not retrieved
    size: int  # C

    @classmethod
    def nothing(cls, cutoffs: tuple[int, ...], known: np.ndarray, requests: int, size: int) -> "Measured":
        """No hit and no overlap yet."""
        hits, filtered_hits = (np.zeros((len(known), len(cutoffs)), bool) for _ in range(2))
        overlap, left = np.zeros((requests, len(cutoffs))), np.full(requests, size, np.int64)
        return cls(cutoffs, known, hits, filtered_hits, overlap, left, size)


def measure(
    targets: Targets,
    retrieved: Mapping[str, Ragged],
    catalogue_C: np.ndarray,
    scorers: Mapping[str, Scorer],
    requests: int,
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, Measured]:
    """Look every target up in its request's order of the catalogue, for several retrievals of one catalogue.

    A target that the catalogue lacks counts as missed. A cut-off above the catalogue's size is left out.

    Args:
        retrieved: channel -> what it had returned for each request.
        catalogue_C: int64 [C], ascending, no id twice.
        scorers: name -> scores of the requests start to stop.

    Raises:
        ValueError: the catalogue is not strictly ascending, or a score is not a number.
    """
    if np.any(np.diff(catalogue_C) <= 0):
        raise ValueError("the catalogue has to be strictly ascending, so that equal scores have one order")
    cutoffs = tuple(k for k in cutoffs if k <= len(catalogue_C))
    column_T = locate(catalogue_C, targets.item_ids)
    measured = {name: Measured.nothing(cutoffs, column_T >= 0, requests, len(catalogue_C)) for name in scorers}

    def measure_part(part: tuple[int, int]) -> None:
        there_NC = _retrieved(retrieved, catalogue_C, *part)
        first, last = np.searchsorted(targets.rows, part)
        rows, columns = targets.rows[first:last] - part[0], column_T[first:last]
        for name, scores in scorers.items():
            _look_up(
                measured[name], order_keys(scores(*part)), there_NC, slice(*part), slice(first, last), rows, columns
            )

    with ThreadPoolExecutor(_THREADS) as pool:  # NumPy lets other threads run; each part writes rows of its own
        list(pool.map(measure_part, chunks(requests, len(catalogue_C))))
    return measured


def _look_up(
    into: Measured,
    keys_NC: np.ndarray,
    there_NC: np.ndarray,
    requests: slice,
    targets: slice,
    rows: np.ndarray,
    columns: np.ndarray,
) -> None:
    """Fill in what some requests' order of the catalogue finds, first whole, then without what is there already.

    Args:
        rows, columns: where in keys_NC each of the targets is; column -1 for one that the catalogue lacks.
    """
    cuts_NK = _cuts(keys_NC, into.cutoffs)
    into.hits[targets] = _within(keys_NC, cuts_NK, rows, columns)
    for n, k in enumerate(into.cutoffs):
        into.overlap[requests, n] = np.count_nonzero((keys_NC <= cuts_NK[:, n : n + 1]) & there_NC, axis=1) / k
    np.copyto(keys_NC, _LAST, where=there_NC)
    into.filtered_hits[targets] = _within(keys_NC, _cuts(keys_NC, into.cutoffs), rows, columns)
    into.left[requests] = into.size - np.count_nonzero(there_NC, axis=1)


def entries(lists: Ragged, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row from `start`, value, and position from 0, of every entry of the lists start to stop."""
    lengths = lists.lengths[start:stop]
    first, last = lists.offsets[start], lists.offsets[stop]
    places = np.arange(first, last) - np.repeat(lists.offsets[start:stop], lengths)
    return np.repeat(np.arange(stop - start), lengths), lists.values[first:last], places


def locate(catalogue_C: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
    """The column of each id in the ascending catalogue, -1 where it has none."""
    if len(catalogue_C) == 0:
        return np.full(len(item_ids), -1, np.int64)
    column = np.minimum(np.searchsorted(catalogue_C, item_ids), len(catalogue_C) - 1)
    return np.where(catalogue_C[column] == item_ids, column, -1)


def chunks(requests: int, items: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the requests that are scored at once."""
    size = max(1, min(_REQUESTS_AT_ONCE, _SCORES_AT_ONCE // max(items, 1)))
    for start in range(0, requests, size):
        yield start, min(start + size, requests)


def order_keys(scores_NC: np.ndarray) -> np.ndarray:
    """int64 [N, C] that ascend as float32 scores descend, equal scores by column: one total order.

    The upper half is the float's bit pattern, turned so that integers compare as the floats do; the lower half is
    the column. So nothing about ties is left to a sorting algorithm.
    """
    if np.isnan(scores_NC).any():
        raise ValueError("a score is not a number (NaN)")
    bits = (np.asarray(scores_NC, np.float32) + np.float32(0)).view(np.int32)  # + 0 makes -0 equal to 0
    bits ^= (bits >> 31) & np.int32(2**31 - 1)
    np.invert(bits, out=bits)
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(scores_NC.shape[1])
    return keys


def _cuts(keys_NC: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """[N, K]: the k-th smallest key of each request; each smaller k is looked for among the next greater k's keys."""
    cuts_NK = np.empty((len(keys_NC), len(cutoffs)), np.int64)
    for n in sorted(range(len(cutoffs)), key=lambda n: -cutoffs[n]):
        keys_NC = np.partition(keys_NC, cutoffs[n] - 1, axis=1)[:, : cutoffs[n]]
        cuts_NK[:, n] = keys_NC[:, -1]
    return cuts_NK


def _within(keys_NC: np.ndarray, cuts_NK: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    keys_T = np.where(columns >= 0, keys_NC[rows, columns], _LAST)
    return (keys_T[:, None] <= cuts_NK[rows]) & (keys_T != _LAST)[:, None]


def _retrieved(retrieved: Mapping[str, Ragged], catalogue_C: np.ndarray, start: int, stop: int) -> np.ndarray:
    there_NC = np.zeros((stop - start, len(catalogue_C)), bool)
    for lists in retrieved.values():
        rows, item_ids, _ = entries(lists, start, stop)
        columns = locate(catalogue_C, item_ids)
        there_NC[rows[columns >= 0], columns[columns >= 0]] = True
    return there_NC


def summarise(
    targets: Targets,
    measured: Measured,
    popularity_T: Sequence[str],
    cold_N: np.ndarray,
    further: Mapping[str, np.ndarray] | None = None,
) -> Iterator[PerRequest]:
    """Every metric by request; a hit rate's plain average is over targets, `_per_request` gives each request one say.

    `overlap` is a mean over requests. `in_catalogue` (k 0) is the share of ITG targets that could be found at all.

    Args:
        popularity_T: `top`, `middle` or `tail` of each target.
        cold_N: bool [N]: the request's user has hardly any history.
        further: segment -> bool [T], its targets.
    """
    popularity_T = np.asarray(popularity_T)
    segments = {ALL: np.ones(len(targets.rows), bool)}
    segments |= {str(part): popularity_T == part for part in Popularity}
    segments |= {COLD_START: cold_N[targets.rows], ACTIVE: ~cold_N[targets.rows]}
    segments |= further or {}
    for segment, inside in segments.items():
        for metric, of_metric in targets.of_metric().items():
            hits, chosen = measured.filtered_hits if metric == "inc_filtered" else measured.hits, inside & of_metric
            for n, k in enumerate(measured.cutoffs):
                key = (metric, segment, k)
                yield PerRequest.summed(key, targets.rows[chosen], hits[chosen, n], by_request=True)
        known = inside & targets.itg
        yield PerRequest.summed(("in_catalogue", segment, 0), targets.rows[known], measured.known[known])
    for segment, requests in {ALL: np.ones(len(cold_N), bool), COLD_START: cold_N, ACTIVE: ~cold_N}.items():
        for n, k in enumerate(measured.cutoffs):
            yield PerRequest.summed(("overlap", segment, k), np.flatnonzero(requests), measured.overlap[requests, n])


def expected_at_random(targets: Targets, measured: Measured) -> Iterator[PerRequest]:
    """What `inc` and `inc_filtered` of a uniformly random order are on average: K/C and K/(what is left), capped at 1.

    A target that the catalogue lacks counts as missed, as in `measure`.
    """
    known, rows = measured.known[targets.itg], targets.rows[targets.itg]
    for k in measured.cutoffs:
        whole = np.minimum(1.0, k / np.maximum(measured.size, 1))
        left = np.minimum(1.0, k / np.maximum(measured.left[rows], 1))
        yield PerRequest.summed(("inc_expected", ALL, k), rows, known * whole)
        yield PerRequest.summed(("inc_filtered_expected", ALL, k), rows, known * left)
