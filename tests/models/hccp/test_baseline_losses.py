"""models/hccp/baselines: losses worked by hand; then the same laws for every ranking loss."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.hccp import losses
from models.hccp.baselines import losses as baseline_losses
from models.hccp.baselines import relaxed_sorting

YES, NO = True, False
PURCHASED, CLICKED, EXPOSED, RANKED, FILTERED, EASY = range(1, 7)


def bools(*rows):
    return tf.constant(rows, tf.bool)


def ints(*rows):
    return tf.constant(rows, tf.int32)


def logs(*rows):
    """Scores by their e^s."""
    return tf.constant(np.log(rows), tf.float32)


def test_multi_positive_softmax_by_hand():
    # e^s = 4, 1, 3 sum to 8, the fourth is padding; positives 4 and 1: ln(8/4) + ln(8/1).
    positives, mask = bools([YES, YES, NO, NO]), bools([YES, YES, YES, NO])
    loss = baseline_losses.multi_positive_softmax(logs([4, 1, 3, 99]), positives, mask)
    np.testing.assert_allclose(loss, [math.log(2) + math.log(8)], 1e-6)


def test_ranker_distillation_by_hand():
    # Clicked (e^s 1) and exposed (2) before the ranked ones (3, then 1), which the ranker ordered; whether the click or
    # the ranker put the first before the second is not known, and the filtered one (9) the ranker never saw.
    loss = baseline_losses.ranker_distillation(
        logs([1, 2, 3, 1, 9]), ints([1, 2, 3, 4, 5]), ints([CLICKED, EXPOSED, RANKED, RANKED, FILTERED]), RANKED
    )
    odds = [3 / 1, 1 / 1, 3 / 2, 1 / 2, 1 / 3]
    np.testing.assert_allclose(loss, [sum(math.log(1 + odd) for odd in odds) / 5], 1e-6)


def test_ranker_list_mle_by_hand():
    # As above: 1 and 2 stand before 3 and 1, not before one another; 3 before 1, which is last; 9 was never seen.
    loss = baseline_losses.ranker_list_mle(
        logs([1, 2, 3, 1, 9]), ints([1, 2, 3, 4, 5]), ints([CLICKED, EXPOSED, RANKED, RANKED, FILTERED]), RANKED
    )
    np.testing.assert_allclose(loss, [(math.log(5 / 1) + math.log(6 / 2) + math.log(4 / 3)) / 4], 1e-6)
    # One tier is a total order: ListMLE's 3, 2, 1 of 6, then 2, 1 of 3, then the last.
    loss = baseline_losses.ranker_list_mle(
        logs([2, 9, 3, 1]), ints([2, 9, 1, 3]), ints([RANKED, 0, RANKED, RANKED]), RANKED
    )
    np.testing.assert_allclose(loss, [(math.log(6 / 3) + math.log(3 / 2)) / 3], 1e-6)


def test_chunk_alignment_by_hand():
    # Chunks of one: d(1,2) = 1 - 1/log2 3, d(2,3) = 1/log2 3 - 1/2, d(1,3) = 2 (1 - 1/2) = 1. e^s = 1, 2, 4.
    scores, ranks, tiers = logs([4, 1, 2, 99]), ints([3, 1, 2, 4]), ints([RANKED, RANKED, RANKED, FILTERED])
    third = 1 / math.log2(3)
    wanted = (1 - third) * math.log(3) + (third - 1 / 2) * math.log(3) + math.log(5)
    np.testing.assert_allclose(
        baseline_losses.chunk_alignment(scores, ranks, tiers, RANKED, 1),
        [wanted / (1 - third + third - 1 / 2 + 1)],
        1e-6,
    )
    # Chunks of two: the first two items before the third, alike.
    loss = baseline_losses.chunk_alignment(scores, ranks, tiers, RANKED, 2)
    np.testing.assert_allclose(loss, [(math.log(5) + math.log(3)) / 2], 1e-6)
    # The first was clicked, the second shown: who put them in this order is not known. Both stand before the third.
    loss = baseline_losses.chunk_alignment(scores, ranks, ints([RANKED, CLICKED, EXPOSED, 0]), RANKED, 1)
    np.testing.assert_allclose(loss, [(math.log(5) + (third - 1 / 2) * math.log(3)) / (1 + third - 1 / 2)], 1e-6)


def test_successor_tutoring_by_hand():
    # Means of the scores: (0 + 2) / 2 = 1 on top, 1 + ln 3 at the bottom: ln(1 + 3).
    scores, top = tf.constant([[0, 2, 1 + math.log(3), 7]], tf.float32), bools([YES, YES, NO, NO])
    loss = baseline_losses.successor_tutoring(scores, top, bools([NO, NO, YES, NO]))
    np.testing.assert_allclose(loss, [math.log(4)], 1e-6)


def test_full_stage_rank_net_by_hand():
    # Exposed (1) before ranked 2, ranked 1 and filtered 1; the two ranked ones before the filtered one.
    loss = baseline_losses.full_stage_rank_net(logs([1, 2, 1, 1, 9]), ints([EXPOSED, RANKED, RANKED, FILTERED, 0]))
    first, second = (math.log(3) + 2 * math.log(2)) / 3, (math.log(3 / 2) + math.log(2)) / 2
    np.testing.assert_allclose(loss, [first + second], 1e-6)


def test_full_stage_lambda_by_hand():
    # Gains 2, 1, 0, so IDCG = 2 + 1/log2 3. The scores rank them 3, 1, 2: discounts 1/2, 1, 1/log2 3.
    scores, tiers, third = logs([1, 4, 2, 9]), ints([EXPOSED, RANKED, FILTERED, 0]), 1 / math.log2(3)
    wanted = (1 / 2) * math.log(5) + 2 * (third - 1 / 2) * math.log(3) + (1 - third) * math.log(3 / 2)
    np.testing.assert_allclose(baseline_losses.full_stage_lambda(scores, tiers), [wanted / (2 + third)], 1e-5)
    # Only the first place counts: IDCG = 2, and the pair (1, 3) changes nothing.
    loss = baseline_losses.full_stage_lambda(scores, tiers, depth=1)
    np.testing.assert_allclose(loss, [(math.log(5) + math.log(3 / 2)) / 2], 1e-5)


def test_neural_sort_by_hand():
    # Two items: place 1 is softmax(s), place 2 softmax(-s). Three at ln 2, 0, -ln 2: sum |s_i - s_j| = 3, 2, 3 ln 2, so
    # place 1 is softmax of (2 - 3, 0 - 2, -2 - 3) ln 2: 1/2, 1/4, 1/32 over 25/32; place 2 of -3, -2, -3: 1, 2, 1.
    sort = relaxed_sorting.neural_sort(logs([3, 1, 99], [2, 1, 1 / 2]), bools([YES, YES, NO], [YES, YES, YES]), 1.0)
    np.testing.assert_allclose(sort[0], [[0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0, 0]], rtol=1e-5)
    np.testing.assert_allclose(
        sort[1], [[0.64, 0.32, 0.04], [0.25, 0.5, 0.25], [0.04, 0.32, 0.64]], rtol=1e-5, atol=1e-6
    )


def test_a_cold_neural_sort_sorts():
    scores = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    sort = relaxed_sorting.neural_sort(scores, np.ones((5, 8), bool), 1e-3)
    np.testing.assert_array_equal(np.argmax(sort, axis=2), np.argsort(-scores, axis=1))


def test_losses_on_a_relaxed_sort_by_hand():
    sort = relaxed_sorting.neural_sort(logs([3, 1, 99]), bools([YES, YES, NO]), 1.0)
    one, both, first = tf.constant([1]), tf.constant([2]), bools([YES, NO, NO])
    survival = relaxed_sorting.survival(sort, one)
    np.testing.assert_allclose(survival, [[0.75, 0.25, 0]], 1e-5)
    np.testing.assert_allclose(relaxed_sorting.relaxed_recall(sort, first, one), [-math.log(3 / 4)], 1e-5)
    np.testing.assert_allclose(relaxed_sorting.relaxed_recall(sort, first, both), [math.log(2)], 1e-5)
    for places, share in (([1, 2, 3], 3 / 4), ([2, 1, 3], 1 / 4)):
        loss = relaxed_sorting.relaxed_order(sort, ints(places), bools([YES, YES, NO]))
        np.testing.assert_allclose(loss, [-math.log(share)], 1e-5)
    # The other item: kept with 1/4, so -ln 3/4 if the ranker would keep it, and nothing if it would not.
    for downstream, wanted in ((1.0, -2 * math.log(3 / 4) / 2), (0.0, -math.log(3 / 4) / 2)):
        loss = relaxed_sorting.cascade_survival(
            survival, first, tf.constant([[1.0, downstream, 1.0]]), bools([YES, YES, NO])
        )
        np.testing.assert_allclose(loss, [wanted], 1e-5)


# --- the laws, for every loss on the same hybrid lists


def exposed(w):
    return (w["tiers"] > 0) & (w["tiers"] <= EXPOSED)


def ordered(w):
    return (w["tiers"] > 0) & (w["tiers"] <= RANKED)


def sort(w, s):
    return relaxed_sorting.neural_sort(s, w["tiers"] > 0, 9.0)


def kept(w):
    return tf.constant(ordered(w).sum(axis=1), tf.int32)


def positive(w):
    return (w["tiers"] > 0) & (w["tiers"] <= CLICKED)


LOSSES = {
    "response": lambda w, s: losses.response(s, s, positive(w), w["tiers"] == PURCHASED, exposed(w)),
    "list_mle": lambda w, s: losses.list_mle(s, w["ranks"], w["tiers"] > 0, ordered(w)),
    "margin_info_nce": lambda w, s: losses.margin_info_nce(
        s, positive(w), w["tiers"] > CLICKED, tf.ones_like(s), 0 * s[:, :1], tf.ones((s.shape[0], 1), bool)
    ),
    "multi_positive_softmax": lambda w, s: baseline_losses.multi_positive_softmax(s, exposed(w), w["tiers"] > 0),
    "ranker_distillation": lambda w, s: baseline_losses.ranker_distillation(s, w["ranks"], w["tiers"], RANKED),
    "ranker_list_mle": lambda w, s: baseline_losses.ranker_list_mle(s, w["ranks"], w["tiers"], RANKED),
    "chunk_alignment": lambda w, s: baseline_losses.chunk_alignment(s, w["ranks"], w["tiers"], RANKED, 2),
    "successor_tutoring": lambda w, s: baseline_losses.successor_tutoring(s, exposed(w), w["tiers"] == RANKED),
    "full_stage_rank_net": lambda w, s: baseline_losses.full_stage_rank_net(s, w["tiers"]),
    "full_stage_lambda": lambda w, s: baseline_losses.full_stage_lambda(s, w["tiers"], 3),
    "relaxed_recall": lambda w, s: relaxed_sorting.relaxed_recall(sort(w, s), exposed(w), kept(w)),
    "relaxed_order": lambda w, s: relaxed_sorting.relaxed_order(
        sort(w, s), baseline_losses.places(w["ranks"], w["tiers"] > 0), ordered(w)
    ),
    "cascade_survival": lambda w, s: relaxed_sorting.cascade_survival(
        relaxed_sorting.survival(sort(w, s), kept(w)), exposed(w), tf.ones_like(s), w["tiers"] > 0
    ),
}


def world(seed, B=6, C=10):
    """Hybrid lists with padding, in the teacher's order: the first whole, the second all filtered, the third empty."""
    draw = np.random.default_rng(seed)
    tiers = np.sort(draw.integers(PURCHASED, FILTERED + 1, (B, C)), axis=1)
    tiers[0] = [PURCHASED, CLICKED, *[EXPOSED] * 2, *[RANKED] * 3, *[FILTERED] * 3]
    tiers[1], lengths = FILTERED, np.array([C, C, 0, *draw.integers(1, C + 1, B - 3)])
    tiers = np.where(np.arange(C) < lengths[:, None], tiers, 0).astype("int32")
    return {
        "tiers": tiers,
        "ranks": np.where(tiers > 0, np.arange(1, C + 1), 0).astype("int32"),
        "scores": draw.normal(0, 2, (B, C)).astype("float32"),
    }


