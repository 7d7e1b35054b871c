"""Every number the replay depends on, in one place; the manifest of each landing folder repeats them."""

from dataclasses import asdict, dataclass

SESSION, DAY = "session", "day"
DENSITIES = (SESSION, DAY)


@dataclass(frozen=True)
class Settings:
    """How requests are placed and how the simulated funnel is built.

    `channel_size` is the length of each channel but the user's own items, which are a quarter of it.
    """

    source: str
    request_density: str = SESSION
    channel_size: int = 200
    warm_up_days: int = 4  # dates without requests, to learn from; the published log's first is partial
    session_gap_minutes: int = 30
    naming_hours: int = 24
    history_length: int = 50  # distinct items a user is remembered by
    paired_items: int = 30  # of those, the latest that count as used together
    trigger_items: int = 20  # of those, the latest whose neighbours are retrieved
    neighbours: int = 50
    als_items: int = 50_000  # ALS knows the most used items only: its top list is users x items
    als_rank: int = 16
    als_iterations: int = 4
    als_alpha: float = 10.0
    als_regularization: float = 0.1
    pre_ranked: int = 150
    shadow_ranked: int = 0  # dropped candidates that the ranker scores all the same, to be learned from alone
    ranker_users: int = 2_000
    ranker_negative_share: float = 0.1
    spread: int = 4
    exposed: int = 10
    seed: int = 0
    version: int = 3  # raised when the same settings give other rows

    @property
    def own_items(self) -> int:
        """Length of the channel of the user's own items."""
        return min(self.history_length, max(1, self.channel_size // 4))

    def recorded(self) -> dict:
        """What the manifest says; `simulated` because only the conversions are real."""
        return {"simulated": True, **asdict(self)}


@dataclass(frozen=True)
class ListSettings:
    """The same for a log of lists that were really shown: channels and the stages before the list are simulated.

    `channel_size` is the length of each channel but the user's own items, which are a quarter of it.
    """

    source: str
    channel_size: int = 200
    pause_minutes: int = 30  # between two rows of a session; longer, and they are of no one list
    history_length: int = 50
    paired_items: int = 30  # of a user's items, the first that count as used together
    trigger_items: int = 20  # of the user's own items, the latest whose co-clicked ones are retrieved
    fusion: int = 60
    pre_ranked: int = 50  # beside the list: most cities have few hotels in the log
    version: int = 1  # raised when the same settings give other rows

    @property
    def own_items(self) -> int:
        """Length of the channel of the user's own items."""
        return min(self.history_length, max(1, self.channel_size // 4))

    def recorded(self) -> dict:
        """What the manifest says; requests, impressions and conversions are the log's."""
        return {"simulated": ["retrievals", "stages"], **asdict(self)}
