"""jobs/study/neighbours.py: neighbours counted by hand, and what chance gives, exactly and drawn."""

from itertools import permutations

import numpy as np
import pytest

from jobs.study.neighbours import by_chance, dealt_anew, nearest, own_share

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [11.0]])


def test_neighbours_by_hand():
    assert nearest(LINE, 2).tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    assert nearest(LINE, 99).shape == (5, 4)  # all others
    # 0 and 2 are as near to 1: the first comes first, and a point's double is its nearest.
    assert nearest(np.array([[0.0], [1.0], [2.0], [1.0]]), 2).tolist() == [[1, 3], [3, 0], [1, 3], [1, 0]]


def test_the_share_of_the_own_group_by_hand():
    # a at 0, 1 and 3; b at 10 and 11. Of two nearest a's are a's own, b's are the other b and the a at 3.
    groups = np.array(["a", "a", "a", "b", "b"])
    assert own_share(nearest(LINE, 2), groups) == pytest.approx((1 + 1 / 2) / 2)
    assert own_share(nearest(LINE, 1), groups) == 1.0
    assert own_share(nearest(LINE, 1), np.array(["a", "b", "a", "b", "a"])) == 0.0


def test_chance_is_the_mean_over_all_ways_to_deal_the_groups():
    for groups in ("aab", "aaab", "aabbb"):
        near = nearest(LINE[: len(groups)], 2)
        dealt = [own_share(near, np.array(one)) for one in permutations(groups)]
        assert by_chance(np.array([*groups])) == pytest.approx(np.mean(dealt))
    assert by_chance(np.array([*"aab"])) == pytest.approx((1 / 2 + 0) / 2)  # of an a's two others one is a


def test_groups_that_mean_nothing_stand_where_chance_puts_them():
    inside = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        points, groups = random.normal(size=(120, 3)), random.permutation(np.repeat(["a", "b"], [90, 30]))
        near = nearest(points)
        low, high = dealt_anew(near, groups, np.zeros(120), seed=seed)
        assert low < by_chance(groups) < high
        inside += low <= own_share(near, groups) <= high
    assert 34 <= inside <= 40  # of 40 at 95 %: 38, with a standard deviation of 1.4


def test_what_the_stratum_sets_apart_counts_as_chance():
    """Two places far apart, each of one group but for three points anywhere in it; the stratum is the place."""
    inside, place = 0, np.repeat([0.0, 100.0], 40)
    for seed in range(20):
        random = np.random.default_rng(seed)
        points, groups = place[:, None] + random.normal(size=(80, 2)), np.repeat(["a", "b"], 40)
        groups[[0, 1, 2, 40, 41, 42]] = ["b", "b", "b", "a", "a", "a"]
        near = nearest(points)
        share = own_share(near, groups)
        assert dealt_anew(near, groups, np.zeros(80), seed=seed)[1] < 0.6 < 0.8 < share
        low, high = dealt_anew(near, groups, place, seed=seed)
        inside += low <= share <= high
    assert 16 <= inside <= 20  # at 95 %: 19, with a standard deviation of 1


def test_where_the_stratum_is_the_group_nothing_can_be_dealt_anew():
    groups = np.array([*"aaabb"])
    near = nearest(LINE, 2)
    assert dealt_anew(near, groups, groups) == (0.75, 0.75) == (own_share(near, groups),) * 2


def test_deals_are_fixed_by_their_seed():
    random = np.random.default_rng(1)
    near, groups = nearest(random.normal(size=(50, 2))), np.repeat(["a", "b"], 25)
    strata = np.array(["top", "tail"] * 25, object)
    assert dealt_anew(near, groups, strata, seed=3) == dealt_anew(near, groups, strata, seed=3)
    assert dealt_anew(near, groups, strata, seed=3) != dealt_anew(near, groups, strata, seed=4)
