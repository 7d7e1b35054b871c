"""Losses of a pre-ranker over the items of a request: pure functions, one value per request.

B requests, C candidates of a request (padded), E easy negatives of a request. A mask is True where there is
an item; what is padded may hold anything. Sums over a request stay sums only where the formula says so. The
baselines' losses are in `baseline_losses` and `relaxed_sorting_losses`.

Sources: HCCP (arXiv 2502.10284), ListMLE (Xia et al., ICML 2008), InfoNCE (arXiv 1807.03748). Marks: [P] the
paper's own claim, [R] a reader's account of it, [D] decided here.
"""

import tensorflow as tf

# Far below any score, yet finite: an infinity times a zero gradient is not a number.
NOTHING = -1e9


def response(
    click_logits_BC: tf.Tensor,
    purchase_logits_BC: tf.Tensor,
    clicked_BC: tf.Tensor,
    purchased_BC: tf.Tensor,
    judged_BC: tf.Tensor,
) -> tf.Tensor:
    """Binary cross-entropy of the click and purchase heads on a request's judged items.

        L_response = 1/|judged| sum_{i judged} (BCE(click_i) + BCE(purchase_i))

    After HCCP's response loss, which judges what was exposed [R]; the mean over the items is ours [D].

    Args:
        clicked_BC, purchased_BC: bool, what the user did with the item in the scenario.
        judged_BC: bool, the items that count: those that were shown, or more.

    Returns:
        [B], 0 for a request without such an item.
    """
    losses_BC = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(clicked_BC, tf.float32), click_logits_BC)
    losses_BC += tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(purchased_BC, tf.float32), purchase_logits_BC)
    return mean_where(losses_BC, judged_BC)


def list_mle(
    scores_BC: tf.Tensor, ranks_BC: tf.Tensor, mask_BC: tf.Tensor, placed_BC: tf.Tensor | None = None
) -> tf.Tensor:
    """ListMLE: how unlikely the teacher's order is under the Plackett-Luce model of the scores.

        L = 1/|placed| sum_{i placed} ( log sum_{j: rank_j >= rank_i} e^{s_j} - s_i )

    ListMLE after Xia et al.; that HCCP uses it for global and local consistency is [R]. The scope (`mask`), the
    mean over the placed items instead of the sum, and items without a place of their own are [D].

    Args:
        ranks_BC: int32, the teacher's ranks, 1 for the best, no two alike in a request.
        mask_BC: bool, the items in scope: the whole hybrid list, or only its head.
        placed_BC: bool, the items whose place the teacher knows; all in scope if None. The others stand
            in the denominators alone, of every placed item with a smaller rank.

    Returns:
        [B], 0 for a request without a placed item.
    """
    placed_BC = mask_BC if placed_BC is None else placed_BC & mask_BC
    order_BC = tf.argsort(tf.where(mask_BC, ranks_BC, tf.int32.max), axis=1, stable=True)
    masked_BC = tf.where(mask_BC, scores_BC, NOTHING)
    sorted_BC = tf.gather(masked_BC, order_BC, batch_dims=1)
    losses_BC = tf.math.cumulative_logsumexp(sorted_BC, axis=1, reverse=True) - sorted_BC
    return mean_where(losses_BC, tf.gather(placed_BC, order_BC, batch_dims=1))


def margin_info_nce(
    scores_BC: tf.Tensor,
    positives_BC: tf.Tensor,
    hard_BC: tf.Tensor,
    margins_BC: tf.Tensor,
    easy_scores_BE: tf.Tensor,
    easy_BE: tf.Tensor,
    temperature: float = 1.0,
    weights_BC: tf.Tensor | None = None,
    positive_margin: float = 0.0,
) -> tf.Tensor:
    """Margin InfoNCE: each positive against the request's hard negatives, less a margin, and easy ones.

        L_margin = - sum_p w_p log e^{a_p} / ( e^{a_p} + sum_hard e^{(s_h - m_h)/t} + sum_easy e^{s_e/t} )
        a_p = (s_p - m_p)/t

    After HCCP, which names the loss and separates hard from easy negatives [P, R]; both forms are ours [D]: m_h, which
    pushes a hard negative less the larger it is, and m_p (after additive margins, arXiv 1801.05599), which asks a
    positive to win by more, against hard and easy alike; below 0 it asks for less. With every margin 0 and
    no weights this is plain InfoNCE. Other positives of the request are in no denominator.

    Args:
        positives_BC, hard_BC: bool masks over the candidates; an item in neither plays no part.
        margins_BC: the margin of each hard negative, in units of the score.
        easy_scores_BE, easy_BE: scores of in-batch and catalogue items, and which of them count.
        weights_BC: weight of each positive; 1 if None.
        positive_margin: m_p, in units of the score.

    Returns:
        [B], 0 for a request without a positive.
    """
    logits_BC = (scores_BC - positive_margin) / temperature
    negatives_BN = tf.concat(
        [
            tf.where(hard_BC, (scores_BC - margins_BC) / temperature, NOTHING),
            tf.where(easy_BE, easy_scores_BE / temperature, NOTHING),
        ],
        axis=1,
    )
    negatives_B1 = tf.reduce_logsumexp(negatives_BN, axis=1, keepdims=True)
    losses_BC = tf.nn.softplus(negatives_B1 - logits_BC)
    if weights_BC is not None:
        losses_BC *= weights_BC
    return tf.reduce_sum(tf.where(positives_BC, losses_BC, 0.0), axis=1)


def mean_where(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[B]: the mean of the values [B, ...] in the mask [B, ...], 0 where it is empty."""
    axes = list(range(1, len(mask.shape)))
    total_B = tf.reduce_sum(tf.where(mask, values, 0.0), axis=axes)
    return tf.math.divide_no_nan(total_B, tf.reduce_sum(tf.cast(mask, tf.float32), axis=axes))
