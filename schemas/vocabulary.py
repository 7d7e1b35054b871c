"""The closed vocabularies of the funnel, each in its order."""

from datetime import timedelta
from enum import StrEnum


class Action(StrEnum):
    """What a user did to an item, weakest first."""

    CLICK = "click"
    FAVORITE = "favorite"
    CART = "cart"
    PURCHASE = "purchase"

    @property
    def strength(self) -> int:
        """1 for the weakest action to 4 for the strongest."""
        return list(Action).index(self) + 1


class Stage(StrEnum):
    """A stage after retrieval, in the funnel's order; the last one lets nothing through and may be absent."""

    PRE_RANKING = "pre_ranking"
    RANKING = "ranking"
    RE_RANKING = "re_ranking"
    SHADOW_RANKING = "shadow_ranking"  # what pre-ranking dropped and ranking scored all the same, to learn from


FUNNEL = (Stage.PRE_RANKING, Stage.RANKING, Stage.RE_RANKING)  # the stages that let items through


class TargetGroup(StrEnum):
    """What became of an item around a request."""

    ETG = "ETG"  # exposed
    RTG = "RTG"  # acted on and retrieved by some channel
    ITG = "ITG"  # acted on and retrieved by none


class Level(StrEnum):
    """Where in the funnel a sample's item ended, best first; `ranked` and `shadow` together as ranking orders."""

    PURCHASED = "purchased"
    CLICKED = "clicked"
    EXPOSED = "exposed"
    RANKED = "ranked"
    SHADOW = "shadow"
    FILTERED = "filtered"


class Attribution(StrEnum):
    """Who gets a conversion that names no request: the user's latest whose window holds it, or every one."""

    LAST_REQUEST = "last_request"
    EVERY_REQUEST = "every_request"


class Popularity(StrEnum):
    """A segment of items by their share of conversions, most used first."""

    TOP = "top"
    MIDDLE = "middle"
    TAIL = "tail"


INCREC = "increc"  # the channel of IncRec's own lists: what others miss, it is learned and judged by
HOMEPAGE = "homepage"
# Two clocks may differ by this much: a row may be logged before its event, an event may precede the request it names.
CLOCK_SKEW = timedelta(minutes=5)
ELSEWHERE = "elsewhere"
