"""Every dial of the simulated world, in one flat place. Studies in Python `replace()` what they vary."""

from dataclasses import dataclass

CHANNELS = ("hot", "item_to_item", "embedding", "category", "own_recent")


@dataclass(frozen=True)
class World:
    """One world. Two equal Worlds give the same bytes for the same date.

    Shares and probabilities are within 0..1; "standardised" means mean 0 and deviation 1 over the
    candidates of one request.
    """

    users: int = 20_000
    items: int = 20_000
    seed: int = 0

    # Who likes what
    dimensions: int = 16  # of the latent taste space; every taste has unit length
    items_per_category: int = 100  # on average; the sizes vary
    category_share: float = 0.6  # share of an item's taste that its category explains
    interests: int = 3  # categories that make up a user's taste
    user_spread: float = 0.5  # length of a user's taste that no category explains, beside interests of length 1
    zipf: float = 0.9  # exponent of item popularity
    taste: float = 4.0  # logits of click per unit of cosine between a user and an item
    quality: float = 0.5  # logits of click per standardised quality of an item
    quality_popularity: float = 0.4  # correlation of an item's quality with its log popularity
    purchase_taste: float = 0.4  # logits of purchase after a click, per logit of click
    purchase_value: float = 0.5  # logits of purchase after a click, per standardised value for money of an item
    activity_spread: float = 0.8  # deviation of the logarithm of a user's activity, whose mean is 1

    # What happens in a day
    requests_per_user: float = 1.0  # homepage requests a user and day: the request density
    other_requests: float = 0.25  # requests of other scenarios per homepage request; nothing is retrieved for them
    visits_elsewhere: float = 1.5  # items a user visits a day outside the homepage, each at least a click
    elsewhere_sharpness: float = 1.2  # how much more than popularity the taste decides there, per logit of click
    scenarios: tuple[str, ...] = ("search", "cart_page", "category_page")
    scenario_shares: tuple[float, ...] = (0.6, 0.2, 0.2)
    favorite: float = 0.06  # probability after a click, anywhere
    cart: float = 0.12  # the same
    purchase_elsewhere: float = 0.25  # probability of a purchase after a click elsewhere
    ctr: float = 0.075  # clicks an impression; the click logits' intercept is solved for it on a pilot
    cvr: float = 0.14  # purchases a click on the homepage; solved for in the same way
    position_bias: float = 0.4  # position p is looked at with probability p ** -position_bias

    # The interest that the channels miss by construction
    planted_items: float = 0.1  # share of the catalogue, in whole categories, that no channel ever returns
    planted_demand: float = 0.2  # share of the visits elsewhere that go there, on average over users
    planted_taste: float = 0.0  # length of a user's taste for one planted category, clicked on wherever it is shown

    # Retrieval: items a channel returns. All shrink by one factor where together they exceed 30 % of the catalogue.
    hot: int = 200
    item_to_item: int = 300
    embedding: int = 350
    category: int = 300
    own_recent: int = 50
    coverage: float = 1.0  # multiplies every channel's size: how much of what people act on is retrieved
    memory_days: int = 7  # days of actions elsewhere that the channels know of; homepage actions they do not
    triggers: int = 10  # recent items that item_to_item starts from
    categories_retrieved: int = 6  # categories that the category channel fills its list from
    channel_noise: float = 0.8  # noise in the channels' item and user vectors, beside tastes of length 1
    channel_popularity: float = 0.1  # cosine that a channel adds per standardised log popularity of an item

    # The stages after it
    pre_ranking_keep: int = 150  # at most a quarter of the channels' sizes together
    pre_ranking_correlation: float = 0.4  # of its score with the true click logit, inside a request
    pre_ranking_popularity: float = 0.6  # correlation of the rest of its score with log popularity: its bias
    ranking_correlation: float = 0.92
    exploration_slots: int = 0  # places of pre-ranking that go to what it would have dropped; see exploration.py
    shadow_ranked: int = 0  # dropped candidates a request that ranking scores all the same, to be learned from alone
    category_cap: int = 3  # shown items of one category at most
    exposed: int = 10  # at most; slots that the category cap leaves empty stay empty

    # Faults and delays of the logs
    late_share: float = 0.05  # conversions that become known hours or days later, the others within minutes
    late_hours: float = 12.0  # their mean delay; at most 72
    duplicates: float = 0.0  # share of conversions that land twice, identical
    conflicts: float = 0.0  # share of conversions that land again under the same event_id with another item
    truth_requests: int = 20_000  # requests a day, about, whose candidates' probabilities are written

    def channel_sizes(self) -> dict[str, int]:
        """How many items each channel may return for a request."""
        sizes = {name: getattr(self, name) for name in CHANNELS}
        shrink = min(1.0, 0.3 * self.items / max(1, sum(sizes.values())))
        return {name: max(1, round(size * shrink * self.coverage)) for name, size in sizes.items() if size}

    def kept_by_pre_ranking(self) -> int:
        return max(1, min(self.pre_ranking_keep, sum(self.channel_sizes().values()) // 4))

    def categories(self) -> int:
        return max(4, self.items // self.items_per_category)
