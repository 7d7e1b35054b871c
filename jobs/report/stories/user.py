"""A user's days: what was asked and shown, what the user did, and the groups that came of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow.compute as pc

from jobs.report import lookup
from jobs.report.stories.request import profile
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, requests
from schemas.vocabulary import Action, TargetGroup

DAYS = 14


def tell(root: str, user_id: int, days: Sequence[date] | None = None) -> dict:
    """A user's days, oldest first, and the requests and conversions of the last of them.

    Args:
        days: the dates to tell of; the newest 14 of the logs if None.

    Raises:
        MissingDataError: the user neither asked nor acted on these dates.
    """
    logged = sorted({*lookup.dates(root, requests), *lookup.dates(root, conversions)})
    wanted = [day for day in logged if days is None or day in days][-DAYS if days is None else 0 :]
    of_user = pc.field("user_id") == user_id
    asked = lookup.rows(root, requests, wanted, of_user, requests.names)
    acted = lookup.rows(root, conversions, wanted, of_user)
    labels = lookup.rows(root, target_groups, wanted, of_user)
    seen = sorted({row["date"] for row in (*asked, *acted)})
    if not seen:
        between = f"{wanted[0]} to {wanted[-1]}" if wanted else "no date"
        raise MissingDataError(f"user {user_id} has no request and no conversion; looked at {between}")
    last = seen[-1]
    acted_last = [row for row in acted if row["date"] == last]
    return {
        "user_id": user_id,
        "profile": profile(root, user_id, last + timedelta(days=1)),
        "days": [_day(day, asked, acted, labels) for day in seen],
        "requests": _requests([row for row in asked if row["date"] == last], labels),
        "conversions": sorted(
            ({name: row[name] for name in conversions.names if name != "user_id"} for row in acted_last),
            key=lambda row: (row["event_time"], row["event_id"]),
        ),
    }


def _day(day: date, asked: list[dict], acted: list[dict], labels: list[dict]) -> dict:
    actions = Counter(row["action"] for row in acted if row["date"] == day)
    groups = Counter(row["group"] for row in labels if row["date"] == day)
    return {
        "date": day,
        "requests": sum(row["date"] == day for row in asked),
        **{str(group): groups[group] for group in TargetGroup},
        **{str(action): actions[action] for action in reversed(Action)},
    }


def _requests(asked: list[dict], labels: list[dict]) -> list[dict]:
    """A row a request, oldest first, with how many items are in each of its groups."""
    groups = Counter((row["request_id"], row["group"]) for row in labels)
    return [
        {
            **{name: row[name] for name in ("request_id", "request_time", "scenario")},
            **{str(group): groups[row["request_id"], group] for group in TargetGroup},
        }
        for row in sorted(asked, key=lambda row: (row["request_time"], row["request_id"]))
    ]
