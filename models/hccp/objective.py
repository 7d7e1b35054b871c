"""What HCCP's samples are learned with: HCCP's own objective and those that it is compared with, on the same samples.

An objective is a function (settings, batch, scores) -> terms by name; it sees a batch of `hccp_inputs.SIGNATURE` and
the `Scores` [B, N] of all its items. The marks [P], [R], [D] are those of the losses' docstrings.
Shapes: B requests, C candidates, E easy negatives, N = C + E. Names without them are masks over what is at hand.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from models.hccp import losses
from models.hccp.baselines import losses as baseline_losses
from models.hccp.baselines import relaxed_sorting
from models.hccp.inputs import LEVEL_CODES, log_popularity
from models.hccp.networks import Scores
from models.hccp.settings import HccpSettings
from schemas.vocabulary import Action, Level

Batch = Mapping[str, tf.Tensor]
_EASY = len(LEVEL_CODES)  # the tier behind all levels, of which two are one tier


class Term(NamedTuple):
    """A part of the loss: its weight, and its values [B]."""

    weight: float
    losses_B: tf.Tensor


def hybrid(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """HCCP: L = w_r L_response + w_g L_global + w_l L_local + w_m L_margin; a weight of 0 leaves the term out.

    In the denominators of L_global and L_margin a filtered item's e^s counts w_i times [D], which is a margin of
    -t log w_i.
    """
    own, easy_BE = _own(batch, scores), _easy_scores(batch, scores)
    log_weights_BC = _filtered_log_weights(settings, batch)
    ranks, placed = batch["ranks"], _among(batch["levels"], Level.PURCHASED, Level.SHADOW)
    in_list = batch["levels"] > 0  # among filtered items no order is known: they are in denominators alone
    terms = {
        "loss_response": Term(settings.weight_response, _response(batch, own)),
        "loss_global": Term(
            settings.weight_global, losses.list_mle(own.ranking + log_weights_BC, ranks, in_list, placed)
        ),
        "loss_local": Term(settings.weight_local, losses.list_mle(own.ranking, ranks, placed)),
        "loss_margin": Term(
            settings.weight_margin,
            _margin(settings, batch, own.ranking + settings.temperature * log_weights_BC, easy_BE),
        ),
    }
    return {name: term for name, term in terms.items() if term.weight}


def bce_unexposed(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """Binary cross-entropy over the list and the easy items: what was not shown counts as not acted on."""
    nothing = tf.zeros_like(batch["easy"], tf.int32)
    whole = {"actions": tf.concat([batch["actions"], nothing], axis=1), "levels": _tiers(batch)}
    return {"loss_response": Term(1.0, _response(whole, scores, worst=_EASY))}


def distillation(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """The response on exposures, and the ranker's order of what it saw."""
    own = _own(batch, scores)
    order_B = baseline_losses.ranker_distillation(
        own.ranking, batch["ranks"], _ranker_tiers(batch), LEVEL_CODES[Level.RANKED]
    )
    return {
        "loss_response": Term(settings.weight_response, _response(batch, own)),
        "loss_distillation": Term(settings.weight_auxiliary, order_B),
    }


