"""models/evaluation/ranking_metrics.py: counted by hand, against loops over seeds, and the laws of any fair metric."""

import math

import numpy as np
import pytest

from models.evaluation import ranking_metrics as rm
from models.hashing import keyed_hash

A = np.array


def test_ranks_by_hand():
    requests, items, scores = A([1, 0, 1, 0, 1]), A([7, 5, 8, 6, 9]), A([0.2, 1.0, 0.9, -3.0, 0.5])
    assert rm.rank(requests, items, scores).tolist() == [3, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="1 of 5 scores"):
        rm.rank(requests, items, A([0, 1, np.nan, 2, 3]))


def test_hits_by_hand():
    assert rm.hits(A([1, 10, 11]), 10).tolist() == [True, True, False]


def test_ndcg_by_hand():
    # The teacher's order a, b, c (logged at places 2, 5, 9); ours c, a, b. Discounts 1, d = 1/log2(3), 1/2.
    d = 1 / math.log2(3)
    got = rm.ndcg(A([3, 3, 3]), A([40, 70, 12]), A([2, 5, 9]))
    assert got.tolist() == pytest.approx([(1 * d + d * 0.5 + 0.5 * 1) / (1 + d * d + 0.25)])
    assert rm.ndcg(A([0, 0]), A([1, 2]), A([1, 2])).tolist() == pytest.approx([1.0])


def test_auc_by_hand():
    # Positives .9 and .4 against negatives .4 and .1: .9 is above both, .4 above .1 and level with .4.
    assert rm.shares_below(A([0.9, 0.4, 0.4, 0.1]), A([True, True, False, False])).tolist() == [1.0, 0.75]
    assert np.isnan(rm.shares_below(A([0.9, 0.4]), A([True, True]))).all()
    assert rm.shares_below(A([0.9, 0.4]), A([False, False])).tolist() == []
    # Request 0 as above, request 1 has no negative, request 2 has its pair the wrong way round.
    _, values, weights = rm.grouped_auc(
        A([0, 0, 0, 0, 1, 2, 2]), A([0.9, 0.4, 0.4, 0.1, 1, 0, 1]), A([1, 1, 0, 0, 1, 1, 0]).astype(bool)
    )
    assert values.tolist() == [3.5 / 4, 0]
    assert weights.tolist() == [4, 2]
    assert rm.grouped_auc(A([]), A([]), A([]))[0].tolist() == []


def chunk(seed, requests=6, most=12):
    """A flat chunk with ties: requests, item ids, scores, positives."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, most, requests)
    whose = np.repeat(np.arange(requests), sizes)
    items = np.concatenate([draw.permutation(1000)[:size] for size in sizes])
    return whose, items, draw.integers(0, 4, len(whose)) / 2, draw.random(len(whose)) < 0.4


@pytest.mark.parametrize("seed", range(10))
def test_against_loops(seed):
    whose, items, scores, positive = chunk(seed)
    ranks = rm.rank(whose, items, scores)
    for request in set(whose):
        inside = np.flatnonzero(whose == request)
        assert sorted(ranks[inside]) == list(range(1, len(inside) + 1))
        assert all(ranks[i] < ranks[j] for i in inside for j in inside if scores[i] > scores[j])
    whole, values, sizes = [], [], []
    for request in range(6):
        inside = np.flatnonzero(whose == request)
        pairs = [(scores[i], scores[j]) for i in inside for j in inside if positive[i] and not positive[j]]
        if pairs:
            values.append(np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs]))
            sizes.append(len(inside))
            whole.append(request)
    got = rm.grouped_auc(whose, scores, positive)
    assert got[0].tolist() == whole
    assert got[1].tolist() == pytest.approx(values)
    assert got[2].tolist() == sizes


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_candidates_does_not_matter(seed):
    whose, items, scores, positive = chunk(seed)
    teacher = rm.rank(whose, items, np.sin(items))
    moved = np.random.default_rng(seed).permutation(len(whose))
    ranks = rm.rank(whose, items, scores)
    again = rm.rank(whose[moved], items[moved], scores[moved])
    assert ranks[moved].tolist() == again.tolist()
    np.testing.assert_allclose(rm.ndcg(whose, ranks, teacher), rm.ndcg(whose[moved], again, teacher[moved]))
    for one, other in zip(
        rm.grouped_auc(whose, scores, positive),
        rm.grouped_auc(whose[moved], scores[moved], positive[moved]),
        strict=True,
    ):
        np.testing.assert_allclose(one, other)


def test_chance_is_what_theory_says():
    # 4,000 requests of 60 candidates, one target each: k/60, and a standard error below .008.
    whose = np.repeat(np.arange(4000), 60)
    items = np.tile(np.arange(60), 4000) + whose
    target = np.tile(np.arange(60) == 0, 4000)
    for scores in (np.zeros(len(whose)), keyed_hash(1, whose, items).astype(float)):
        ranks = rm.rank(whose, items, scores)[target]
        for k in (1, 10, 30):
            assert rm.hits(ranks, k).mean() == pytest.approx(k / 60, abs=0.03)
    hashed = keyed_hash(2, whose, items).astype(float)
    assert rm.shares_below(hashed, target).mean() == pytest.approx(0.5, abs=0.03)
    assert rm.shares_below(np.zeros(len(whose)), target).mean() == 0.5


def test_the_hash_is_fixed():
    assert keyed_hash(0, A([0])).tolist() == [0xE220A8397B1DCDAF]  # splitmix64's first output for seed 0
    assert len(set(keyed_hash(0, np.arange(100_000)).tolist())) == 100_000
