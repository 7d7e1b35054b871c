"""The pre-rankers that are compared: a function for each preset, ablation and baseline."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from models.hccp.settings import HccpSettings

SIZES = ("default", "tiny")


def full() -> HccpSettings:
    """All levels and all terms."""
    return HccpSettings()


def cold() -> HccpSettings:
    """full with COLD's network instead of the dual tower."""
    return replace(full(), base="cold")


def exposed_only() -> HccpSettings:
    """Binary cross-entropy on exposures: what a team has today."""
    return replace(
        full(), weight_global=0.0, weight_local=0.0, weight_margin=0.0, ranked=False, filtered=False,
        in_batch_easy=0, catalogue_easy=0,
    )  # fmt: skip


def without_filtered() -> HccpSettings:
    """full, learning nothing from what pre-ranking dropped: no request's easy negatives come from there either."""
    return replace(full(), filtered=False)


def debiased() -> HccpSettings:
    """full, its filtered items counting a tenth, and the popular of them most: found on the Taobao slice [D]."""
    return filtered_weighted(0.1, 1.0)


def filtered_weighted(weight: float, popularity: float = 0.0) -> HccpSettings:
    """full, each filtered item counting that often, on average, and in proportion to popularity to a power."""
    return replace(full(), filtered_weight=weight, filtered_popularity=popularity)


def without_ranked() -> HccpSettings:
    """full, learning nothing from what was ranked and not shown."""
    return replace(full(), ranked=False)


def without_easy() -> HccpSettings:
    """full, without in-batch and catalogue negatives."""
    return replace(full(), in_batch_easy=0, catalogue_easy=0)


def easy_drawn(popularity: float) -> HccpSettings:
    """full, its catalogue negatives drawn in proportion to popularity to this power."""
    return replace(full(), easy_popularity=popularity)


def easy_in_batch() -> HccpSettings:
    """full, with other requests' items as its only easy negatives."""
    return replace(full(), in_batch_easy=6, catalogue_easy=0)


def easy_catalogue(popularity: float) -> HccpSettings:
    """full, with items of the catalogue as its only easy negatives, drawn as in easy_drawn."""
    return replace(easy_drawn(popularity), in_batch_easy=0, catalogue_easy=6)


def without_global() -> HccpSettings:
    """full, without ListMLE over the whole list."""
    return replace(full(), weight_global=0.0)


def order_terms(weight_global: float, weight_local: float = 0.5) -> HccpSettings:
    """full with other weights of its two ListMLE terms."""
    return replace(full(), weight_global=weight_global, weight_local=weight_local)


def without_local() -> HccpSettings:
    """full, without ListMLE inside the head."""
    return replace(full(), weight_local=0.0)


def without_margin_loss() -> HccpSettings:
    """full, without Margin InfoNCE."""
    return replace(full(), weight_margin=0.0)


def margin_zero() -> HccpSettings:
    """full with plain InfoNCE."""
    return hard_margin(0.0)


def hard_margin(margin: float) -> HccpSettings:
    """full with one margin for all hard negatives, in units of the temperature."""
    return replace(full(), margin_exposed=margin, margin_ranked=margin, margin_filtered=margin)


def positive_margin(margin: float) -> HccpSettings:
    """full with the margin at the positive instead."""
    return replace(margin_zero(), margin_positive=margin)


def potential_positives() -> HccpSettings:
    """full, the first three ranked items of a request among its positives."""
    return replace(full(), ranked_positives=3)


def cosine() -> HccpSettings:
    """full with scores that are cosines over a tenth."""
    return replace(full(), cosine_temperature=0.1)


def margins_reversed() -> HccpSettings:
    """full, with the larger margins far from exposure instead of near it."""
    return replace(full(), margin_exposed=0.5, margin_filtered=1.0)


# --- beyond the paper: what the ranker says of items that pre-ranking dropped


def shadow() -> HccpSettings:
    """full, and in both lists what was only scored for learning, in its place among the ranked items."""
    return replace(full(), shadow=True)


def debiased_shadow() -> HccpSettings:
    """debiased, with shadow items in both lists."""
    return replace(debiased(), shadow=True)


def ranker_order() -> HccpSettings:
    """The ranker's order alone, shadow items in it; exposed items against easy ones alone."""
    return replace(ranker_order_without_shadow(), shadow=True)


def ranker_order_without_shadow() -> HccpSettings:
    """ranker_order, of what the ranker exposed or was handed."""
    return ranker_order_easy(0.3)


def ranker_order_easy(weight: float) -> HccpSettings:
    """ranker_order_without_shadow with that weight of exposed against easy items."""
    return replace(full(), objective="ranker_order", weight_auxiliary=weight, weight_clicked=0.0, weight_purchased=0.0)


def ranker_order_feedback() -> HccpSettings:
    """ranker_order_easy_1 with feedback in the weights: of the exposed items clicked and purchased ones weigh more."""
    return replace(ranker_order_easy(1.0), weight_clicked=1.0, weight_purchased=2.0)


