"""Losses that pre-rankers are compared with: softmax and pairwise ones. Pure functions, one value per request.

B requests, N items of a request (padded): its hybrid list and, if wanted, easy negatives behind it. A tier says how
far an item came: int32, 1 for the best, 0 for padding. What is padded may hold anything.

Marks as in `ranking_losses`: [P] the paper's own claim, [R] a reader's account or published code, [D] decided here.
No paper's body was at hand: the forms are after the accounts named, and [D] where they say nothing. Published forms
that need the ranker's scores are out of reach, since the samples hold its order alone.
"""

import tensorflow as tf

from models.hccp.losses import NOTHING, mean_where


def multi_positive_softmax(scores_BN: tf.Tensor, positives_BN: tf.Tensor, mask_BN: tf.Tensor) -> tf.Tensor:
    """ASMOL's list-wise loss: the softmax cross-entropy of every positive, over all items of the list.

        L = sum_{i positive} ( log sum_j e^{s_j} - s_i )

    After ASMOL (arXiv 2305.13647): one such sum for each of exposed, clicked and purchased, all other items staying
    in the denominator [R]. Left out: its distillation from the ranker's scores [D].

    Args:
        positives_BN: bool, part of the mask.

    Returns:
        [B], 0 for a request without a positive.
    """
    total_B1 = tf.reduce_logsumexp(tf.where(mask_BN, scores_BN, NOTHING), axis=1, keepdims=True)
    return tf.reduce_sum(tf.where(positives_BN & mask_BN, total_B1 - scores_BN, 0.0), axis=1)


def ranker_distillation(scores_BN: tf.Tensor, ranks_BN: tf.Tensor, tiers_BN: tf.Tensor, ranked_tier: int) -> tf.Tensor:
    """The ranker's order of what it saw, as a pairwise logistic loss over the pairs that it alone decided.

        L = mean over pairs (i, j) of  log(1 + e^{s_j - s_i}),   i before j in the ranker's order

    Distillation from an order after RankNet (Burges et al., ICML 2005) [D]. The teacher's ranks put feedback first, so
    only these pairs are the ranker's: two of one tier, and one that was exposed before one that was only ranked [D].

    Args:
        ranks_BN: int32, the teacher's ranks, 1 for the best; inside a tier the ranker's order.
        ranked_tier: the tier of what was ranked and not exposed; worse ones were not seen by the ranker.

    Returns:
        [B], 0 for a request without such a pair.
    """
    return mean_where(_pair_losses(scores_BN), _decided_by_ranker(ranks_BN, tiers_BN, ranked_tier))


def ranker_list_mle(scores_BN: tf.Tensor, ranks_BN: tf.Tensor, tiers_BN: tf.Tensor, ranked_tier: int) -> tf.Tensor:
    """ListMLE of the ranker's order of what it saw, as far as it alone decided it.

        L = 1/|seen| sum_{i seen} ( log ( e^{s_i} + sum_{j: i before j} e^{s_j} ) - s_i )

    ListMLE after Xia et al. (ICML 2008), over a partial order [D]: where feedback may have swapped two items, neither
    is in the other's denominator. `before` is that of `ranker_distillation`. If it is a total order, this is
    `ranking_losses.list_mle`.

    Args:
        ranks_BN, tiers_BN, ranked_tier: as in `ranker_distillation`.

    Returns:
        [B], 0 for a request without a pair that the ranker decided.
    """
    seen_BN = (tiers_BN > 0) & (tiers_BN <= ranked_tier)
    behind_BNN = tf.where(_decided_by_ranker(ranks_BN, tiers_BN, ranked_tier), scores_BN[:, None], NOTHING)
    from_here_BN = tf.reduce_logsumexp(tf.concat([behind_BNN, scores_BN[:, :, None]], axis=2), axis=2)
    return mean_where(from_here_BN - scores_BN, seen_BN)


