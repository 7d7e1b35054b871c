"""The worked example of the tables' contract, as landing rows; day 1 is 2024-03-01."""

from datetime import UTC, date, datetime, timedelta

DAY = date(2024, 3, 1)


def at(clock: str, day: int = 1) -> datetime:
    """The time of day `clock` (HH:MM or HH:MM:SS) on day 1 or 2."""
    parts = [int(part) for part in clock.split(":")]
    hour, minute, second = parts + [0] * (3 - len(parts))
    return datetime(2024, 3, day, hour, minute, second, tzinfo=UTC)


REQUESTS = [
    ("r1", 1, "homepage", at("10:00")),
    ("r2", 1, "homepage", at("12:00")),
    ("r3", 2, "homepage", at("23:30")),
    ("r4", 3, "homepage", at("09:00")),
    ("r5", 1, "search", at("11:00")),
]
RETRIEVALS = [
    ("r1", "swing", [1, 2, 3], []),
    ("r1", "hot", [3, 4], []),
    ("r2", "hot", [3, 4], []),
    ("r3", "hot", [3, 4], []),
]
IMPRESSIONS = [
    ("r1", 3, 1, at("10:00:01")),
    ("r1", 1, 2, at("10:00:01")),
    ("r1", 3, 5, at("10:00:01")),
    ("r2", 4, 1, at("12:00:01")),
    ("r2", 8, 2, at("12:00:01")),
    ("r3", 3, 1, at("23:30:01")),
]
_ACTED = [
    (1, 3, "click", at("10:05"), "homepage", "r1"),
    (1, 3, "purchase", at("11:30"), "search", None),
    (1, 9, "cart", at("11:59:59"), "elsewhere", None),
    (1, 4, "click", at("12:00"), "elsewhere", None),
    (1, 8, "purchase", at("11:59", 2), "elsewhere", None),
    (1, 7, "click", at("12:00", 2), "elsewhere", None),
    (1, 2, "purchase", at("12:30"), "elsewhere", "r1"),
    (2, 5, "favorite", at("01:00", 2), "elsewhere", None),
    (3, 4, "click", at("09:10"), "elsewhere", None),
]
CONVERSIONS = [
    (f"e{n}", user, item, action, time, scenario, request, time + timedelta(seconds=1))
    for n, (user, item, action, time, scenario, request) in enumerate(_ACTED)
]
STAGES: list[tuple] = []

# request_id, user_id, item_id, group, action, action_time, scenario, actions, channels, position, request_scenario
_EXPECTED = {
    ("r1", 1, 1, "ETG", None, None, None, 0, ("swing",), 2),
    ("r1", 1, 3, "ETG", "purchase", at("11:30"), "search", 2, ("hot", "swing"), 1),
    ("r1", 1, 3, "RTG", "purchase", at("11:30"), "search", 2, ("hot", "swing"), 1),
    ("r1", 1, 2, "RTG", "purchase", at("12:30"), "elsewhere", 1, ("swing",), None),
    ("r1", 1, 9, "ITG", "cart", at("11:59:59"), "elsewhere", 1, (), None),
    ("r2", 1, 4, "ETG", "click", at("12:00"), "elsewhere", 1, ("hot",), 1),
    ("r2", 1, 4, "RTG", "click", at("12:00"), "elsewhere", 1, ("hot",), 1),
    ("r2", 1, 8, "ETG", "purchase", at("11:59", 2), "elsewhere", 1, (), 2),
    ("r2", 1, 8, "RTG", "purchase", at("11:59", 2), "elsewhere", 1, (), 2),
    ("r3", 2, 3, "ETG", None, None, None, 0, ("hot",), 1),
    ("r3", 2, 5, "ITG", "favorite", at("01:00", 2), "elsewhere", 1, (), None),
}
EXPECTED = {(*row, "homepage") for row in _EXPECTED}