def distillation_shadow() -> HccpSettings:
    """distillation, with shadow items among the ranked ones."""
    return replace(distillation(), shadow=True)


# --- baselines: other objectives on the same samples


def bce_unexposed() -> HccpSettings:
    """Binary cross-entropy with all that was not shown as negatives."""
    return replace(full(), objective="bce_unexposed")


def distillation() -> HccpSettings:
    """The ranker's order on what it saw, and the response on exposures."""
    return replace(full(), objective="distillation")


def asmol() -> HccpSettings:
    """ASMOL: multi-positive softmax of exposed, clicked and purchased."""
    return replace(full(), objective="asmol")


def copr() -> HccpSettings:
    """COPR: the ranker's list in chunks, weighted by delta NDCG."""
    return replace(full(), objective="copr")


def rank_flow() -> HccpSettings:
    """RankFlow: the response over the stage's own input, tutored by the ranker."""
    return replace(full(), objective="rank_flow")


def fs_rank_net() -> HccpSettings:
    """FS-RankNet: pairs of items that came differently far."""
    return replace(full(), objective="fs_rank_net")


def fs_lambda_loss() -> HccpSettings:
    """FS-LambdaLoss: the same, weighted by delta NDCG."""
    return replace(full(), objective="fs_lambda_loss")


def arf() -> HccpSettings:
    """ARF: relaxed recall and the relaxed order."""
    return replace(full(), objective="arf", weight_auxiliary=0.5)


def lcron() -> HccpSettings:
    """LCRON: survival of the cascade and of this stage."""
    return replace(full(), objective="lcron", weight_auxiliary=0.5)


BASELINES = (
    exposed_only, bce_unexposed, distillation, asmol, copr, rank_flow, fs_rank_net, fs_lambda_loss, arf, lcron,
)  # fmt: skip
ABLATIONS = (
    without_filtered, without_ranked, without_easy, without_global, without_local, without_margin_loss, margin_zero,
    margins_reversed, potential_positives, cosine, cold,
)  # fmt: skip
WEIGHTS = {
    "global_tenth": partial(order_terms, 0.1),
    "global_third": partial(order_terms, 1 / 3),
    "local_1_without_global": partial(order_terms, 0.0, 1.0),
    "local_2_without_global": partial(order_terms, 0.0, 2.0),
}
FILTERED = {
    "filtered_weight_tenth": partial(filtered_weighted, 0.1),
    "filtered_weight_third": partial(filtered_weighted, 1 / 3),
    "filtered_popularity_half": partial(filtered_weighted, 1.0, 0.5),
    "filtered_popularity_1": partial(filtered_weighted, 1.0, 1.0),
    "filtered_popularity_2": partial(filtered_weighted, 1.0, 2.0),
    "filtered_popularity_2_tenth": partial(filtered_weighted, 0.1, 2.0),
    "filtered_popularity_1_thirtieth": partial(filtered_weighted, 1 / 30, 1.0),
}
EASY = {
    "easy_drawn_half": partial(easy_drawn, 0.5),
    "easy_drawn_1": partial(easy_drawn, 1.0),
    "easy_in_batch": easy_in_batch,
    "easy_catalogue_0": partial(easy_catalogue, 0.0),
    "easy_catalogue_1": partial(easy_catalogue, 1.0),
}
SHADOWED = (shadow, debiased_shadow, ranker_order, ranker_order_without_shadow, distillation_shadow)
RANKER_ORDERS = {
    f"ranker_order_easy_{name}": partial(ranker_order_easy, weight)
    for name, weight in {"0": 0.0, "1": 1.0, "3": 3.0}.items()
} | {"ranker_order_feedback": ranker_order_feedback}
_SWEEP = {"half": 0.5, "1": 1.0, "2": 2.0, "4": 4.0}  # beside margin_zero, in units of the temperature
MARGINS: dict[str, Callable[[], HccpSettings]] = {
    f"{form.__name__}_{name}": partial(form, margin)
    for form in (hard_margin, positive_margin)
    for name, margin in _SWEEP.items()
} | {"positive_margin_added_1": partial(positive_margin, -1.0)}

PRESETS: dict[str, Callable[[], HccpSettings]] = (
    {preset.__name__: preset for preset in (full, debiased, *BASELINES, *ABLATIONS, *SHADOWED)}
    | WEIGHTS
    | FILTERED
    | EASY
    | RANKER_ORDERS
    | MARGINS
)


def sized(settings: HccpSettings, size: str) -> HccpSettings:
    """The same in one of SIZES."""
    if size == "tiny":
        return replace(
            settings, dimensions=16, history_length=10, batch_requests=32, epochs=2, unknown_buckets=4,
            attribute_size=64, learning_rate=1e-2,
        )  # fmt: skip
    return settings
