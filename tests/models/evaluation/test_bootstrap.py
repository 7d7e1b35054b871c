"""bootstrap.py: two requests by hand, what identical variants give, and how often the truth is inside."""

import numpy as np
import pytest

from models.evaluation.bootstrap import Sums, differences, resampled


def sums(numerators, denominators=None):
    numerators = np.atleast_2d(np.array(numerators, float).T).T
    denominators = (
        np.ones_like(numerators) if denominators is None else np.atleast_2d(np.array(denominators, float).T).T
    )
    return Sums(numerators, denominators)


def test_two_requests_by_hand():
    # Hit and miss against miss and miss. A draw has the first twice (1/4), once (1/2) or never (1/4): 1, .5 or 0.
    variants = {"new": sums([1, 0]), "old": sums([0, 0])}
    wide, narrow = (differences(variants, "old", draws=4000, level=level)["new"] for level in (0.95, 0.4))
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)
    assert not wide.excludes_zero
    assert narrow.excludes_zero


def test_a_ratio_of_sums_and_not_a_mean_of_ratios():
    # 1 of 1 and 1 of 3: 2/4, where the mean of the ratios would be 2/3; the other has 0 of 1 and 1 of 3.
    found = differences({"new": sums([1, 1], [1, 3]), "old": sums([0, 1], [1, 3])}, "old", draws=50)
    assert found["new"].value == pytest.approx(2 / 4 - 1 / 4)


def test_seeds_are_averaged_and_need_not_be_as_many():
    # Seed 1 hits both, seed 2 hits one: (1 + 1/2) / 2; the other has one seed, which hits one.
    found = differences({"new": sums([[1, 1], [1, 0]]), "old": sums([1, 0])}, "old", draws=50)
    assert found["new"].value == pytest.approx(0.75 - 0.5)


def test_identical_variants_have_no_width():
    random = np.random.default_rng(0)
    same = sums(random.integers(0, 2, (300, 3)), random.integers(1, 4, (300, 3)))
    found = differences({"one": same, "other": same}, "other", draws=200)
    assert [(each.value, each.low, each.high) for each in found.values()] == [(0, 0, 0)] * 2


def test_nothing_to_divide_by_is_not_a_number():
    empty = sums([0, 0], [0, 0])
    found = differences({"one": empty, "other": empty}, "other", draws=20)["one"]
    assert np.isnan([found.value, found.low, found.high]).all()
    assert not found.excludes_zero


def test_draws_are_fixed_by_the_seed_and_hold_as_many_requests():
    first, again, other = (np.concatenate([*resampled(7, 100, seed)]) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
    assert (first.sum(axis=1) == 7).all()


def test_pieces_are_one_sample(monkeypatch):
    whole = np.concatenate([*resampled(5, 40, 1)])
    monkeypatch.setattr("models.evaluation.bootstrap._COUNTS_AT_ONCE", 35)
    pieces = [*resampled(5, 40, 1)]
    assert [len(each) for each in pieces] == [7] * 5 + [5]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_the_truth_is_inside_as_often_as_claimed():
    """400 simulated logs of 200 requests with 1 to 3 targets; a request's ease is shared by both variants.

    The chance of a hit is ease * .8 against ease * .6, and ease is .5 on average and independent of the targets:
    the true difference is .1. Of 400 intervals of 95 % the count inside has a standard deviation of 4.4.
    """
    inside, paired, apart = 0, [], []
    for seed in range(400):
        random = np.random.default_rng(seed)
        targets, ease = random.integers(1, 4, 200), random.random(200)
        new, old = (random.binomial(targets, ease * share) for share in (0.8, 0.6))
        found = differences({"new": sums(new, targets), "old": sums(old, targets)}, "old", draws=200, seed=seed)["new"]
        inside += found.low <= 0.1 <= found.high
        paired.append(found.high - found.low)
        mixed = random.permutation(200)
        other = differences(
            {"new": sums(new, targets), "old": sums(old[mixed], targets[mixed])}, "old", draws=200, seed=seed
        )["new"]
        apart.append(other.high - other.low)
    assert 362 <= inside <= 395
    assert np.mean(paired) < 0.9 * np.mean(apart)
