"""Losses of the retrieval towers: pure functions, one value per row; weights and means belong to the caller.

Shapes: T target rows, P pool of negatives, X exposed rows, D dimensions. Logits are cosines over the temperature.
"""

import tensorflow as tf

_NEVER = -1e9


def log_expected_count(sampling_probability_P, in_batch_draws, uniform_draws, catalogue_size):
    """log of how often the pool is expected to hold each item, [P]: log(n_b f_C + n_u / V).

    The pool is a mixture: n_b in-batch draws, each item C with probability f_C, and n_u uniform draws of V items.
    One correction for both sources (the balance heuristic of multiple importance sampling, Veach and Guibas 1995)
    keeps the pool's sum an unbiased estimate of the catalogue's; with n_u = 0 it is the logQ correction of
    Yi et al. 2019 but for a constant.
    """
    in_batch = tf.cast(in_batch_draws, tf.float32) * sampling_probability_P
    uniform = tf.cast(uniform_draws, tf.float32) / tf.cast(catalogue_size, tf.float32)
    return tf.math.log(in_batch + uniform)


def sampled_softmax(positive_T, negatives_TP, log_count_TP, excluded_TP):
    """Cross-entropy of each row's positive against its negatives, logQ-corrected, [T].

        - log  e^{s_p} / ( e^{s_p} + sum_{j not excluded} e^{s_j - log_count_j} )

    Dividing each negative by its expected count makes the sum an estimate of the sum over the whole catalogue,
    so this estimates the full softmax's cross-entropy. The positive is always there: no correction.

    Args:
        positive_T: logits of the positives.
        negatives_TP: logits of the pool.
        log_count_TP: log of each pool entry's expected count (0 for one put there on purpose); broadcasts.
        excluded_TP: bool, entries that are no negatives of the row.
    """
    corrected_TP = tf.where(excluded_TP, _NEVER, negatives_TP - log_count_TP)
    return tf.reduce_logsumexp(tf.concat([positive_T[:, None], corrected_TP], axis=1), axis=1) - positive_T


def nearest_exposed(items_TD, exposed_XD, allowed_TX):
    """e*: for each item the index of the most similar exposed row among those allowed, int64 [T], after IncRec.

    Without any allowed row the index is 0 and means nothing.
    """
    similarity_TX = tf.matmul(tf.stop_gradient(items_TD), tf.stop_gradient(exposed_XD), transpose_b=True)
    return tf.argmax(tf.where(allowed_TX, similarity_TX, _NEVER), axis=1)


def alignment_weights(affinity_T, has_exposed_T):
    """alpha, the weight of each ITG row by how much its user's alignment tower likes e*, [T], after IncRec.

    sigmoid of the z-scored affinity over the rows that have an exposed item, scaled to mean 1 over them; 1 for
    the other rows, so the mean over all is 1. No gradient passes. (The sigmoid of raw cosines is nearly constant.)

    Args:
        affinity_T: s(u_align, v_e*).
        has_exposed_T: bool, whether the row has an e*.
    """
    there_T = tf.cast(has_exposed_T, tf.float32)
    count = tf.maximum(tf.reduce_sum(there_T), 1.0)
    affinity_T = tf.stop_gradient(affinity_T)
    mean = tf.reduce_sum(affinity_T * there_T) / count
    deviation = tf.sqrt(tf.reduce_sum(tf.square(affinity_T - mean) * there_T) / count)
    raw_T = tf.sigmoid((affinity_T - mean) / (deviation + 1e-6))
    scaled_T = raw_T / (tf.reduce_sum(raw_T * there_T) / count + 1e-12)
    return tf.where(has_exposed_T, scaled_T, 1.0)


def weighted_mean(losses_T, weights_T=None):
    """sum(w l) / sum(w), the plain mean without weights; 0 for no rows."""
    weights_T = tf.ones_like(losses_T) if weights_T is None else weights_T
    return tf.math.divide_no_nan(tf.reduce_sum(weights_T * losses_T), tf.reduce_sum(weights_T))
