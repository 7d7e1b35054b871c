"""Losses on a relaxed sort of the scores, NeuralSort (arXiv 1903.08850): ARF and LCRON. One value per request.

B requests, N items of a request (padded), K = N places of the sorted list. What is padded may hold anything. Marks as
in `ranking_losses`; neither ARF's nor LCRON's body was at hand, but the LCRON authors' code of both was [R]. Both
learn the weight of their second term; here it is a setting [D].
"""

import tensorflow as tf

from models.hccp.losses import NOTHING, mean_where

_TINY = 1e-6  # keeps a logarithm finite where a relaxed place is empty


def neural_sort(scores_BN: tf.Tensor, mask_BN: tf.Tensor, temperature: float) -> tf.Tensor:
    """[B, K, N]: how much of each place every item takes; a place's shares sum to 1, an item's nearly do.

        P_k = softmax over i of  ((n + 1 - 2k) s_i - sum_j |s_i - s_j|) / temperature,   n items

    NeuralSort (arXiv 1903.08850) [P]. Colder is nearer to the true sort. Places after the n-th are empty. With n items
    the bracket is about n times the scores' spread, so a temperature near n leaves gradients.
    """
    n_B11 = tf.reshape(tf.reduce_sum(tf.cast(mask_BN, tf.float32), axis=1), (-1, 1, 1))
    gaps_BNN = tf.abs(scores_BN[:, :, None] - scores_BN[:, None])
    far_B1N = tf.reduce_sum(tf.where(mask_BN[:, None], gaps_BNN, 0.0), axis=2)[:, None]
    k_1K1 = tf.range(1, tf.shape(scores_BN)[1] + 1, dtype=tf.float32)[None, :, None]
    logits_BKN = ((n_B11 + 1 - 2 * k_1K1) * scores_BN[:, None] - far_B1N) / temperature
    shares_BKN = tf.nn.softmax(tf.where(mask_BN[:, None], logits_BKN, NOTHING), axis=2)
    return tf.where((k_1K1 <= n_B11) & mask_BN[:, None], shares_BKN, 0.0)


def survival(sort_BKN: tf.Tensor, kept_B: tf.Tensor) -> tf.Tensor:
    """[B, N]: the chance that an item is among the first `kept`: its share of those places among all its shares.

    p_i = sum_{k <= kept} P_ki / sum_k P_ki, after LCRON's survival probability [R].
    """
    return tf.math.divide_no_nan(_head(sort_BKN, kept_B), tf.reduce_sum(sort_BKN, axis=1))


def relaxed_recall(sort_BKN: tf.Tensor, targets_BN: tf.Tensor, kept_B: tf.Tensor) -> tf.Tensor:
    """ARF's relaxed target: every target somewhere among the first `kept` places, no matter where.

        L_relax = mean_{i target}  - log( 1/kept sum_{k <= kept} P_ki )

    After ARF (arXiv 2310.10462) [R]; the mean over targets is ours [D].

    Args:
        sort_BKN: of `neural_sort`. targets_BN: bool. kept_B: int32, how many places count.

    Returns:
        [B], 0 for a request without a target.
    """
    kept_B1 = tf.maximum(tf.cast(kept_B, tf.float32), 1.0)[:, None]
    return mean_where(-tf.math.log(_head(sort_BKN, kept_B) / kept_B1 + _TINY), targets_BN)


def relaxed_order(sort_BKN: tf.Tensor, places_BN: tf.Tensor, placed_BN: tf.Tensor) -> tf.Tensor:
    """ARF's full target: every item in its own place.

        L_global = mean_{i placed}  - log P_{place_i, i}

    After ARF (arXiv 2310.10462) [R]; that items without a place of their own are left out is ours [D].

    Args:
        places_BN: int32, places from 1 without gaps, of `baseline_losses.places`. placed_BN: bool.

    Returns:
        [B], 0 for a request without a placed item.
    """
    k_1K1 = tf.range(1, tf.shape(sort_BKN)[1] + 1)[None, :, None]
    own_BN = tf.reduce_sum(tf.where(places_BN[:, None] == k_1K1, sort_BKN, 0.0), axis=1)
    return mean_where(-tf.math.log(own_BN + _TINY), placed_BN)


def cascade_survival(
    survival_BN: tf.Tensor, targets_BN: tf.Tensor, downstream_BN: tf.Tensor, mask_BN: tf.Tensor
) -> tf.Tensor:
    """LCRON: targets survive the whole cascade, the others do not; p q is the chance of both stages.

        L = mean_i  - y_i log(p_i q_i) - (1 - y_i) log(1 - p_i q_i)

    After LCRON (arXiv 2503.09492), which trains all stages and multiplies their survivals [R]. Here only the pre-ranker
    learns and the ranker's q is logged [D]: 1 where it let the item through, so that an item which the ranker drops
    anyway (q = 0) need not be dropped here. With q = 1 everywhere this is LCRON's loss of a single stage.

    Args:
        survival_BN: p, of `survival`. targets_BN: bool, y. downstream_BN: q, in [0, 1], 1 for a target.

    Returns:
        [B], 0 for a request without a target.
    """
    chances_BN = survival_BN * downstream_BN
    losses_BN = -tf.math.log(tf.where(targets_BN, chances_BN, 1 - chances_BN) + _TINY)
    return tf.where(tf.reduce_any(targets_BN & mask_BN, axis=1), mean_where(losses_BN, mask_BN), 0.0)


def _head(sort_BKN: tf.Tensor, kept_B: tf.Tensor) -> tf.Tensor:
    """[B, N]: each item's share of the first `kept` places."""
    k_1K = tf.range(1, tf.shape(sort_BKN)[1] + 1)[None]
    return tf.reduce_sum(tf.where((k_1K <= kept_B[:, None])[:, :, None], sort_BKN, 0.0), axis=1)
