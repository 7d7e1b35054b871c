"""A local date's instants, counted by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from schemas.storage.days import bounds, dates_between, local_date, midnight


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("UTC", date(2024, 3, 10), datetime(2024, 3, 10), 24),
        ("Asia/Shanghai", date(2024, 3, 10), datetime(2024, 3, 9, 16), 24),
        ("Asia/Kolkata", date(2024, 3, 10), datetime(2024, 3, 9, 18, 30), 24),
        ("America/New_York", date(2024, 3, 10), datetime(2024, 3, 10, 5), 23),
        ("America/New_York", date(2024, 11, 3), datetime(2024, 11, 3, 4), 25),
        # The clock jumps from midnight to 01:00.
        ("America/Asuncion", date(2023, 10, 1), datetime(2023, 10, 1, 4), 23),
        # The whole date was skipped.
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10), 0),
    ],
)
def test_bounds(zone, day, begin, hours):
    start, end = bounds(day, zone)
    assert start == begin.replace(tzinfo=UTC)
    assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Apia"])
def test_the_bounds_of_a_date_agree_with_the_date_of_an_instant(zone):
    tick = timedelta(microseconds=1)
    for day in dates_between(date(2011, 12, 28), date(2012, 12, 31)):
        start, end = bounds(day, zone)
        if start < end:
            assert local_date(start, zone) == local_date(end - tick, zone) == day
            assert local_date(start - tick, zone) < day < local_date(end, zone)


def test_midnight_is_utc():
    assert midnight(date(2024, 1, 1), "Asia/Shanghai").tzinfo is UTC


def test_dates_between():
    assert dates_between(date(2024, 2, 28), date(2024, 3, 1)) == [
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
    ]
    assert dates_between(date(2024, 3, 1), date(2024, 2, 28)) == []