def chunk_alignment(
    scores_BN: tf.Tensor, ranks_BN: tf.Tensor, tiers_BN: tf.Tensor, ranked_tier: int, chunk: int
) -> tf.Tensor:
    """COPR's rank alignment: pairs from different chunks of the ranker's list, weighted by delta NDCG.

        L = sum_{c_i < c_j} d(c_i, c_j) log(1 + e^{s_j - s_i}) / sum_{c_i < c_j} d(c_i, c_j)
        d(a, b) = (b - a) (1 / log2(1 + a) - 1 / log2(1 + b)),   c_i = 1 for the first chunk

    After COPR (arXiv 2306.03516): chunks of the ranking stage's list, pairs across them, weights by delta NDCG [P];
    nearer the head weighs more [R]. The gain of a chunk (linear in its place), the logistic form without bids and
    the weighted mean are ours [D]. The constant of the ideal DCG cancels. That list is the ranker's before any
    feedback, while the teacher's ranks put feedback first: chunks are cut from the teacher's order of what the ranker
    saw, and of their pairs only those of `ranker_distillation` count [D].

    Args:
        ranks_BN, tiers_BN, ranked_tier: as in `ranker_distillation`.
        chunk: so many consecutive items make a chunk.

    Returns:
        [B], 0 for a request without such a pair.
    """
    seen_BN = (tiers_BN > 0) & (tiers_BN <= ranked_tier)
    chunks_BN = tf.cast((places(ranks_BN, seen_BN) - 1) // chunk + 1, tf.float32)
    discounts_BN = 1 / _log2(1 + chunks_BN)
    weights_BNN = (chunks_BN[:, None] - chunks_BN[:, :, None]) * (discounts_BN[:, :, None] - discounts_BN[:, None])
    decided_BNN = _decided_by_ranker(ranks_BN, tiers_BN, ranked_tier)
    across_BNN = (chunks_BN[:, :, None] < chunks_BN[:, None]) & decided_BNN
    weights_BNN = tf.where(across_BNN, weights_BNN, 0.0)
    losses_BNN = tf.where(across_BNN, _pair_losses(scores_BN), 0.0)
    return tf.math.divide_no_nan(
        tf.reduce_sum(weights_BNN * losses_BNN, axis=(1, 2)), tf.reduce_sum(weights_BNN, axis=(1, 2))
    )


def successor_tutoring(scores_BN: tf.Tensor, top_BN: tf.Tensor, bottom_BN: tf.Tensor) -> tf.Tensor:
    """RankFlow's tutor: what the next stage put on top scores higher on average than what it put at the bottom.

        L = log(1 + e^{mean_{bottom} s - mean_{top} s})

    After RankFlow (Qin et al., SIGIR 2022, doi 10.1145/3477495.3532050; no arXiv number found): a stage learns from the
    data that its predecessors let through, from the log (the response loss over the list) and from its successor [P].
    This term is the grouped one of the LCRON authors' code, whose other term needs the successor's scores [R].

    Args:
        top_BN, bottom_BN: bool, the successor's best items and its others.

    Returns:
        [B], 0 for a request that lacks either.
    """
    both_B = tf.reduce_any(top_BN, axis=1) & tf.reduce_any(bottom_BN, axis=1)
    gaps_B = mean_where(scores_BN, bottom_BN) - mean_where(scores_BN, top_BN)
    return tf.where(both_B, tf.nn.softplus(gaps_B), 0.0)


def full_stage_rank_net(scores_BN: tf.Tensor, tiers_BN: tf.Tensor) -> tf.Tensor:
    """FS-RankNet: an item that came further before every item that did not.

        L = sum over tiers a of  mean over pairs (i in a, j in a worse tier) of  log(1 + e^{s_j - s_i})

    After full-stage learning to rank (arXiv 2405.04844) in the form of the LCRON authors' code [R].

    Returns:
        [B], 0 for a request whose items are all of one tier.
    """
    losses_BNN, worse_BNN = _pair_losses(scores_BN), _worse(tiers_BN)
    pairs_BN = tf.reduce_sum(tf.cast(worse_BNN, tf.float32), axis=2)
    totals_BN = tf.reduce_sum(tf.where(worse_BNN, losses_BNN, 0.0), axis=2)
    same_BNN = tf.cast((tiers_BN[:, :, None] == tiers_BN[:, None]) & _pairs(tiers_BN > 0), tf.float32)
    pairs_of_tier_BN = tf.einsum("bnm,bm->bn", same_BNN, pairs_BN)
    return tf.reduce_sum(tf.math.divide_no_nan(totals_BN, pairs_of_tier_BN), axis=1)


def full_stage_lambda(scores_BN: tf.Tensor, tiers_BN: tf.Tensor, depth: int = 20) -> tf.Tensor:
    """FS-LambdaLoss: FS-RankNet's pairs, each weighted by what swapping the two would change in NDCG@depth.

        L = sum over pairs (i, j), i of a better tier, of  |g_i - g_j| |D(r_i) - D(r_j)| / IDCG  log(1 + e^{s_j - s_i})
        D(r) = 1 / log2(1 + r) down to the depth, 0 below;  g = worst tier of the request - tier

    After full-stage learning to rank (arXiv 2405.04844) with the LambdaLoss weights (Wang et al., CIKM 2018) of the
    LCRON authors' code, which looks at the first 20 [R]; its gains are places in the teacher's list, ours tiers [D].
    r_i is the rank that the scores give now, without a gradient.

    Returns:
        [B], 0 for a request whose items are all of one tier.
    """
    mask_BN = tiers_BN > 0
    gains_BN = tf.cast(tf.where(mask_BN, tf.reduce_max(tiers_BN, axis=1, keepdims=True) - tiers_BN, 0), tf.float32)
    discounts_BN = _discounts(places(-scores_BN, mask_BN), depth)
    ideal_B = tf.reduce_sum(gains_BN * _discounts(places(tiers_BN, mask_BN), depth), axis=1)
    weights_BNN = tf.abs(gains_BN[:, :, None] - gains_BN[:, None]) * tf.abs(
        discounts_BN[:, :, None] - discounts_BN[:, None]
    )
    losses_BNN = tf.where(_worse(tiers_BN), weights_BNN * _pair_losses(scores_BN), 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(losses_BNN, axis=(1, 2)), ideal_B)


def places(keys_BN: tf.Tensor, mask_BN: tf.Tensor) -> tf.Tensor:
    """int32 [B, N]: each masked item's place by rising key, from 1; the others come after all of them."""
    keys_BN = tf.convert_to_tensor(keys_BN)
    order_BN = tf.argsort(tf.where(mask_BN, keys_BN, keys_BN.dtype.max), axis=1, stable=True)
    return tf.argsort(order_BN, axis=1) + 1


def _pair_losses(scores_BN: tf.Tensor) -> tf.Tensor:
    """[B, N, N]: log(1 + e^{s_j - s_i}) at (i, j), what it costs that j might stand before i."""
    return tf.nn.softplus(scores_BN[:, None] - scores_BN[:, :, None])


def _pairs(mask_BN: tf.Tensor) -> tf.Tensor:
    return mask_BN[:, :, None] & mask_BN[:, None]


def _decided_by_ranker(ranks_BN: tf.Tensor, tiers_BN: tf.Tensor, ranked_tier: int) -> tf.Tensor:
    """bool [B, N, N]: i before j was the ranker's decision alone, as `ranker_distillation` says."""
    i_BN1, j_B1N = tiers_BN[:, :, None], tiers_BN[:, None]
    inside_BNN = (i_BN1 == j_B1N) & (ranks_BN[:, :, None] < ranks_BN[:, None])
    across_BNN = (i_BN1 < ranked_tier) & (j_B1N == ranked_tier)
    return (inside_BNN | across_BNN) & _pairs((tiers_BN > 0) & (tiers_BN <= ranked_tier))


def _worse(tiers_BN: tf.Tensor) -> tf.Tensor:
    """bool [B, N, N]: both are items, and j is of a worse tier than i."""
    return (tiers_BN[:, :, None] < tiers_BN[:, None]) & _pairs(tiers_BN > 0)


def _discounts(ranks_BN: tf.Tensor, depth: int) -> tf.Tensor:
    return tf.where(ranks_BN <= depth, 1 / _log2(1 + tf.cast(ranks_BN, tf.float32)), 0.0)


def _log2(values: tf.Tensor) -> tf.Tensor:
    return tf.math.log(values) / tf.math.log(2.0)
