"""IncRec's loss terms over the vectors of one batch, and what is measured beside them.

Settings are `IncRecSettings`, a batch is one of `increc_inputs.SIGNATURE`. Marks: [P] the paper's own claim (arXiv
2512.06381), [R] a reader's account, [D] decided here.
Shapes: B requests, T target rows, X exposed rows, N pool of negatives, D dimensions.
"""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from models.increc.losses import (
    ALPHA_FORMS,
    alignment_weights,
    exposure_chances,
    log_expected_count,
    nearest_exposed,
    sampled_softmax,
    standardised,
    weighted_mean,
)
from models.increc.settings import IncRecSettings

Batch = Mapping[str, tf.Tensor]
Terms = dict[str, tf.Tensor]


class Vectors(NamedTuple):
    """What the terms share: unit vectors, and the pool's correction.

    users: [B, D] by tower. pool: [N, D] by tower, a copy for each. exposed: [X, D]. log_count: of `log_count`, [N].
    """

    users: Mapping[str, tf.Tensor]
    pool: Mapping[str, tf.Tensor]
    exposed: tf.Tensor
    log_count: tf.Tensor


def basic(settings: IncRecSettings, batch: Batch, vectors: Vectors) -> Terms:
    """L_basic: RTG and ITG rows against N [R]; their weights are ours [D]."""
    itg_T = batch["target_is_itg"]
    weights_T = tf.where(itg_T, settings.itg_weight, settings.rtg_weight)
    excluded_TN = _excluded(settings, batch, batch["target_requests"], itg_T)
    positive_T, logits_TN = _logits(settings, vectors, "basic", batch["target_requests"], batch["target_slots"])
    losses_T = sampled_softmax(positive_T, logits_TN, vectors.log_count, excluded_TN)
    return {"loss_basic": weighted_mean(losses_T, weights_T)}


def incremental(settings: IncRecSettings, batch: Batch, vectors: Vectors) -> Terms:
    """L_inc: ITG rows against N and the request's RTG items, weighted by alpha [R].

    The score is that of u_inc [R], or as a residual sg(u_basic v) + w u_inc v, sg passing no gradient [D].
    `rtg_share_of_loss_inc` is the share of L_inc, alpha included, that is there because RTG items are negatives.
    """
    itg_T = batch["target_is_itg"]
    requests_T, slots_T = batch["target_requests"][itg_T], batch["target_slots"][itg_T]
    positive_T, logits_TN = _logits(settings, vectors, "inc", requests_T, slots_T)
    if settings.residual:
        basic_T, basic_TN = map(tf.stop_gradient, _logits(settings, vectors, "basic", requests_T, slots_T))
        weight = settings.residual_weight
        positive_T, logits_TN = basic_T + weight * positive_T, basic_TN + weight * logits_TN
    own_TN = _excluded(settings, batch, requests_T, tf.ones_like(requests_T, tf.bool))
    losses_T = without_T = sampled_softmax(positive_T, logits_TN, vectors.log_count, own_TN)
    if settings.rtg_negatives:
        rtg_TN = tf.gather(batch["own_rtg"], requests_T)
        log_count_TN = tf.where(rtg_TN, 0.0, vectors.log_count)  # there on purpose: each counts once
        losses_T = sampled_softmax(positive_T, logits_TN, log_count_TN, own_TN & ~rtg_TN)
    alpha_T, measured = tf.ones_like(losses_T), {}
    if settings.alpha == "exposure":
        alpha_T, measured = exposure(settings, batch, vectors)
    elif settings.alpha != "none":
        alpha_T, measured = alpha(settings, batch, vectors)
    more = tf.reduce_sum(alpha_T * (losses_T - without_T))
    measured["rtg_share_of_loss_inc"] = tf.math.divide_no_nan(more, tf.reduce_sum(alpha_T * losses_T))
    return {"loss_inc": weighted_mean(alpha_T * losses_T)} | measured


def alignment(settings: IncRecSettings, batch: Batch, vectors: Vectors) -> Terms:
    """L_align: ETG rows against N [R]."""
    requests_X = batch["exposed_requests"][batch["exposed_drawn"]]
    u_XD, v_XD = tf.gather(vectors.users["align"], requests_X), vectors.exposed[batch["exposed_drawn"]]
    positive_X = tf.reduce_sum(u_XD * v_XD, axis=1) / settings.temperature
    logits_XN = tf.matmul(u_XD, vectors.pool["align"], transpose_b=True) / settings.temperature
    excluded_XN = tf.gather(batch["own"], requests_X)
    return {"loss_align": weighted_mean(sampled_softmax(positive_X, logits_XN, vectors.log_count, excluded_XN))}


