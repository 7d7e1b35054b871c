"""The IncRec models that are compared: a function for each preset and ablation.

Marks: [P] the paper's own claim (arXiv 2512.06381), [R] a reader's account, [D] decided here, as is what has no mark.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from models.increc.settings import IncRecSettings

SIZES = ("default", "tiny")


def base() -> IncRecSettings:
    """One user tower, RTG and ITG alike: what a team has today."""
    return IncRecSettings(weight_basic=1.0)


def boost() -> IncRecSettings:
    """base with ITG up-weighted: stands in for TB-boost, whose definition was not found [D]."""
    return replace(base(), itg_weight=3.0)


def ori() -> IncRecSettings:
    """Incremental tower alone, ITG positives; RTG is no negative [R]."""
    return IncRecSettings(weight_inc=1.0)


def na() -> IncRecSettings:
    """IncRec-NA: incremental tower alone, RTG items as explicit negatives, no alignment [R]."""
    return replace(ori(), rtg_negatives=True)


def full() -> IncRecSettings:
    """All terms [R], alpha over the batch's exposed items [D]."""
    return replace(na(), weight_basic=1.0, weight_align=1.0, alpha="batch")


# --- ablations: full or base with one thing changed


def full_request() -> IncRecSettings:
    """full with e* among the request's own exposed items [R]."""
    return replace(full(), alpha="request")


def full_without_alpha() -> IncRecSettings:
    """full with every ITG row alike; the alignment loss stays."""
    return replace(full(), alpha="none")


def full_without_rtg() -> IncRecSettings:
    """full without explicit RTG negatives."""
    return replace(full(), rtg_negatives=False)


def full_without_logq() -> IncRecSettings:
    """full with sampled negatives as they were drawn."""
    return replace(full(), logq=False)


def base_aligned() -> IncRecSettings:
    """base with the alignment loss beside it, as a regulariser of the item tower [D]."""
    return replace(base(), weight_align=1.0)


# --- alpha: other forms, controls, and the threshold's curve


def alpha_form(form: str, threshold: float = 0.0) -> IncRecSettings:
    """full with another form of alpha."""
    return replace(full(), alpha_form=form, alpha_threshold=threshold)


def threshold_curve(form: str) -> tuple[str, ...]:
    """The presets of a form by their threshold, ascending; the middle one's is 0."""
    below, above = (tuple(f"alpha_{form}_{name}" for name in names) for names in (list(_SWEEP)[:2], list(_SWEEP)[2:]))
    return (*below, "full" if form == "sigmoid" else f"alpha_{form}", *above)


# --- objectives that should survive filtering: IncF@K counts only what the channels had not retrieved. ITG alone loses
# there because it gives up what RTG says of taste, so each of these keeps RTG. All are base_aligned or full with one
# thing changed, and share every setting that is tuned.


def rtg_weight(weight: float) -> IncRecSettings:
    """base_aligned with RTG positives of lower weight [D].

    Hypothesis: some weight between 0 (ITG alone) and 1 keeps RTG's taste and still leans towards what is new.
    """
    return replace(base_aligned(), rtg_weight=weight)


def residual(weight: float) -> IncRecSettings:
    """base_aligned and an ITG residual: u_basic + w u_inc serves, and L_inc learns on that sum's score [D].

    Hypothesis: ITG is too sparse to learn taste from, but not to learn how incremental taste differs from base's.
    """
    return replace(base_aligned(), weight_inc=1.0, residual=True, inc_share=weight / (1 + weight))


def blend(share: float) -> IncRecSettings:
    """full with (1 - b) u_basic + b u_inc serving; training is full's own, and b = 1 is full [D].

    Hypothesis: the two towers err differently, so that a mixture ranks ITG above either.
    """
    return replace(full(), inc_share=share)


def exposable() -> IncRecSettings:
    """full with ITG rows weighted by their own chance of being exposed, by u_align [D].

    Hypothesis: what the downstream would never show only costs taste; alpha of mean 1 cannot say so of a whole batch.
    """
    return replace(full(), alpha="exposure")


def masked() -> IncRecSettings:
    """base_aligned whose ITG rows do not compete with what the channels had retrieved for the request [D].

    Hypothesis: the filter removes those rivals anyway; not learning against them leaves the order of the rest better.
    """
    return replace(base_aligned(), mask_retrieved=True)


def residual_masked() -> IncRecSettings:
    """residual of weight 1 with the masks of `masked` in both terms [D].

    Hypothesis: as base's score is highest on retrieved items, a residual without masks spends itself on lowering them.
    """
    return replace(residual(1.0), mask_retrieved=True)


def base_aligned_with_item_cf() -> IncRecSettings:
    """base_aligned fused with item-CF applied twice, half and half: what fusing gains without IncRec [D]."""
    return replace(base_aligned(), item_cf_share=0.5)


def full_with_item_cf() -> IncRecSettings:
    """full fused with item-CF applied twice, half and half [D].

    Hypothesis: full finds at the head what item-CF does not, and gives up the tail, which item-CF finds.
    """
    return replace(full(), item_cf_share=0.5)


COMPARED = (base, boost, ori, na, full)
ABLATIONS = (full_request, full_without_alpha, full_without_rtg, full_without_logq, base_aligned)
_SWEEP = {"minus_1": -1.0, "minus_half": -0.5, "half": 0.5, "1": 1.0}  # beside 0, in deviations
ALPHAS: dict[str, Callable[[], IncRecSettings]] = {
    f"alpha_{form}": partial(alpha_form, form) for form in ("linear", "step", "random", "popularity")
} | {
    f"alpha_{form}_{name}": partial(alpha_form, form, threshold)
    for form in ("sigmoid", "linear", "step")
    for name, threshold in _SWEEP.items()
}

_BELOW_1 = {"0": 0.0, "quarter": 0.25, "half": 0.5}
RTG_WEIGHTS = {f"rtg_weight_{name}": partial(rtg_weight, weight) for name, weight in _BELOW_1.items()}
RESIDUALS = {
    f"residual_{name}": partial(residual, weight) for name, weight in {"half": 0.5, "1": 1.0, "2": 2.0}.items()
}
BLENDS = {f"blend_{name}": partial(blend, share) for name, share in {**_BELOW_1, "three_quarters": 0.75}.items()}
FILTERED: dict[str, Callable[[], IncRecSettings]] = {
    **RTG_WEIGHTS, **RESIDUALS, **BLENDS, "exposable": exposable, "masked": masked, "residual_masked": residual_masked,
    "base_aligned_with_item_cf": base_aligned_with_item_cf, "full_with_item_cf": full_with_item_cf,
}  # fmt: skip

PRESETS: dict[str, Callable[[], IncRecSettings]] = {preset.__name__: preset for preset in (*COMPARED, *ABLATIONS)} | {
    **ALPHAS,
    **FILTERED,
}


def sized(settings: IncRecSettings, size: str) -> IncRecSettings:
    """The same in one of SIZES."""
    if size == "tiny":
        return replace(
            settings, dimensions=16, uniform_negatives=64, history_length=10, batch_requests=64, epochs=2,
            unknown_buckets=4, attribute_size=64,
        )  # fmt: skip
    return settings
