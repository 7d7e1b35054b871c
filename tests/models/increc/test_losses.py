"""Every loss of the retrieval towers: worked values, and the laws that sampling must obey."""

import math

import models  # noqa: F401 isort: skip
import numpy as np
import pytest
import tensorflow as tf

from models.increc.losses import (
    alignment_weights,
    clipped_line,
    exposure_chances,
    log_expected_count,
    nearest_exposed,
    sampled_softmax,
    smooth,
    standardised,
    step,
    weighted_mean,
)


def floats(*values):
    return tf.constant(values, tf.float32)


def test_sampled_softmax_worked_by_hand():
    # e^s: positive 2, negatives 3 and 5, the third excluded; expected counts 1 and 2.
    # loss = -log(2 / (2 + 3/1 + 5/2)) = log(7.5 / 2)
    loss = sampled_softmax(
        floats(math.log(2)),
        tf.math.log([[3.0, 5.0, 100.0]]),
        tf.math.log([1.0, 2.0, 1.0]),
        tf.constant([[False, False, True]]),
    )
    assert loss.numpy() == pytest.approx([math.log(7.5 / 2)], rel=1e-6)


def test_a_row_without_negatives_costs_nothing():
    loss = sampled_softmax(floats(0.3), tf.zeros((1, 2)), 0.0, tf.constant([[True, True]]))
    assert loss.numpy() == pytest.approx([0.0], abs=1e-6)


def test_an_explicit_negative_counts_once():
    # e^s: positive 1, one sampled negative 4 that stands for 1/0.5 = 2 items, one explicit negative 3.
    # loss = log((1 + 4 * 2 + 3) / 1)
    loss = sampled_softmax(
        floats(0.0), tf.math.log([[4.0, 3.0]]), tf.math.log([[0.5, 1.0]]), tf.constant([[False, False]])
    )
    assert loss.numpy() == pytest.approx([math.log(12)], rel=1e-6)


def test_permuting_rows_and_pool_permutes_losses():
    random = np.random.default_rng(3)
    positive, negatives = random.normal(size=5).astype("f"), random.normal(size=(5, 7)).astype("f")
    count, excluded = random.normal(size=7).astype("f"), random.random((5, 7)) < 0.3
    rows, pool = random.permutation(5), random.permutation(7)
    straight = sampled_softmax(positive, negatives, count, excluded).numpy()
    permuted = sampled_softmax(positive[rows], negatives[rows][:, pool], count[pool], excluded[rows][:, pool]).numpy()
    np.testing.assert_allclose(permuted, straight[rows], rtol=1e-6)


def test_log_expected_count_worked_by_hand():
    # 100 in-batch draws with probability .02, and 50 uniform draws of 200 items: 2 + .25
    assert log_expected_count(floats(0.02), 100, 50, 200).numpy() == pytest.approx([math.log(2.25)])
    # In-batch draws alone: log f_C and a constant, the usual logQ.
    one, other = log_expected_count(floats(0.5, 0.125), 8, 0, 200).numpy()
    assert one - other == pytest.approx(math.log(0.5) - math.log(0.125))


