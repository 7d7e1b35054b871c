"""Metrics of a pre-ranker over a request's candidates, in numpy, whole chunks of requests at a time.

A chunk is flat: one entry a candidate, `requests` says whose it is (0, 1, ..., in any order), the other arrays
are parallel to it. Nothing depends on the order of the entries, and equal scores are settled by a keyed hash of
request and item, so that neither a constant score nor the order of a log favours anybody.
"""

import numpy as np

from models.hashing import keyed_hash


def rank(requests: np.ndarray, item_ids: np.ndarray, scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each candidate's rank in its request, int64 [N]: 1 for the highest score, ties by a keyed hash of both.

    Raises:
        ValueError: a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are not a number; each has to be one")
    order = np.lexsort((keyed_hash(seed, requests, item_ids), -scores, requests))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = _places(requests[order])
    return ranks


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """Bool, parallel to the ranks: the target is among the first k."""
    return ranks <= k


def ndcg(requests: np.ndarray, ranks: np.ndarray, teacher_ranks: np.ndarray) -> np.ndarray:
    """NDCG of an order against the teacher's, over the items the teacher ordered, per request.

        DCG = sum_i gain_i / log2(1 + rank_i),  gain_i = 1 / log2(1 + teacher_rank_i),  NDCG = DCG / best DCG

    NDCG after Järvelin and Kekäläinen (2002) with a gain of our own that falls with the teacher's rank [D]. Both
    ranks are taken among these items alone, so that an item the teacher never saw counts for nobody.

    Returns:
        float64, one value for each request that occurs, by rising request.
    """
    gains = 1 / np.log2(1 + _among(requests, teacher_ranks))
    order = np.unique(requests, return_inverse=True)[1]
    got = np.bincount(order, gains / np.log2(1 + _among(requests, ranks)))
    return got / np.bincount(order, gains**2)


def shares_below(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """For each positive the share of all negatives that score below it, a tie counting half: their mean is AUC.

    Returns:
        float64, one for each positive in their order; not a number where there is no negative.
    """
    others = np.sort(scores[~positive])
    places = sum(np.searchsorted(others, scores[positive], side) for side in ("left", "right")) / 2
    return places / len(others) if len(others) else np.full(len(places), np.nan)


def grouped_auc(
    requests: np.ndarray, scores: np.ndarray, positive: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The requests, rising, that have a positive and a negative, the AUC inside each, and its number of items.

    GAUC is the mean of the AUCs weighted by the last (Zhu et al., arXiv 1706.06978, with impressions as weight). The
    rank-sum form (Mann and Whitney, 1947).
    """
    if not len(scores):
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    order = np.lexsort((scores, requests))
    requests, scores, positive = requests[order], scores[order], positive[order].astype(float)
    first = np.r_[True, (requests[1:] != requests[:-1]) | (scores[1:] != scores[:-1])]
    tie = np.cumsum(first) - 1
    places = (np.bincount(tie, _places(requests)) / np.bincount(tie))[tie]
    known, group = np.unique(requests, return_inverse=True)
    size, positives = np.bincount(group), np.bincount(group, positive)
    pairs = positives * (size - positives)
    wins = np.bincount(group, places * positive) - positives * (positives + 1) / 2
    return known[pairs > 0], wins[pairs > 0] / pairs[pairs > 0], size[pairs > 0].astype(float)


def _places(requests: np.ndarray) -> np.ndarray:
    """1, 2, ... inside each run of equal requests."""
    index = np.arange(len(requests))
    first = np.r_[True, requests[1:] != requests[:-1]][: len(requests)]
    return index - np.maximum.accumulate(np.where(first, index, 0)) + 1


def _among(requests: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Ranks made anew, without gaps, inside each request."""
    order = np.lexsort((ranks, requests))
    made = np.empty(len(order), np.int64)
    made[order] = _places(requests[order])
    return made
