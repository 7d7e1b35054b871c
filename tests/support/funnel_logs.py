"""Random logs of three days with every stage, written without an engine."""

import random
from datetime import date, datetime, timedelta

from tests.support.generated_logs import DAYS, generated
from tests.support.landed import by_date
from tests.support.tiny_root import put_delta


def put_funnel(root, seed: int, per_day: int) -> None:
    """Three days of requests, retrievals, stages, impressions, conversions and items."""
    logs = generated(seed, per_day)
    logs["stages"] = _stages(logs, random.Random(seed))
    times: dict[str, datetime] = {row[0]: row[3] for row in logs["requests"]}
    day_of = {
        "requests": lambda row: row[3].date(),
        "conversions": lambda row: row[4].date(),
        **dict.fromkeys(("retrievals", "stages", "impressions"), lambda row: times[row[0]].date()),
    }
    for name, day_of_row in day_of.items():
        for day, rows in by_date(logs[name], day_of_row).items():
            put_delta(root, name, day, rows)
    put_delta(root, "conversions", DAYS[-1] + timedelta(days=2), [])
    put_delta(root, "items", date(2024, 3, 1), [(item, item % 7) for item in range(60)])


def _stages(logs: dict[str, list[tuple]], draw: random.Random) -> list[tuple]:
    """Of most requests with a list: what pre-ranking, ranking and re-ranking let through, some with a shadow list."""
    lists: dict[str, set[int]] = {}
    for name, _, items, _ in logs["retrievals"]:
        lists.setdefault(name, set()).update(items)
    found = []
    for name, items in lists.items():
        kept = sorted(items)
        draw.shuffle(kept)
        passed, dropped = kept[: len(kept) * 2 // 3], kept[len(kept) * 2 // 3 :]
        scores = sorted((draw.choice([0.1, 0.2, 0.3, 0.5]) for _ in passed), reverse=True)
        chosen = draw.random()
        if chosen < 0.9:
            found.append((name, "pre_ranking", passed, []))
        if chosen < 0.7:
            found.append((name, "ranking", passed, scores))
        elif chosen < 0.8:
            found.append((name, "re_ranking", passed[:3], []))
        if dropped and chosen < 0.3:
            found.append((name, "shadow_ranking", dropped, [draw.choice([0.2, 0.4]) for _ in dropped]))
    return found
