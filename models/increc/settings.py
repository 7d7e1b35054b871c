"""What decides an IncRec model and its training: one flat record.

Marks: [P] the paper's own claim (arXiv 2512.06381), [R] a reader's account, [D] decided here, as is what has no mark.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class IncRecSettings:
    """Every setting of an IncRec model and its training.

    weight_basic, weight_inc, weight_align: weights of the loss terms [R], their values [D]; a tower whose term is 0 is
        not built.
    itg_weight, rtg_weight: weights of an ITG and of an RTG row inside L_basic; their ratio is what counts [D].
    mask_retrieved: whether an ITG row's negatives leave out all that a channel had retrieved for its request [D].
    rtg_negatives: whether a request's RTG items are explicit negatives in L_inc [R]: those that were drawn as targets.
    alpha: `none` (all 1), `request` [R] or `batch` [D]: among whose exposed items e* is looked for; all of the
        request's, or those drawn of every request's. `exposure` [D]: the item's own chance of being exposed.
    alpha_form: what alpha follows and how it rises with it, a name of `retrieval_losses.ALPHA_FORMS` [D].
    alpha_threshold: where it rises, in deviations above the signal's mean over the batch [D].
    residual: whether L_inc learns what u_inc adds to the score of u_basic, which stays as L_basic taught it [D].
    inc_share: share of u_inc in the vector that serves, where it is trained; the rest is u_basic [D].
    item_cf_share: share of item-CF applied twice in the order that is judged, by reciprocal rank; the rest is the
        towers' [D]. Nothing else knows of it: export has the towers, and who serves both fuses the two lists.
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
    rtg_weight: float = 1.0
    mask_retrieved: bool = False
    rtg_negatives: bool = False
    alpha: str = "none"
    alpha_form: str = "sigmoid"
    alpha_threshold: float = 0.0
    residual: bool = False
    inc_share: float = 1.0
    item_cf_share: float = 0.0
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
        if self.alpha not in ("none", "request", "batch", "exposure"):
            raise ValueError(f"alpha is {self.alpha!r}, should be 'none', 'request', 'batch' or 'exposure'")
        if self.alpha != "none" and not self.weight_align:
            raise ValueError("alpha needs the alignment tower: weight_align must be above 0")
        if not (self.weight_basic or self.weight_inc):
            raise ValueError("one of weight_basic and weight_inc must be above 0: no tower would serve")
        if not 0 <= self.inc_share <= 1:
            raise ValueError(f"inc_share is {self.inc_share}, should be from 0 to 1")
        if not 0 <= self.item_cf_share < 1:
            raise ValueError(f"item_cf_share is {self.item_cf_share}, should be from 0 to below 1")
        if (self.residual or self.inc_share < 1) and not (self.weight_basic and self.weight_inc):
            raise ValueError("residual and inc_share need both towers: weight_basic and weight_inc must be above 0")
        if self.residual and self.inc_share == 1:
            raise ValueError("a residual serves beside u_basic: inc_share must be below 1")

    @property
    def serving(self) -> dict[str, float]:
        """User tower -> its share of the vector that retrieves: `inc` alone where it is trained and nothing is said."""
        shares = {"basic": 1 - self.inc_share, "inc": self.inc_share} if self.weight_inc else {"basic": 1.0}
        return {tower: share for tower, share in shares.items() if share}

    @property
    def residual_weight(self) -> float:
        """w of u_basic + w u_inc, which points where the vector that serves does."""
        return self.inc_share / (1 - self.inc_share)