@pytest.mark.parametrize("name", LOSSES)
def test_order_and_padding_do_not_matter(name):
    w, shuffled = world(1), np.random.default_rng(2).permutation(10)
    wanted = LOSSES[name](w, w["scores"])
    assert wanted.shape == (6,)
    moved = {key: array[:, shuffled] for key, array in w.items()}
    np.testing.assert_allclose(LOSSES[name](moved, moved["scores"]), wanted, rtol=1e-5, atol=1e-6)
    filled = np.where(w["tiers"] > 0, w["scores"], 1e6).astype("float32")
    np.testing.assert_allclose(LOSSES[name](w, filled), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_zero_for_a_request_without_what_it_needs(name):
    w = world(1)
    loss = LOSSES[name](w, w["scores"]).numpy()
    assert loss[0] > 0
    np.testing.assert_array_equal(loss[1:3], 0.0)  # all filtered, and empty


@pytest.mark.parametrize("name", LOSSES)
def test_the_right_order_costs_less_and_gradients_stay_finite(name):
    w = world(3)
    right = np.where(w["tiers"] > 0, 5.5 - w["ranks"], 1e6).astype("float32")
    assert LOSSES[name](w, right)[0] < LOSSES[name](w, -right)[0]
    for scale in (0.0, 1.0, 30.0):  # all alike, near, far
        scores = tf.Variable(-scale * right)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(LOSSES[name](w, scores))
        gradient = tape.gradient(total, scores).numpy()
        assert np.isfinite(total)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[w["tiers"] == 0], 0.0)