def alpha(settings: IncRecSettings, batch: Batch, vectors: Vectors) -> tuple[tf.Tensor, Terms]:
    """alpha_T of the ITG rows, from s(u_align, v_e*) [R] or from a control that it is compared with [D].

    e* is looked for among all exposed items of the request [R], where an item of a request without any has alpha 1; or
    among the batch's drawn ones [D], which serve such a request too. Beside it, alpha's deviation from 1 and its
    correlation with log f_C of the item.
    """
    itg_T = batch["target_is_itg"]
    requests_T, slots_T = batch["target_requests"][itg_T], batch["target_slots"][itg_T]
    same_TX = requests_T[:, None] == batch["exposed_requests"]
    allowed_TX = same_TX if settings.alpha == "request" else tf.ones_like(same_TX)
    items_TD = tf.gather(vectors.pool["align"], slots_T)
    padded_XD = tf.pad(vectors.exposed, [[0, 1], [0, 0]])  # so that row 0 exists
    nearest_TD = tf.gather(padded_XD, nearest_exposed(items_TD, padded_XD, tf.pad(allowed_TX, [[0, 0], [0, 1]])))
    signals = {
        "affinity": tf.reduce_sum(tf.gather(vectors.users["align"], requests_T) * nearest_TD, axis=1),
        "popularity": tf.math.log(tf.gather(batch["pool_probabilities"], slots_T)),
        "chance": batch["target_chances"][itg_T],
    }
    form, has_T = ALPHA_FORMS[settings.alpha_form], tf.reduce_any(allowed_TX, axis=1)
    alpha_T = alignment_weights(signals[form.signal], has_T, form.shape, settings.alpha_threshold)
    together_T = standardised(alpha_T) * standardised(signals["popularity"])
    return alpha_T, {
        "alpha_deviation": tf.sqrt(weighted_mean(tf.square(alpha_T - 1.0))),
        "alpha_popularity_correlation": weighted_mean(together_T),
    }


def exposure(settings: IncRecSettings, batch: Batch, vectors: Vectors) -> tuple[tf.Tensor, Terms]:
    """The chance of being exposed, by u_align, as the weights of the ITG rows [D], [T]; beside them their mean."""
    itg_T = batch["target_is_itg"]
    requests_T, slots_T = batch["target_requests"][itg_T], batch["target_slots"][itg_T]
    users_BD, items_TD = vectors.users["align"], tf.gather(vectors.pool["align"], slots_T)
    scores_T = tf.reduce_sum(tf.gather(users_BD, requests_T) * items_TD, axis=1) / settings.temperature
    users_XD = tf.gather(users_BD, batch["exposed_requests"])
    exposed_X = tf.reduce_sum(users_XD * vectors.exposed, axis=1) / settings.temperature
    chances_T = exposure_chances(scores_T, exposed_X, requests_T[:, None] == batch["exposed_requests"])
    return chances_T, {"exposure_chance": weighted_mean(chances_T)}


def log_count(settings: IncRecSettings, batch: Batch, catalogue_size: int) -> tf.Tensor:
    """log of the pool's expected count per draw, [N]: an item drawn twice stands in the pool twice."""
    again_N = tf.math.log(batch["pool_draws"])
    if not settings.logq:
        return -again_N
    in_batch, uniform = tf.size(batch["target_slots"]), settings.uniform_negatives
    return log_expected_count(batch["pool_probabilities"], in_batch, uniform, catalogue_size) - again_N


def _excluded(settings, batch, requests_T, itg_T):
    """What is no negative of a row, [T, N]: the request's own items, of ITG rows also retrieved ones if masked."""
    own_TN = tf.gather(batch["own"], requests_T)
    if not settings.mask_retrieved:
        return own_TN
    return own_TN | (tf.gather(batch["retrieved"], requests_T) & itg_T[:, None])


def _logits(settings, vectors, tower, requests_T, slots_T):
    """A tower's logits of target rows' positives [T] and of the pool [T, N]."""
    u_TD = tf.gather(vectors.users[tower], requests_T)
    logits_TN = tf.matmul(u_TD, vectors.pool[tower], transpose_b=True) / settings.temperature
    return tf.gather(logits_TN, slots_T, batch_dims=1), logits_TN
