"""HCCP's settings: one flat record, and a function for each preset and ablation that is compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from schemas.labels import Level

SIZES = ("default", "tiny")


@dataclass(frozen=True)
class HccpSettings:
    """Every setting of a pre-ranker and its training.

    base: the network that scores, a name of `hccp.BASES`.
    weight_response, weight_global, weight_local, weight_margin: weights of the loss terms; 0 leaves one out.
    ranked, filtered: whether that level's items are learned from.
    margin_exposed, margin_ranked, margin_filtered: of hard negatives, in units of the temperature.
    weight_clicked, weight_purchased: a clicked positive weighs 1 + the first in L_margin, a purchased one 1 + both.
    in_batch_easy, catalogue_easy: easy negatives a request, from other requests' items and from all items.
    unknown_share: share of item occurrences that are trained as unknown, so that a new item's vector means
        something.
    unknown_buckets: item rows that unknown ids share. attribute_size: at most so many codes an attribute.
    """

    base: str = "dual_tower"
    weight_response: float = 1.0
    weight_global: float = 1.0
    weight_local: float = 0.5
    weight_margin: float = 1.0
    ranked: bool = True
    filtered: bool = True
    margin_exposed: float = 1.0
    margin_ranked: float = 0.75
    margin_filtered: float = 0.5
    temperature: float = 1.0
    weight_clicked: float = 1.0
    weight_purchased: float = 2.0
    in_batch_easy: int = 3
    catalogue_easy: int = 3
    dimensions: int = 32
    history_length: int = 50
    pooling: str = "attention"
    unknown_share: float = 0.02
    unknown_buckets: int = 64
    attribute_size: int = 16_384
    batch_requests: int = 64
    epochs: int = 3
    learning_rate: float = 2e-3

    def __post_init__(self):
        if not (self.weight_response or self.weight_global or self.weight_local or self.weight_margin):
            raise ValueError("every weight of a loss term is 0: nothing would be learned")

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that are learned from, best first."""
        left_out = {Level.RANKED: not self.ranked, Level.FILTERED: not self.filtered}
        return tuple(level for level in Level if not left_out.get(level, False))


def full() -> HccpSettings:
    """All levels and all terms."""
    return HccpSettings()


def exposed_only() -> HccpSettings:
    """Binary cross-entropy on exposures: what a team has today."""
    return replace(
        full(), weight_global=0.0, weight_local=0.0, weight_margin=0.0, ranked=False, filtered=False,
        in_batch_easy=0, catalogue_easy=0,
    )  # fmt: skip


def without_filtered() -> HccpSettings:
    """full, learning nothing from what pre-ranking dropped."""
    return replace(full(), filtered=False)


def without_ranked() -> HccpSettings:
    """full, learning nothing from what was ranked and not shown."""
    return replace(full(), ranked=False)


def without_easy() -> HccpSettings:
    """full, without in-batch and catalogue negatives."""
    return replace(full(), in_batch_easy=0, catalogue_easy=0)


def without_global() -> HccpSettings:
    """full, without ListMLE over the whole list."""
    return replace(full(), weight_global=0.0)


def without_local() -> HccpSettings:
    """full, without ListMLE inside the head."""
    return replace(full(), weight_local=0.0)


def without_margin_loss() -> HccpSettings:
    """full, without Margin InfoNCE."""
    return replace(full(), weight_margin=0.0)


def margin_zero() -> HccpSettings:
    """full with plain InfoNCE."""
    return replace(full(), margin_exposed=0.0, margin_ranked=0.0, margin_filtered=0.0)


def tiny() -> HccpSettings:
    """full for tests: seconds."""
    return sized(full(), "tiny")


PRESETS: dict[str, Callable[[], HccpSettings]] = {
    preset.__name__: preset
    for preset in (
        exposed_only, full, without_filtered, without_ranked, without_easy, without_global, without_local,
        without_margin_loss, margin_zero, tiny,
    )
}  # fmt: skip


def sized(settings: HccpSettings, size: str) -> HccpSettings:
    """The same in one of SIZES."""
    if size == "tiny":
        return replace(
            settings, dimensions=16, history_length=10, batch_requests=32, epochs=2, unknown_buckets=4,
            attribute_size=64, learning_rate=1e-2,
        )  # fmt: skip
    return settings