def sampled_gradient(sign: float, pools: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """The user vector's gradient by the full softmax, and its mean over sampled pools with logQ of this sign.

    30 items of Zipf popularity; the positive is item 4; 400 in-batch draws by popularity and 400 uniform ones.
    """
    random = np.random.default_rng(11)
    item_CD = random.normal(size=(30, 6)).astype("f")
    item_CD /= np.linalg.norm(item_CD, axis=1, keepdims=True)
    user_D, positive, temperature = item_CD[4] * 0.5 + item_CD[0] * 0.5, 4, 0.4
    popularity = 1 / np.arange(1, 31)
    popularity /= popularity.sum()
    weights = np.exp(item_CD @ user_D / temperature)
    full = ((weights / weights.sum()) @ item_CD - item_CD[positive]) / temperature
    log_count_C = log_expected_count(tf.constant(popularity, tf.float32), 400, 400, 30).numpy()
    pool = np.concatenate([random.choice(30, (pools, 400), p=popularity), random.integers(0, 30, (pools, 400))], axis=1)
    users = tf.constant(np.tile(user_D, (pools, 1)))
    with tf.GradientTape() as tape:
        tape.watch(users)
        logits = tf.matmul(users, item_CD, transpose_b=True) / temperature
        negatives = tf.gather(logits, pool, batch_dims=1)
        loss = sampled_softmax(logits[:, positive], negatives, sign * log_count_C[pool], pool == positive)
    return full, tape.gradient(loss, users).numpy().mean(axis=0)


def test_logq_gives_the_full_softmax_gradient_and_the_wrong_sign_does_not():
    full, right = sampled_gradient(+1.0)
    _, wrong = sampled_gradient(-1.0)
    _, without = sampled_gradient(0.0)
    scale = np.linalg.norm(full)
    assert np.linalg.norm(right - full) / scale < 0.02
    assert np.linalg.norm(wrong - full) / scale > 0.2
    assert np.linalg.norm(without - full) / scale > 0.1


def test_nearest_exposed_among_those_allowed():
    items = floats([1, 0], [1, 0], [0, 1])
    exposed = floats([1, 0], [0.9, 0.1], [0, 1])
    allowed = tf.constant([[True, True, True], [False, True, True], [True, True, False]])
    # The second item may not take the first exposed one; the third may not take its equal and gets the row with .1.
    assert nearest_exposed(items, exposed, allowed).numpy().tolist() == [0, 1, 1]


def test_alignment_weights_worked_by_hand():
    # Affinities .1 and .3 have mean .2 and deviation .1: z = -1 and 1; sigmoid .26894 and .73106, mean .5.
    weights = alignment_weights(floats(0.1, 0.3, 9.0), tf.constant([True, True, False])).numpy()
    assert weights == pytest.approx([2 * 0.268941, 2 * 0.731059, 1.0], rel=1e-4)


def test_shapes_of_alpha_worked_by_hand():
    z = floats(-2, -0.5, 0, 1.5)
    assert smooth(z, -0.5).numpy() == pytest.approx([0.182426, 0.5, 0.622459, 0.880797], rel=1e-5)
    assert clipped_line(z, 0.0).numpy().tolist() == [0, 0.25, 0.5, 1]
    assert clipped_line(z, 1.0).numpy().tolist() == [0, 0, 0, 0.75]
    assert step(z, 0.0).numpy().tolist() == [0, 0, 0, 1]
    assert step(z, -1.0).numpy().tolist() == [0, 1, 1, 1]


def test_a_threshold_moves_weight_to_the_rows_above_it():
    # z = -1 and 1, the third row has no exposed item. Line at .5: .25 -> 0 below, .75 above, so 0 and 2.
    signal, there = floats(0.1, 0.3, 9.0), tf.constant([True, True, False])
    assert alignment_weights(signal, there, clipped_line, 0.5).numpy() == pytest.approx([0, 2, 1], abs=1e-4)
    assert alignment_weights(signal, there, clipped_line, -0.5).numpy() == pytest.approx([0.4, 1.6, 1], rel=1e-4)
    assert alignment_weights(signal, there, step, 0.0).numpy() == pytest.approx([0, 2, 1])
    assert alignment_weights(signal, there, step, 3.0).numpy().tolist() == [1, 1, 1]  # no row reaches it


def test_exposure_chances_worked_by_hand():
    # Exposed logits 1 and 3 in the first row's request, mean 2; log 3 above it odds are 3 to 1. None in the other's.
    scores, exposed = floats(2 + math.log(3), 5), floats(1, 3, 100)
    same = tf.constant([[True, True, False], [False, False, False]])
    assert exposure_chances(scores, exposed, same).numpy() == pytest.approx([0.75, 1.0], rel=1e-6)
    assert exposure_chances(scores, floats(), tf.zeros((2, 0), tf.bool)).numpy().tolist() == [1, 1]
    with tf.GradientTape() as tape:
        tape.watch([scores, exposed])
        chances = exposure_chances(scores, exposed, same)
    assert tape.gradient(chances, [scores, exposed]) == [None, None]


def test_standardised_worked_by_hand():
    # Mean 2 and deviation 1 of the first two; the third row does not count.
    assert standardised(floats(1, 3, 7), floats(1, 1, 0)).numpy() == pytest.approx([-1, 1, 5], rel=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_alignment_weights_have_mean_one_and_keep_the_order(seed):
    random = np.random.default_rng(seed)
    affinity, there = random.normal(size=40).astype("f"), random.random(40) < random.random()
    weights = alignment_weights(tf.constant(affinity), tf.constant(there)).numpy()
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert (weights[~there] == 1).all()
    assert (np.argsort(weights[there]) == np.argsort(affinity[there])).all()


@pytest.mark.parametrize("shape", [smooth, clipped_line])  # a step has no gradient anyway
def test_no_gradient_passes_through_alpha(shape):
    affinity = floats(0.1, 0.2, 0.9)
    with tf.GradientTape() as tape:
        tape.watch(affinity)
        total = tf.reduce_sum(alignment_weights(affinity, tf.constant([True, True, True]), shape) * [1.0, 2.0, 3.0])
    assert tape.gradient(total, affinity) is None


def test_weighted_mean():
    assert float(weighted_mean(floats(1, 4))) == 2.5
    assert float(weighted_mean(floats(1, 4), floats(3, 1))) == 7 / 4
    assert float(weighted_mean(floats())) == 0
