"""Land a day of about N homepage requests of the simulated world, with the days around it: `land_days(root, N)`.

`land_copies` lands a day many times as large as one that is there, of copies of its users.

The world is that of `simulate_logs`, its dials set for volume: five channels that return about 1,250 items a request,
some four conversions a request, and users so unlike that the most active of 13,500 sends thousands of requests where
the median sends one. The days before and after have the same users and demand but lists of twenty items: they feed
histories, and the windows that cross midnight.
"""

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb

from jobs.simulator.landing import land
from jobs.simulator.settings import World

DAY = date(2024, 3, 8)
DAYS = (DAY - timedelta(1), DAY, DAY + timedelta(1))

_USERS_OF_A_COPY = 1_000_000  # more than a world's
_REQUESTS_PER_USER = 7.4  # a median of one: the mean of a lognormal with deviation 2 is e^2 medians


def world_of(requests: int, seed: int = 1) -> World:
    """A world whose homepage is asked about `requests` times a day."""
    return World(
        users=max(20, round(requests / _REQUESTS_PER_USER)),
        items=min(50_000, max(6_000, 5 * requests)),
        seed=seed,
        activity_spread=2.0,
        requests_per_user=_REQUESTS_PER_USER,
        visits_elsewhere=2 * _REQUESTS_PER_USER,
        hot=200,
        item_to_item=400,
        embedding=400,
        category=350,
        own_recent=50,
        memory_days=2,  # what channels remember costs most of the making
        truth_requests=0,
    )


def land_days(root: str, requests: int, seed: int = 1) -> dict[str, int]:
    """Write landing/ of DAY and of the days around it; returns DAY's rows by table."""
    world = world_of(requests, seed)
    around = replace(world, hot=20, item_to_item=0, embedding=0, category=0, own_recent=0)
    rows = {day: land(root, world if day == DAY else around, day)[0] for day in DAYS}
    shutil.rmtree(Path(root) / "landing" / "_truth")  # as many bytes as the logs, and nobody here reads it
    return {name: count for name, count in rows[DAY].items() if not name.startswith("_truth/")}


def land_copies(source: str, root: str, copies: int) -> None:
    """Write landing/ below `root` with each user of `source`'s `copies` times, who do all the same with the same items.

    The making of a world this large would take longer than what is measured.
    """
    for folder in sorted(Path(source, "landing").glob("*/date=*")):
        files = f"read_parquet('{folder}/*.parquet', hive_partitioning = false)"
        columns = [name for name, *_ in duckdb.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()]
        place = Path(root, "landing", folder.parent.name, folder.name)
        place.mkdir(parents=True)
        for copy in range(copies if folder.parent.name != "items" else 1):
            own = [f"user_id + {copy * _USERS_OF_A_COPY} AS user_id"] * ("user_id" in columns)
            own += [f"{name} || '-{copy}' AS {name}" for name in ("request_id", "event_id") if name in columns]
            replaced = f"REPLACE ({', '.join(own)})" if own else ""
            duckdb.execute(f"""COPY (SELECT * {replaced} FROM {files})
                               TO '{place}/part-{copy}.parquet' (COMPRESSION zstd)""")
