"""IncRec's settings: one flat record, and a function for each preset that is compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace

SIZES = ("default", "tiny")


@dataclass(frozen=True)
class IncRecSettings:
    """Every setting of an IncRec model and its training.

    weight_basic, weight_inc, weight_align: weights of the loss terms; a tower whose term is 0 is not built.
    itg_weight: weight of an ITG row inside L_basic, where an RTG row has 1.
    rtg_negatives: whether a request's RTG items are explicit negatives in L_inc.
    alpha: `none` (all 1), `request` or `batch`: among whose exposed items e* is looked for.
    exposures_per_request, targets_per_request: rows drawn per request and batch, targets for RTG and ITG each;
        lists that are shorter are taken whole.
    unknown_buckets: item rows that unknown ids share. attribute_size: at most so many codes an attribute.
    user_buckets: rows for hashed user ids; 0 leaves the user id out, so a new user is like any other.
    """

    weight_basic: float = 0.0
    weight_inc: float = 0.0
    weight_align: float = 0.0
    itg_weight: float = 1.0
    rtg_negatives: bool = False
    alpha: str = "none"
    dimensions: int = 48
    temperature: float = 0.4
    uniform_negatives: int = 2048
    history_length: int = 50
    pooling: str = "attention"
    user_buckets: int = 0
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
    """base with ITG up-weighted: stands in for TB-boost, whose definition was not found."""
    return replace(base(), itg_weight=3.0)


def ori() -> IncRecSettings:
    """Incremental tower alone, ITG positives; RTG is no negative."""
    return IncRecSettings(weight_inc=1.0)


def na() -> IncRecSettings:
    """Incremental tower alone, RTG items as explicit negatives, no alignment."""
    return replace(ori(), rtg_negatives=True)


def full() -> IncRecSettings:
    """All terms, alpha over the batch's exposed items."""
    return replace(na(), weight_basic=1.0, weight_align=1.0, alpha="batch")


def tiny() -> IncRecSettings:
    """full for tests: seconds."""
    return sized(full(), "tiny")


PRESETS: dict[str, Callable[[], IncRecSettings]] = {
    preset.__name__: preset for preset in (base, boost, ori, na, full, tiny)
}


def sized(settings: IncRecSettings, size: str) -> IncRecSettings:
    """The same in one of SIZES."""
    if size == "tiny":
        return replace(
            settings, dimensions=16, uniform_negatives=64, history_length=10, batch_requests=64, epochs=2,
            unknown_buckets=4, attribute_size=64,
        )  # fmt: skip
    return settings
