"""models/hccp/losses.py: values worked by hand, oracles in plain loops, and the laws of each loss."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.hccp import losses as ranking_losses

LN2 = math.log(2)
YES, NO = True, False


def bools(*rows):
    return tf.constant(rows, tf.bool)


def floats(*rows):
    return tf.constant(rows, tf.float32)


def test_response_by_hand():
    # Item 0: logit 0 for both heads: ln 2 each, so 2 ln 2. Item 1: click logit ln 3, clicked: -ln(3/4);
    # purchase logit 0: ln 2. Item 2 is not exposed. Second request: nothing exposed.
    loss = ranking_losses.response(
        floats([0, math.log(3), 50], [1, 1, 1]),
        floats([0, 0, 50], [1, 1, 1]),
        bools([NO, YES, NO], [NO, NO, NO]),
        bools([NO, NO, NO], [NO, NO, NO]),
        bools([YES, YES, NO], [NO, NO, NO]),
    )
    first = (2 * LN2 + math.log(4 / 3) + LN2) / 2
    np.testing.assert_allclose(loss, [first, 0.0], rtol=1e-6)


def test_list_mle_by_hand():
    # Teacher order: item 1 (score ln 2), item 0 (score 0), item 2 (score ln 3); item 3 is padding.
    # P(first) = 2 / (2 + 1 + 3) = 1/3, P(second) = 1 / (1 + 3) = 1/4, P(third) = 1. Mean of ln 3, ln 4, 0.
    scores, ranks = floats([0, math.log(2), math.log(3), 9]), tf.constant([[2, 1, 3, 0]])
    mask = bools([YES, YES, YES, NO])
    np.testing.assert_allclose(ranking_losses.list_mle(scores, ranks, mask), [(math.log(3) + math.log(4)) / 3], 1e-6)
    # Item 2 without a place of its own: still in both denominators, but the mean is over two.
    placed = bools([YES, YES, NO, NO])
    loss = ranking_losses.list_mle(scores, ranks, mask, placed)
    np.testing.assert_allclose(loss, [(math.log(3) + math.log(4)) / 2], 1e-6)
    # Only the head, items 0 and 1, in scope: P(first) = 2 / (2 + 1), P(second) = 1.
    loss = ranking_losses.list_mle(scores, ranks, placed)
    np.testing.assert_allclose(loss, [math.log(3 / 2) / 2], 1e-6)


def test_margin_info_nce_by_hand():
    # Positive e^s = 4. Hard: e^s = 6 with margin ln 2, so 3, and e^s = 1 with margin 0. Easy: 2, and 100 masked.
    scores = floats([math.log(4), math.log(6), 0, 7])
    positives, hard = bools([YES, NO, NO, NO]), bools([NO, YES, YES, NO])
    margins = floats([5, LN2, 0, 5])
    easy, counts = floats([LN2, math.log(100)]), bools([YES, NO])
    loss = ranking_losses.margin_info_nce(scores, positives, hard, margins, easy, counts)
    np.testing.assert_allclose(loss, [math.log((4 + 3 + 1 + 2) / 4)], 1e-6)
    # t = 1/2 squares every e^s: 16 against 9 + 1 + 4; weight 3.
    loss = ranking_losses.margin_info_nce(
        scores, positives, hard, margins, easy, counts, temperature=0.5, weights_BC=floats([3, 1, 1, 1])
    )
    np.testing.assert_allclose(loss, [3 * math.log((16 + 9 + 1 + 4) / 16)], 1e-6)


def world(seed, B=5, C=9, E=4):
    """A batch with padding, as numpy arrays by name."""
    draw = np.random.default_rng(seed)
    mask = np.arange(C) < draw.integers(1, C + 1, B)[:, None]
    ranks = np.argsort(np.argsort(np.where(mask, draw.random((B, C)), 2), axis=1), axis=1) + 1
    kind = draw.integers(0, 3, (B, C))
    return {
        "scores": draw.normal(0, 3, (B, C)).astype("float32"),
        "ranks": ranks.astype("int32"),
        "mask": mask,
        "positives": mask & (kind == 0),
        "hard": mask & (kind == 1),
        "margins": draw.random((B, C)).astype("float32"),
        "easy_scores": draw.normal(0, 3, (B, E)).astype("float32"),
        "easy": draw.random((B, E)) < 0.7,
    }


def info_nce(w, margins=None, temperature=1.0):
    return ranking_losses.margin_info_nce(
        w["scores"], w["positives"], w["hard"], w["margins"] if margins is None else margins,
        w["easy_scores"], w["easy"], temperature,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed):
    w = world(seed)
    placed = w["mask"] & (w["ranks"] <= 4)
    mle = ranking_losses.list_mle(w["scores"], w["ranks"], w["mask"], placed)
    nce, plain = info_nce(w, temperature=0.7), info_nce(w, margins=np.zeros_like(w["margins"]))
    for b in range(len(w["scores"])):
        s, items = w["scores"][b].astype(float), np.flatnonzero(w["mask"][b])
        terms = [
            math.log(sum(math.exp(s[j]) for j in items if w["ranks"][b, j] >= w["ranks"][b, i])) - s[i]
            for i in items
            if placed[b, i]
        ]
        assert float(mle[b]) == pytest.approx(np.mean(terms) if terms else 0, rel=1e-4, abs=1e-5)
        easy = w["easy_scores"][b][w["easy"][b]].astype(float)
        hard = np.flatnonzero(w["hard"][b])
        for got, t, margin in ((nce, 0.7, w["margins"][b]), (plain, 1.0, np.zeros(9))):
            negatives = sum(math.exp((s[h] - margin[h]) / t) for h in hard) + np.exp(easy / t).sum()
            wanted = sum(
                -math.log(math.exp(s[p] / t) / (math.exp(s[p] / t) + negatives))
                for p in np.flatnonzero(w["positives"][b])
            )
            assert float(got[b]) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_order_and_padding_do_not_matter(seed):
    w = world(seed)
    shuffled = np.random.default_rng(seed + 100).permutation(w["scores"].shape[1])
    per_item = ("scores", "ranks", "mask", "positives", "hard", "margins")
    moved = {name: a[:, shuffled] if name in per_item else a for name, a in w.items()}
    filled = w | {"scores": np.where(w["mask"], w["scores"], 1e6).astype("float32")}
    for other in (moved, filled):
        for loss in (lambda w: ranking_losses.list_mle(w["scores"], w["ranks"], w["mask"]), info_nce):
            np.testing.assert_allclose(loss(w), loss(other), rtol=1e-5, atol=1e-6)


def test_a_larger_margin_pushes_less():
    w = world(1)
    losses = [info_nce(w, margins=np.full_like(w["margins"], m)).numpy().sum() for m in (0, 1, 2)]
    assert losses[0] > losses[1] > losses[2]


def test_gradients_stay_finite_for_far_scores_and_empty_requests():
    scores = tf.Variable([[90.0, -90.0, 0.0], [0.0, 0.0, 0.0]])
    mask = bools([YES, YES, NO], [NO, NO, NO])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(
            ranking_losses.list_mle(scores, tf.constant([[2, 1, 3], [1, 2, 3]]), mask)
            + ranking_losses.margin_info_nce(
                scores, ~mask, mask, tf.zeros_like(scores), tf.zeros((2, 1)), bools([NO], [NO])
            )
            + ranking_losses.response(scores, scores, mask, mask, mask)
        )
    gradient = tape.gradient(total, scores)
    assert np.isfinite(gradient).all()
    assert gradient[0, 0] > 0 > gradient[0, 1]
