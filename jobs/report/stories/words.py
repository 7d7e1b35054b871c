"""Sentences for people: how long after, what was done, and why an item is in its group."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

from schemas.vocabulary import Action, TargetGroup

_DONE = {
    Action.CLICK: "clicked",
    Action.FAVORITE: "marked as favorite",
    Action.CART: "put into the cart",
    Action.PURCHASE: "purchased",
}
_UNITS = ((1, "second", 120), (60, "minute", 120), (3600, "hour", 48), (86400, "day", math.inf))  # seconds, up to


def done(action: str) -> str:
    """`purchased` for `purchase`; an action that is not known stays as it is."""
    return _DONE.get(action, action)


def later(after: timedelta) -> str:
    """`40 minutes later`; `10 seconds before` for a negative one."""
    seconds = round(abs(after.total_seconds()))
    if seconds == 0:
        return "at once"
    counted = ((round(seconds / size), unit, most) for size, unit, most in _UNITS)
    number, unit = next((number, unit) for number, unit, most in counted if number < most)
    return f"{number} {unit}{'' if number == 1 else 's'} {'before' if after < timedelta(0) else 'later'}"


def places(item: int, channels: Sequence[Mapping]) -> list[tuple[int, str]]:
    """(place from 1, channel) of an item in each channel's list that has it, best first."""
    return sorted((each["item_ids"].index(item) + 1, each["channel"]) for each in channels if item in each["item_ids"])


def group_reason(label: Mapping, channels: Sequence[Mapping], request: Mapping) -> str:
    """Why an item is in its group.

    Args:
        label: a row of target_groups.
        channels: channel, item_ids of the request's lists.
        request: request_time, scenario.
    """
    acted = _acted(label, request)
    match label["group"]:
        case TargetGroup.ETG:
            return f"shown at position {label['position']}; {acted}"
        case TargetGroup.ITG:
            return f"no channel had it; {acted}"
    had = [f"{channel} had it at place {place}" for place, channel in places(label["item_id"], channels)]
    where = ", ".join(had) if had else "it was shown, though no channel's list has it"
    return f"{where}; {acted}"


def _acted(label: Mapping, request: Mapping) -> str:
    if label["action"] is None:
        return "no action followed"
    where = "on the same page" if label["scenario"] == request["scenario"] else f"in {label['scenario']}"
    after = later(label["action_time"] - request["request_time"])
    more = f" ({label['actions']} actions in all)" if label["actions"] > 1 else ""
    return f"{done(label['action'])} {after} {where}{more}"
