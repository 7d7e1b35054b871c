"""What decides a pre-ranker and its training: one flat record."""

from dataclasses import dataclass

from schemas.vocabulary import Level


@dataclass(frozen=True)
class HccpSettings:
    """Every setting of a pre-ranker and its training.

    base: the network that scores, a name of `hccp_bases.BASES`.
    objective: what it learns to lower, a name of `hccp_objectives.OBJECTIVES`.
    weight_response, weight_global, weight_local, weight_margin: weights of HCCP's loss terms; 0 leaves one out. Of the
        other objectives `distillation`, `copr`, `rank_flow` and `ranker_order` heed the first, the rest none of them.
    weight_auxiliary: of an objective's term beside its first one.
    ranked, shadow, filtered: whether that level's items are learned from.
    filtered_weight: how often each filtered item counts in HCCP's denominators, on average over a request's [D].
    filtered_popularity: among them in proportion to (1 + its conversions) to this power: of what a pre-ranker biased to
        popularity dropped, the unpopular say least of why [D].
    margin_exposed, margin_ranked, margin_filtered: of hard negatives, in units of the temperature; taken from their
        scores, so that a larger one pushes an item less.
    margin_positive: the other form, in the same units: taken from a positive's score, which has to win by that more.
    ranked_positives: so many of the first ranked items count as positives of L_margin too, HCCP's potential ones [P].
    temperature: of L_margin and of `ranker_order`'s InfoNCE; where cosine_temperature is set, of these scores.
    cosine_temperature: of `dual_tower`: above 0 its scores are cosines over this and know no popularity; at 0 they are
        unbounded, and their scale is learned [D].
    weight_clicked, weight_purchased: a clicked positive weighs 1 + the first in L_margin and in `ranker_order`, a
        purchased one 1 + both; in ASMOL they weigh its two terms.
    chunk: so many items of the ranker's order make a chunk in COPR.
    sort_temperature: of the relaxed sort in ARF and LCRON; near the length of the list.
    in_batch_easy, catalogue_easy: easy negatives a request, from other requests' items and from all items.
    easy_popularity: an item of the catalogue is drawn in proportion to (1 + its conversions) to this power; 0 draws
        evenly, 1 by popularity [D].
    unknown_share: share of item occurrences that are trained as unknown, so that a new item's vector means
        something.
    unknown_buckets: item rows that unknown ids share. attribute_size: at most so many codes an attribute.
    """

    base: str = "dual_tower"
    objective: str = "hybrid"
    weight_response: float = 1.0
    weight_global: float = 1.0
    weight_local: float = 0.5
    weight_margin: float = 1.0
    weight_auxiliary: float = 1.0
    ranked: bool = True
    shadow: bool = False
    filtered: bool = True
    filtered_weight: float = 1.0
    filtered_popularity: float = 0.0
    margin_exposed: float = 1.0
    margin_ranked: float = 0.75
    margin_filtered: float = 0.5
    margin_positive: float = 0.0
    ranked_positives: int = 0
    temperature: float = 1.0
    cosine_temperature: float = 0.0
    weight_clicked: float = 1.0
    weight_purchased: float = 2.0
    chunk: int = 4
    sort_temperature: float = 50.0
    in_batch_easy: int = 3
    catalogue_easy: int = 3
    easy_popularity: float = 0.0
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
        terms = (self.weight_response, self.weight_global, self.weight_local, self.weight_margin)
        if self.objective == "hybrid" and not any(terms):
            raise ValueError("every weight of a loss term is 0: nothing would be learned")
        if self.filtered_weight <= 0:
            raise ValueError(f"filtered_weight is {self.filtered_weight}, should be above 0; filtered=False is none")

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that are learned from, best first."""
        left_out = {Level.RANKED: not self.ranked, Level.SHADOW: not self.shadow, Level.FILTERED: not self.filtered}
        return tuple(level for level in Level if not left_out.get(level, False))