def asmol(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """ASMOL: exposed, clicked and purchased against the list, with the labels of all scenarios.

    What is acted on in any scenario counts as exposed too [R], so that a purchase weighs in all three terms.
    """
    tiers, padded = _tiers(batch), tf.zeros_like(batch["easy"], tf.int32)
    actions = tf.concat([batch["all_scenario_actions"], padded], axis=1)
    clicked, purchased = actions > 0, actions == Action.PURCHASE.strength
    labels = {
        "loss_exposed": (1.0, _among(tiers, Level.PURCHASED, Level.EXPOSED) | clicked),
        "loss_clicked": (settings.weight_clicked, clicked),
        "loss_purchased": (settings.weight_purchased, purchased),
    }
    return {
        name: Term(weight, baseline_losses.multi_positive_softmax(scores.ranking, positives, tiers > 0))
        for name, (weight, positives) in labels.items()
    }


def copr(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """COPR: the response on exposures, and the alignment with the ranker's list in chunks."""
    own, ranked = _own(batch, scores), LEVEL_CODES[Level.RANKED]
    alignment_B = baseline_losses.chunk_alignment(
        own.ranking, batch["ranks"], _ranker_tiers(batch), ranked, settings.chunk
    )
    return {
        "loss_response": Term(settings.weight_response, _response(batch, own)),
        "loss_alignment": Term(settings.weight_auxiliary, alignment_B),
    }


def rank_flow(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """RankFlow: the response over all that retrieval handed on, and the ranker as tutor of what it saw."""
    own, levels = _own(batch, scores), batch["levels"]
    exposed, dropped = _among(levels, Level.PURCHASED, Level.EXPOSED), _among(levels, Level.RANKED, Level.RANKED)
    return {
        "loss_response": Term(settings.weight_response, _response(batch, own, worst=LEVEL_CODES[Level.FILTERED])),
        "loss_tutor": Term(
            settings.weight_auxiliary, baseline_losses.successor_tutoring(own.ranking, exposed, dropped)
        ),
    }


def fs_rank_net(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """FS-RankNet over the levels and the easy items."""
    return {"loss_pairs": Term(1.0, baseline_losses.full_stage_rank_net(scores.ranking, _tiers(batch)))}


def fs_lambda_loss(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """FS-LambdaLoss over the levels and the easy items."""
    return {"loss_pairs": Term(1.0, baseline_losses.full_stage_lambda(scores.ranking, _tiers(batch)))}


def arf(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """ARF: the exposed items among as many places as the ranker saw items, and the teacher's order."""
    tiers = _tiers(batch)
    sort_BKN = relaxed_sorting.neural_sort(scores.ranking, tiers > 0, settings.sort_temperature)
    exposed, ordered = _among(tiers, Level.PURCHASED, Level.EXPOSED), _among(tiers, Level.PURCHASED, Level.RANKED)
    ranks = tf.concat([batch["ranks"], tf.zeros_like(batch["easy"], tf.int32)], axis=1)
    places = baseline_losses.places(ranks, ordered)
    return {
        "loss_recall": Term(1.0, relaxed_sorting.relaxed_recall(sort_BKN, exposed, _count(ordered))),
        "loss_order": Term(settings.weight_auxiliary, relaxed_sorting.relaxed_order(sort_BKN, places, ordered)),
    }


def lcron(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """LCRON: exposed items survive pre-ranking and ranking; beside it, pre-ranking alone puts them first.

    The ranker's survival is logged for what it saw. Of what it never saw it would have kept the share that it kept of
    the others [D]: the exposed items among all that it saw, of which the sample's stand for their sampling weights.
    """
    tiers, seen = _tiers(batch), _among(batch["levels"], Level.PURCHASED, Level.RANKED)
    sort_BKN = relaxed_sorting.neural_sort(scores.ranking, tiers > 0, settings.sort_temperature)
    exposed, ordered = _among(tiers, Level.PURCHASED, Level.EXPOSED), _among(tiers, Level.PURCHASED, Level.RANKED)
    seen_B = tf.reduce_sum(tf.where(seen, batch["sampling_weights"], 0.0), axis=1)
    share_B = tf.math.divide_no_nan(tf.cast(_count(exposed), tf.float32), seen_B)
    downstream = tf.where(ordered, tf.cast(exposed, tf.float32), share_B[:, None])

    def surviving(kept_B: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
        chances = relaxed_sorting.survival(sort_BKN, kept_B)
        return relaxed_sorting.cascade_survival(chances, exposed, after, tiers > 0)

    return {
        "loss_cascade": Term(1.0, surviving(_count(ordered), downstream)),
        "loss_single": Term(settings.weight_auxiliary, surviving(_count(exposed), tf.ones_like(downstream))),
    }


def ranker_order(settings: HccpSettings, batch: Batch, scores: Scores) -> dict[str, Term]:
    """The response, ListMLE of what the ranker decided, and InfoNCE of exposed items against the easy ones alone [D].

    Feedback decides nothing of the order, and no easy or filtered item is in it: of the request, what pre-ranking
    dropped and the ranker never saw is not called bad. Exposed items count as before all that were not, which a
    re-ranker or a shadow item's score may contradict: the samples hold no rank of the ranker's across levels. InfoNCE
    is the mean over the exposed items, clicked and purchased ones weighing more where the settings say so.
    """
    own, exposed = _own(batch, scores), _among(batch["levels"], Level.PURCHASED, Level.EXPOSED)
    order_B = baseline_losses.ranker_list_mle(
        own.ranking, batch["ranks"], _ranker_tiers(batch), LEVEL_CODES[Level.RANKED]
    )
    weights_BC = tf.where(exposed, _feedback_weights(settings, batch["levels"]), 0.0)
    easy_B = losses.margin_info_nce(
        own.ranking,
        positives_BC=exposed,
        hard_BC=tf.zeros_like(exposed),
        margins_BC=tf.zeros_like(own.ranking),
        easy_scores_BE=_easy_scores(batch, scores),
        easy_BE=batch["easy"],
        temperature=settings.temperature,
        weights_BC=tf.math.divide_no_nan(weights_BC, tf.reduce_sum(weights_BC, axis=1, keepdims=True)),
    )
    return {
        "loss_response": Term(settings.weight_response, _response(batch, own)),
        "loss_order": Term(1.0, order_B),
        "loss_easy": Term(settings.weight_auxiliary, easy_B),
    }


OBJECTIVES: dict[str, Callable[[HccpSettings, Batch, Scores], dict[str, Term]]] = {
    objective.__name__: objective
    for objective in (
        hybrid, bce_unexposed, distillation, asmol, copr, rank_flow, fs_rank_net, fs_lambda_loss, arf, lcron,
        ranker_order,
    )
}  # fmt: skip


def _own(batch: Batch, scores: Scores) -> Scores:
    """[B, C]: the scores of the list, without the easy items."""
    candidates = tf.shape(batch["levels"])[1]
    return Scores(*(each[:, :candidates] for each in scores))


def _easy_scores(batch: Batch, scores: Scores) -> tf.Tensor:
    """[B, E]: what orders the easy items."""
    return scores.ranking[:, tf.shape(batch["levels"])[1] :]


def _tiers(batch: Batch) -> tf.Tensor:
    """int32 [B, N]: how far the list's items came, then the easy ones as the worst tier; 0 for padding.

    A shadow item came as far as a filtered one, and tiers leave no number out: a loss may weigh how far apart they are.
    """
    dropped = _among(batch["levels"], Level.FILTERED, Level.FILTERED)
    levels = tf.where(dropped, LEVEL_CODES[Level.SHADOW], batch["levels"])
    return tf.concat([levels, tf.where(batch["easy"], _EASY, 0)], axis=1)


def _ranker_tiers(batch: Batch) -> tf.Tensor:
    """int32 [B, C]: the list's levels, shadow items among the ranked ones: the ranker's score placed both."""
    return tf.where(_among(batch["levels"], Level.SHADOW, Level.SHADOW), LEVEL_CODES[Level.RANKED], batch["levels"])


def _among(levels: tf.Tensor, best: Level, worst: Level) -> tf.Tensor:
    """bool: the level is one of best..worst."""
    return (levels >= LEVEL_CODES[best]) & (levels <= LEVEL_CODES[worst])


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)


def _response(batch: Batch, scores: Scores, worst: int = LEVEL_CODES[Level.EXPOSED]) -> tf.Tensor:
    """L_response: click and purchase heads on the items up to a tier."""
    clicked, purchased = batch["actions"] > 0, batch["actions"] == Action.PURCHASE.strength
    judged = (batch["levels"] > 0) & (batch["levels"] <= worst)
    return losses.response(scores.click, scores.purchase, clicked, purchased, judged)


def _filtered_log_weights(settings: HccpSettings, batch: Batch) -> tf.Tensor:
    """[B, C]: log w_i of filtered items, whose mean over a request's is `filtered_weight`; 0 for every other item."""
    if (settings.filtered_weight, settings.filtered_popularity) == (1.0, 0.0):
        return tf.zeros_like(batch["levels"], tf.float32)
    filtered = _among(batch["levels"], Level.FILTERED, Level.FILTERED)
    logs_BC = settings.filtered_popularity * log_popularity(batch["counts"][:, : tf.shape(filtered)[1]])
    total_B1 = tf.reduce_logsumexp(tf.where(filtered, logs_BC, losses.NOTHING), axis=1, keepdims=True)
    mean_B1 = total_B1 - tf.math.log(tf.maximum(tf.cast(_count(filtered), tf.float32), 1.0))[:, None]
    return tf.where(filtered, tf.math.log(settings.filtered_weight) + logs_BC - mean_B1, 0.0)


def _margin(settings: HccpSettings, batch: Batch, score_BC: tf.Tensor, easy_BE: tf.Tensor) -> tf.Tensor:
    """L_margin: purchased and clicked items, and the head of the ranked ones, against the rest and the easy items.

    Not against shadow items: the lists say where the ranker puts them [D].
    """
    own, levels = settings, batch["levels"]
    margins = {Level.EXPOSED: own.margin_exposed, Level.RANKED: own.margin_ranked, Level.FILTERED: own.margin_filtered}
    potential = _ranked_head(batch, own.ranked_positives)
    hard = _among(levels, Level.EXPOSED, Level.FILTERED) & ~_among(levels, Level.SHADOW, Level.SHADOW) & ~potential
    return losses.margin_info_nce(
        score_BC,
        positives_BC=_among(levels, Level.PURCHASED, Level.CLICKED) | potential,
        hard_BC=hard,
        margins_BC=own.temperature * _by_level(margins, levels),
        easy_scores_BE=easy_BE,
        easy_BE=batch["easy"],
        temperature=own.temperature,
        weights_BC=_feedback_weights(own, levels),
        positive_margin=own.temperature * own.margin_positive,
    )


def _ranked_head(batch: Batch, most: int) -> tf.Tensor:
    """bool [B, C]: the first so many of the ranked items, in the ranker's order."""
    ranked = _among(batch["levels"], Level.RANKED, Level.RANKED)
    return ranked & (baseline_losses.places(batch["ranks"], ranked) <= most) if most else tf.zeros_like(ranked)


def _feedback_weights(settings: HccpSettings, levels: tf.Tensor) -> tf.Tensor:
    """1 + w_c for clicked items, 1 + w_c + w_p for purchased ones, 1 for what was shown or ranked."""
    clicked = 1 + settings.weight_clicked
    weights = {Level.PURCHASED: clicked + settings.weight_purchased, Level.CLICKED: clicked}
    return _by_level(weights | {Level.EXPOSED: 1.0, Level.RANKED: 1.0}, levels)


def _by_level(values: Mapping[Level, float], levels: tf.Tensor) -> tf.Tensor:
    """The value of each item's level, 0 where it has none."""
    return tf.gather(tf.constant([0.0] + [float(values.get(level, 0.0)) for level in Level]), levels)
