"""Which requests a user's conversion belongs to, for one user and in words.

The rule is that of `jobs/funnel/attribution.py`, which labels by it; here it only explains a few rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from schemas.storage import delta_log
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.tables.labels import recorded_scenarios, target_groups
from schemas.vocabulary import CLOCK_SKEW, Attribution


@dataclass(frozen=True)
class Rule:
    """How a date was labelled, or would be; `recorded` tells which."""

    window: timedelta
    attribution: str
    scenarios: tuple[str, ...]
    recorded: bool

    @classmethod
    def of(cls, root: str, day: date) -> "Rule":
        """The settings of the date's labels; those of the root where the date has none."""
        _, recorded = delta_log.newest(Root.of(root), target_groups).get(day, (None, {}))
        settings = recorded.get("settings", {})
        return cls(
            timedelta(hours=settings.get("window_hours", 24)),
            settings.get("attribution", str(Attribution.LAST_REQUEST)),
            recorded_scenarios(settings) or RootSettings.of(root).scenarios,
            bool(recorded),
        )


def belongs_to(conversion: Mapping, targets: Sequence[Mapping], rule: Rule) -> tuple[list[str], str]:
    """The target requests that a conversion belongs to, and why.

    Args:
        conversion: request_id, event_time.
        targets: request_id, request_time of the user's target requests.
    """
    when, named = conversion["event_time"], conversion["request_id"]
    for target in targets:
        begin = target["request_time"]
        if target["request_id"] == named and begin - CLOCK_SKEW <= when < begin + rule.window:
            return [named], f"it names {named}"
    holding = [each for each in targets if each["request_time"] <= when < each["request_time"] + rule.window]
    if not holding:
        return [], "outside every window"
    if rule.attribution == Attribution.EVERY_REQUEST:
        return sorted(each["request_id"] for each in holding), "every window that holds it"
    latest = max(holding, key=lambda each: (each["request_time"], each["request_id"]))["request_id"]
    return [latest], "the latest before it"
