"""IncRec's settings: one flat record, and a function for each preset and ablation that is compared.

Marks: [P] the paper's own claim (arXiv 2512.06381), [R] a reader's account, [D] decided here, as is what has no mark.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

SIZES = ("default", "tiny")


@dataclass(frozen=True)
class IncRecSettings:
    """Every setting of an IncRec model and its training.

    weight_basic, weight_inc, weight_align: weights of the loss terms [R], their values [D]; a tower whose term is 0 is
        not built.
    itg_weight: weight of an ITG row inside L_basic, where an RTG row has 1 [D].
    rtg_negatives: whether a request's RTG items are explicit negatives in L_inc [R]: those that were drawn as targets.
    alpha: `none` (all 1), `request` [R] or `batch` [D]: among whose exposed items e* is looked for; all of the
        request's, or those drawn of every request's.
    alpha_form: what alpha follows and how it rises with it, a name of `retrieval_losses.ALPHA_FORMS` [D].
    alpha_threshold: where it rises, in deviations above the signal's mean over the batch [D].
    logq: whether sampled negatives are corrected by their expected counts.
    exposures_per_request, targets_per_request: rows drawn per request and batch, targets for RTG and ITG each;
        lists that are shorter are taken whole.
    unknown_share: share of history positions that are trained as unknown items, so that their vectors mean something.
    unknown_buckets: item rows that unknown ids share. attribute_size: at most so many codes an attribute.
    user_buckets: rows for hashed user ids; 0 leaves the user id out, so a new user is like any other.
    """

    weight_basic: float = 0.0
    weight_inc: float = 0.0
    weight_align: float = 0.0
    itg_weight: float = 1.0
    rtg_negatives: bool = False
    alpha: str = "none"
    alpha_form: str = "sigmoid"
    alpha_threshold: float = 0.0
    logq: bool = True
    dimensions: int = 48
    temperature: float = 0.4
    uniform_negatives: int = 2048
    history_length: int = 50
    pooling: str = "attention"
    user_buckets: int = 0
    unknown_share: float = 0.02
    unknown_buckets: int = 64
    attribute_size: int = 16_384
    exposures_per_request: int = 2
    targets_per_request: int = 8
    batch_requests: int = 512
    epochs: int = 4
    learning_rate: float = 0.1

    def __post_init__(self):
        if self.alpha not in ("none", "request", "batch"):
            raise ValueError(f"alpha is {self.alpha!r}, should be 'none', 'request' or 'batch'")
        if self.alpha != "none" and not self.weight_align:
            raise ValueError("alpha needs the alignment tower: weight_align must be above 0")
        if not (self.weight_basic or self.weight_inc):
            raise ValueError("one of weight_basic and weight_inc must be above 0: no tower would serve")

    @property
    def serving(self) -> str:
        """The user tower that retrieves: `inc` where it is trained, else `basic`."""
        return "inc" if self.weight_inc else "basic"


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

PRESETS: dict[str, Callable[[], IncRecSettings]] = {
    preset.__name__: preset for preset in (*COMPARED, *ABLATIONS)
} | ALPHAS


def sized(settings: IncRecSettings, size: str) -> IncRecSettings:
    """The same in one of SIZES."""
    if size == "tiny":
        return replace(
            settings, dimensions=16, uniform_negatives=64, history_length=10, batch_requests=64, epochs=2,
            unknown_buckets=4, attribute_size=64,
        )  # fmt: skip
    return settings
