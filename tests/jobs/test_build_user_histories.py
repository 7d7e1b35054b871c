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
            for event, who, item, action, time, _, named, logged in conversions
            if who == user and named != request and asked - timedelta(days=30) <= time < asked and logged <= asked
        ]
        last = sorted(known)[-50:]
        rows.add((request, tuple(e[2] for e in last), tuple(e[3] for e in last), tuple(e[0] for e in last)))
    return rows


@pytest.fixture(scope="module")
def world(spark, tmp_path_factory):
    """User 0 has 200 times the others' events; users 0-3 act; users 4 and 5 ask but never acted.

    Planted: events at exactly a request's time, exactly 30 days before it, a microsecond earlier, logged exactly at
    it and a microsecond after it. Named: 70 events of the day before name one request of the day, others theirs.
    """
    root, draw = tmp_path_factory.mktemp("histories"), random.Random(5)
    requests = [(f"q{n}", n % 6, "homepage", MIDNIGHT + timedelta(minutes=draw.randrange(1440))) for n in range(60)]
    conversions = []

    def act(user, time, logged, named=None):
        number = len(conversions)
        name = f"e{draw.randrange(10**6):06d}-{number}"
        conversions.append((name, user, number, draw.choice(["click", "cart"]), time, "homepage", named, logged))

    for user, count in ((0, 2000), (1, 10), (2, 60), (3, 100)):
        for _ in range(count):
            time = MIDNIGHT + timedelta(days=1) - timedelta(minutes=draw.randrange(33 * 1440))
            act(user, time, time + timedelta(minutes=draw.choice([0, 0, 0, 5, 3000])))
    tick = timedelta(microseconds=1)
    for n in range(70):
        act(3, MIDNIGHT - timedelta(minutes=70 - n), MIDNIGHT - timedelta(minutes=70 - n), "q3")
    for request, user, _, asked in [request for request in requests[:24] if request[1] < 4]:
        act(user, asked - timedelta(minutes=3), asked - timedelta(minutes=3), request)
        act(user, asked - timedelta(minutes=4), asked, "q0")
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


def test_the_date_is_local(spark, tmp_path):
    """In Shanghai the 31st begins at 16:00 UTC of the 30th: what was logged an hour before is settled, and known."""
    (tmp_path / "settings.toml").write_text('time_zone = "Asia/Shanghai"')
    begin = MIDNIGHT - timedelta(hours=8)
    hour = timedelta(hours=1)
    put(spark, tmp_path, "requests", DAY, [("q", 1, "homepage", begin + hour)])
    before = [(f"e{n:02}", 1, n, "click", begin - (61 - n) * hour, "homepage", None, begin - hour) for n in range(60)]
    put_dates(spark, tmp_path, "conversions", by_date(before, lambda row: (row[4] + 8 * hour).date()))
    put(spark, tmp_path, "conversions", DAY, [("f", 1, 99, "cart", begin, "homepage", None, begin)])
    job.main(flags(job, tmp_path, DAY), DAY)
    (row,) = rows_of(spark, tmp_path, "user_histories", DAY)
    assert row[1] == (*range(11, 60), 99)
