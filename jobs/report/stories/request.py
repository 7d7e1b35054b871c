"""One request's way: who asked, what was found, what was let through and shown, what came of it and why."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pyarrow.compute as pc

from jobs.report import lookup
from jobs.report.stories import words
from jobs.report.stories.attribution import Rule, belongs_to
from schemas.storage.days import dates_between, local_date
from schemas.storage.settings import RootSettings
from schemas.table import MissingDataError
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals, stages, users
from schemas.tables.samples import hccp_samples
from schemas.vocabulary import CLOCK_SKEW, Stage

_PROFILE_DAYS = 30


def tell(root: str, request_id: str, days: Sequence[date] | None = None) -> dict:
    """All that the tables hold of a request.

    Args:
        days: dates to look for it on; every date, newest first, if None.

    Raises:
        MissingDataError: no such request was logged.
    """
    request = find(root, request_id, days)
    day, rule = request["date"], Rule.of(root, request["date"])
    same = pc.field("request_id") == request_id
    channels = sorted(lookup.rows(root, retrievals, [day], same), key=lambda row: row["channel"])
    shown = lookup.rows(root, impressions, [day], same)
    let_through = {row["stage"]: row["item_ids"] for row in lookup.rows(root, stages, [day], same)}
    labels = lookup.rows(root, target_groups, [day], same)
    order = ["ETG", "RTG", "ITG"]
    labels.sort(key=lambda row: (order.index(row["group"]), row["position"] or 10**9, row["item_id"]))
    extra = [name for name in request if name not in (*requests.names, "date")]
    return {
        "request_id": request_id,
        "date": day,
        **{name: request[name] for name in ("user_id", "scenario", "request_time")},
        "target": request["scenario"] in rule.scenarios,
        "context": {name: request[name] for name in extra if request[name] is not None},
        "profile": profile(root, request["user_id"], day),
        "history": _history(root, day, request_id),
        "channels": [{name: row[name] for name in ("channel", "item_ids")} for row in channels],
        "stages": {stage.value: let_through[stage] for stage in Stage if stage in let_through},
        "impressions": sorted(
            ({name: row[name] for name in impressions.names[1:]} for row in shown), key=lambda row: row["position"]
        ),
        "window_hours": rule.window // timedelta(hours=1),
        "afterwards": afterwards(root, request, rule),
        "labelled": rule.recorded,
        "groups": [
            {**{name: row[name] for name in row if name not in ("request_id", "user_id", "date")},
             "why": words.group_reason(row, channels, request)}
            for row in labels
        ],
        "levels": _levels(root, day, request_id),
    }  # fmt: skip


def find(root: str, request_id: str, days: Sequence[date] | None) -> dict:
    """The request's row, with its date.

    Raises:
        MissingDataError: no such request was logged on these dates.
    """
    present = lookup.dates(root, requests)
    for day in reversed([day for day in present if days is None or day in days]):
        found = lookup.rows(root, requests, [day], pc.field("request_id") == request_id)
        if found:
            return found[0]
    there = f"{present[0]} to {present[-1]}" if present else "none"
    raise MissingDataError(f"logs/requests has no request {request_id!r}; dates there: {there}")


def profile(root: str, user_id: int, day: date) -> dict | None:
    """The user's row in the newest snapshot of the 30 days before a date; None without a snapshot."""
    days = lookup.dates(root, users, day - timedelta(days=_PROFILE_DAYS), day - timedelta(days=1))
    if not days:
        return None
    found = lookup.rows(root, users, days[-1:], pc.field("user_id") == user_id)
    known = found[0] if found else {}
    attributes = {name: value for name, value in known.items() if name not in ("user_id", "date") and value is not None}
    return {"date": days[-1], "attributes": attributes}


def afterwards(root: str, request: dict, rule: Rule) -> list[dict]:
    """What the user did in the request's window, anywhere, with the requests each conversion belongs to and why."""
    begin, end = request["request_time"] - CLOCK_SKEW, request["request_time"] + rule.window
    of_user = pc.field("user_id") == request["user_id"]
    acted = lookup.rows(root, conversions, _dates(root, begin, end), of_user)
    acted = [row for row in acted if begin <= row["event_time"] < end]
    asked = lookup.rows(root, requests, _dates(root, begin - rule.window, end), of_user, requests.names)
    targets = [row for row in asked if row["scenario"] in rule.scenarios]
    told = []
    for row in sorted(acted, key=lambda row: (row["event_time"], row["event_id"])):
        if row["event_time"] < request["request_time"] and row["request_id"] != request["request_id"]:
            continue
        owners, why = belongs_to(row, targets, rule)
        told.append(
            {name: row[name] for name in conversions.names if name != "user_id"} | {"belongs_to": owners, "why": why}
        )
    return told


def _dates(root: str, first: datetime, last: datetime) -> list[date]:
    zone = RootSettings.of(root).time_zone
    return dates_between(local_date(first, zone), local_date(last, zone))


def _history(root: str, day: date, request_id: str) -> list[dict] | None:
    """The conversions known at the request, oldest first; None where user_histories lacks the date."""
    if day not in lookup.dates(root, user_histories):
        return None
    found = lookup.rows(root, user_histories, [day], pc.field("request_id") == request_id)
    row = found[0] if found else {name: [] for name in user_histories.names}
    parts = zip(row["history_item_ids"], row["history_actions"], row["history_times"], strict=True)
    return [{"item_id": item, "action": action, "event_time": time} for item, action, time in parts]


def _levels(root: str, day: date, request_id: str) -> dict[str, list[int]] | None:
    """The items of the request's hybrid sample by level, best first; None without a sample of it."""
    found = lookup.rows(
        root, hccp_samples, [day], pc.field("request_id") == request_id, ("request_id", "item_ids", "levels")
    )
    if not found:
        return None
    levels: dict[str, list[int]] = {}
    for item, level in zip(found[0]["item_ids"], found[0]["levels"], strict=True):
        levels.setdefault(level, []).append(item)
    return levels
