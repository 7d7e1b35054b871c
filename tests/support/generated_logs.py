"""Random logs of three days in which ties and window bounds occur, and the labels' rules in plain loops."""

import random
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.support.landed import by_date, put_dates

STRENGTH = {"click": 1, "favorite": 2, "cart": 3, "purchase": 4}
DAYS = [date(2024, 3, day) for day in (1, 2, 3)]
MIDNIGHT = datetime(2024, 3, 1, tzinfo=UTC)


def generated(seed: int, per_day: int = 3600) -> dict[str, list[tuple]]:
    """Three days of logs over few users and items, times on whole minutes so that ties and bounds are met."""
    draw = random.Random(seed)
    requests, retrievals, impressions, conversions = [], [], [], []
    minute = timedelta(minutes=1)
    for n in range(3 * per_day):
        user, name = draw.randrange(900), f"q{draw.randrange(10**9):09d}-{n}"
        time = MIDNIGHT + draw.randrange(3 * 1440) * minute
        requests.append((name, user, draw.choice(["homepage", "homepage", "homepage", "search"]), time))
        for channel in draw.sample(["hot", "swing", "als"], draw.choice([0, 1, 2, 3])):
            retrievals.append((name, channel, draw.sample(range(40), draw.randrange(12)), []))
        for position in range(1, draw.randrange(6)):
            impressions.append((name, draw.randrange(40), position, time + timedelta(seconds=1)))
        if draw.random() < 0.7:
            event_time = draw.choice([time, time + draw.randrange(1800) * minute, time + 360 * minute])
            if draw.random() < 0.1:
                event_time = time + 1440 * minute
            if draw.random() < 0.1:  # the clock skew's bound is 5
                event_time = time - draw.choice([0, 4, 5, 6]) * minute
            named = draw.choice([None, None, name, requests[draw.randrange(len(requests))][0]])
            event = (f"e{draw.randrange(10**9):09d}-{n}", user, draw.randrange(40), draw.choice(list(STRENGTH)))
            conversions.append((*event, event_time, draw.choice(["homepage", "search"]), named, event_time))
    return {"requests": requests, "retrievals": retrievals, "impressions": impressions, "conversions": conversions}


def oracle(
    logs: dict, day: date, hours: int, attribution: str, scenarios: Collection[str] = ("homepage",), zone: str = "UTC"
) -> tuple[set[tuple], int, int]:
    """The rules of the contract in plain loops: rows, unlabelable, unattributed."""
    window, skew, local = timedelta(hours=hours), timedelta(minutes=5), ZoneInfo(zone)
    targets = {r[0]: r for r in logs["requests"] if r[2] in scenarios}
    by_user = defaultdict(list)
    for request in targets.values():
        by_user[request[1]].append(request)
    acted, unattributed = defaultdict(list), 0
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), local).astimezone(UTC) + window
    for event in logs["conversions"]:
        holding = [r for r in by_user[event[1]] if r[3] <= event[4] < r[3] + window]
        named = [r for r in by_user[event[1]] if r[0] == event[6] and r[3] - skew <= event[4] < r[3] + window]
        since = event[4].astimezone(local).date() >= day or any(r[3].astimezone(local).date() >= day for r in named)
        if not since or event[4] >= end:
            continue
        if named:
            chosen = named
        elif attribution == "every_request":
            chosen = holding
        else:
            chosen = sorted(holding, key=lambda r: (r[3], r[0]))[-1:]
        unattributed += not chosen
        for request in chosen:
            acted[request[0], event[2]].append(event)
    channels, shown, retrieved = defaultdict(set), {}, set()
    for name, channel, items, _ in logs["retrievals"]:
        retrieved.add(name)
        for item in items:
            channels[name, item].add(channel)
    for name, item, position, _ in logs["impressions"]:
        shown[name, item] = min(position, shown.get((name, item), 99))
    rows, today = set(), {name for name, r in targets.items() if r[3].astimezone(local).date() == day}
    for name, item in set(shown) | set(acted):
        if name not in today or name not in retrieved:
            continue
        events = sorted(acted.get((name, item), []), key=lambda e: (-STRENGTH[e[3]], e[4], e[0]))
        best = (events[0][3], events[0][4], events[0][5]) if events else (None, None, None)
        found = tuple(sorted(channels[name, item])) if (name, item) in channels else ()
        position = shown.get((name, item))
        groups = ["ETG"] if position else []
        if events:
            groups.append("RTG" if position or found else "ITG")
        for group in groups:
            rows.add((name, targets[name][1], item, group, *best, len(events), found, position, targets[name][2]))
    return rows, len(today - retrieved), unattributed


def put_logs(spark, root, logs: dict[str, list[tuple]], times: dict[str, datetime] | None = None, zone="UTC") -> None:
    """Make the four tables in one commit each.

    Args:
        times: request_id -> request_time, also of requests that are not among the logs yet.
    """
    times, local = times or {row[0]: row[3] for row in logs["requests"]}, ZoneInfo(zone)
    dates = {
        "requests": lambda row: row[3],
        "conversions": lambda row: row[4],
        "retrievals": lambda row: times[row[0]],
        "impressions": lambda row: times[row[0]],
    }
    for name, time_of in dates.items():
        put_dates(spark, root, name, by_date(logs[name], lambda row, of=time_of: of(row).astimezone(local).date()))
