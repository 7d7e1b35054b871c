"""Losses of the retrieval towers: pure functions, one value per row; weights and means belong to the caller.

Shapes: T target rows, N pool of negatives, X exposed rows, D dimensions. Logits are cosines over the temperature.
Marks: [P] IncRec's own claim (arXiv 2512.06381), [R] a reader's account of it, [D] decided here.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_NEVER = -1e9


def log_expected_count(sampling_probability_N, in_batch_draws, uniform_draws, catalogue_size):
    """log of how often the pool is expected to hold each item, [N]: log(n_b f_C + n_u / V).

    The pool is a mixture [D]: n_b in-batch draws, each item C with probability f_C, and n_u uniform draws of V items.
    One correction for both sources (the balance heuristic of multiple importance sampling, Veach and Guibas 1995)
    keeps the pool's sum an unbiased estimate of the catalogue's; with n_u = 0 it is the logQ correction of
    Yi et al. 2019 but for a constant.
    """
    in_batch = tf.cast(in_batch_draws, tf.float32) * sampling_probability_N
    uniform = tf.cast(uniform_draws, tf.float32) / tf.cast(catalogue_size, tf.float32)
    return tf.math.log(in_batch + uniform)


def sampled_softmax(positive_T, negatives_TN, log_count_TN, excluded_TN):
    """Cross-entropy of each row's positive against its negatives, logQ-corrected, [T].

        - log  e^{s_p} / ( e^{s_p} + sum_{j not excluded} e^{s_j - log_count_j} )

    The form of each of IncRec's three terms [R]. Dividing each negative by its expected count makes the sum an
    estimate of the sum over the whole catalogue, so this estimates the full softmax's cross-entropy. The positive is
    always there: no correction [D].

    Args:
        positive_T: logits of the positives.
        negatives_TN: logits of the pool.
        log_count_TN: log of each pool entry's expected count (0 for one put there on purpose); broadcasts.
        excluded_TN: bool, entries that are no negatives of the row.
    """
    corrected_TN = tf.where(excluded_TN, _NEVER, negatives_TN - log_count_TN)
    return tf.reduce_logsumexp(tf.concat([positive_T[:, None], corrected_TN], axis=1), axis=1) - positive_T


def nearest_exposed(items_TD, exposed_XD, allowed_TX):
    """e*: for each item the index of the most similar exposed row among those allowed, int64 [T] [R].

    Without any allowed row the index is 0 and means nothing.
    """
    similarity_TX = tf.matmul(tf.stop_gradient(items_TD), tf.stop_gradient(exposed_XD), transpose_b=True)
    return tf.argmax(tf.where(allowed_TX, similarity_TX, _NEVER), axis=1)


def smooth(z_T, threshold):
    """sigmoid(z - threshold), [T]."""
    return tf.sigmoid(z_T - threshold)


def clipped_line(z_T, threshold):
    """0 up to one deviation below the threshold, 1 from one above it, a line between, [T]."""
    return tf.clip_by_value((z_T - threshold + 1) / 2, 0.0, 1.0)


def step(z_T, threshold):
    """1 above the threshold, else 0, [T]."""
    return tf.cast(z_T > threshold, tf.float32)


class AlphaForm(NamedTuple):
    """How alpha is made: what it follows, and how it rises with that.

    signal: `affinity`, s(u_align, v_e*); or, as controls, `popularity`, log f_C of the ITG item, and `chance`.
    shape: (z_T, threshold) -> [T], from 0 to 1; z is the signal standardised.
    """

    signal: str
    shape: Callable[[tf.Tensor, float], tf.Tensor]


ALPHA_FORMS: dict[str, AlphaForm] = {
    "sigmoid": AlphaForm("affinity", smooth),
    "linear": AlphaForm("affinity", clipped_line),
    "step": AlphaForm("affinity", step),
    "random": AlphaForm("chance", smooth),
    "popularity": AlphaForm("popularity", smooth),
}


def alignment_weights(signal_T, has_exposed_T, shape=smooth, threshold=0.0):
    """alpha, the weight of each ITG row, [T]: the shape of its z-scored signal, scaled to mean 1.

    That alpha rises with s(u_align, v_e*), no gradient passing, is [R]; scores, shapes, threshold and scale are [D].
    Rows without an exposed item have 1 and do not count in mean and deviation. Where the shape gives every row 0 all
    have 1. (The sigmoid of raw cosines is nearly constant.)

    Args:
        signal_T: what alpha follows, as an `AlphaForm` says.
        has_exposed_T: bool, whether the row has an e*.
        shape: of an `AlphaForm`.
        threshold: where the shape rises, in deviations above the mean of the signal.
    """
    there_T = tf.cast(has_exposed_T, tf.float32)
    count = tf.maximum(tf.reduce_sum(there_T), 1.0)
    raw_T = shape(standardised(tf.stop_gradient(signal_T), there_T), threshold)
    mean = tf.reduce_sum(raw_T * there_T) / count
    return tf.where(has_exposed_T & (mean > 0), tf.math.divide_no_nan(raw_T, mean), 1.0)


def exposure_chances(scores_T, exposed_X, same_TX):
    """sigmoid(s_i - mean_e s_e), e drawn of the request's exposed items: the chance against an average one, [T] [D].

    After Bradley and Terry (1952), of logits s of u_align, no gradient passing. Not scaled: where the downstream would
    show nothing, nothing counts. Rows whose request has no exposed item have 1, as alpha of the request's [R].

    Args:
        scores_T: logits of the ITG items, by u_align.
        exposed_X: the same of exposed items, each in its own request.
        same_TX: bool, the exposed item is of the row's request.
    """
    there_TX = tf.cast(same_TX, tf.float32)
    mean_T = tf.math.divide_no_nan(tf.linalg.matvec(there_TX, exposed_X), tf.reduce_sum(there_TX, axis=1))
    return tf.where(tf.reduce_any(same_TX, axis=1), tf.sigmoid(tf.stop_gradient(scores_T - mean_T)), 1.0)


def standardised(values_T, weights_T=None):
    """(value - mean) / deviation, [T]; rows of weight 0 count in neither."""
    weights_T = tf.ones_like(values_T) if weights_T is None else weights_T
    centred_T = values_T - weighted_mean(values_T, weights_T)
    return centred_T / (tf.sqrt(weighted_mean(tf.square(centred_T), weights_T)) + 1e-6)


def weighted_mean(losses_T, weights_T=None):
    """sum(w l) / sum(w), the plain mean without weights; 0 for no rows."""
    weights_T = tf.ones_like(losses_T) if weights_T is None else weights_T
    return tf.math.divide_no_nan(tf.reduce_sum(weights_T * losses_T), tf.reduce_sum(weights_T))
