"""Histories against plain loops, with events planted that must not get in."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from jobs import build_user_histories as job
from tests.support.landed import by_date, flags, put, put_dates, rows_of

DAY = date(2024, 3, 31)
MIDNIGHT = datetime(2024, 3, 31, tzinfo=UTC)


def oracle(requests: list[tuple], conversions: list[tuple]) -> set[tuple]:
    rows = set()
    for request, user, _, asked in requests:
        known = [
            (time, event, item, action)
            for event, who, item, action, time, _, _, logged in conversions
            if who == user and asked - timedelta(days=30) <= time < asked and logged <= asked
        ]
        last = sorted(known)[-50:]
        rows.add((request, tuple(e[2] for e in last), tuple(e[3] for e in last), tuple(e[0] for e in last)))
    return rows


@pytest.fixture(scope="module")
def world(spark, tmp_path_factory):
    """User 0 has 200 times the others' events; users 0-3 act; users 4 and 5 ask but never acted.

    Planted: events at exactly a request's time, exactly 30 days before it, a microsecond earlier, logged exactly at
    it and a microsecond after it.
    """
    root, draw = tmp_path_factory.mktemp("histories"), random.Random(5)
    requests = [(f"q{n}", n % 6, "homepage", MIDNIGHT + timedelta(minutes=draw.randrange(1440))) for n in range(60)]
    conversions = []

    def act(user, time, logged):
        number = len(conversions)
        name = f"e{draw.randrange(10**6):06d}-{number}"
        conversions.append((name, user, number, draw.choice(["click", "cart"]), time, "homepage", None, logged))

    for user, count in ((0, 2000), (1, 10), (2, 60), (3, 100)):
        for _ in range(count):
            time = MIDNIGHT + timedelta(days=1) - timedelta(minutes=draw.randrange(33 * 1440))
            act(user, time, time + timedelta(minutes=draw.choice([0, 0, 0, 5, 3000])))
    tick = timedelta(microseconds=1)
    for _, user, _, asked in [request for request in requests[:24] if request[1] < 4]:
        month = asked - timedelta(days=30)
        act(user, asked, asked)
        act(user, month, month)
        act(user, month - tick, month)
        act(user, asked - tick, asked)
        act(user, asked - tick, asked + tick)
    put(spark, root, "requests", DAY, requests)
    put_dates(spark, root, "conversions", by_date(conversions, lambda row: row[4].date()))
    return root, requests, conversions


def test_histories_against_plain_loops(spark, world):
    root, requests, conversions = world
    assert job.main(flags(job, root, DAY), DAY) == {"rows_written": len(requests)}
    found = set(rows_of(spark, root, "user_histories", DAY))
    assert found == oracle(requests, conversions)
    lengths = {len(row[1]) for row in found}
    assert 0 in lengths
    assert max(lengths) == 50
