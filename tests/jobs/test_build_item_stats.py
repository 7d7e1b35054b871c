"""Trailing counts, smoothing and the popularity segments, counted by hand."""

from datetime import datetime, timedelta

import pytest

from jobs import build_item_stats as job
from tests.support.landed import flags, put, rows_of
from tests.support.worked_example import DAY, at


def on(day, hour=12):
    return datetime.combine(day, at("00:00").timetz()).replace(hour=hour)


def test_counts_by_hand(spark, tmp_path):
    """DAY-1: item 1 shown twice, 5 conversions; item 2: 3; item 3: 2. DAY-14: item 4 once. DAY-15: item 5, too old.
    DAY itself: item 6 is of no count and unknown. Item 7 is only in the newest `items`, item 11 in an older
    snapshot; item 9 was last shown 60 days before, item 10 acted on 61: 10 and 11 have ended.
    Item 8's one row of DAY-1 was logged at DAY's midnight: not known before the date began. A late row of item 1 does
    not count either.
    Conversions 5+3+2+1 = 11 over items 1, 2, 3, 4, 5, 7, 9 (7 of them): probabilities (n + 1) / 18.
    Shares ahead: item 1 0, item 2 5/11 < .5: top; item 3 8/11: middle; item 4 10/11: tail."""
    before = DAY - timedelta(days=1)
    number = iter(range(99))

    def acted(day, item, action="click", logged=None):
        return (f"e{next(number)}", 1, item, action, on(day), "homepage", None, logged or on(day, 13))

    put(spark, tmp_path, "impressions", before, [("r", 1, 1, on(before)), ("r", 1, 2, on(before))])
    put(spark, tmp_path, "impressions", DAY, [("s", 6, 1, on(DAY))])
    rows = [acted(before, 1) for _ in range(3)] + [acted(before, 1, "purchase"), acted(before, 1, "cart")]
    rows += [acted(before, 2)] * 3 + [acted(before, 3, "favorite"), acted(before, 3, "purchase")]
    rows += [acted(before, 1, logged=on(DAY)), acted(before, 8, logged=on(DAY, 0))]
    put(spark, tmp_path, "conversions", before, rows)
    put(spark, tmp_path, "conversions", DAY, [acted(DAY, 6)])
    put(spark, tmp_path, "conversions", DAY - timedelta(days=14), [acted(DAY - timedelta(days=14), 4)])
    put(spark, tmp_path, "conversions", DAY - timedelta(days=15), [acted(DAY - timedelta(days=15), 5)])
    old, oldest = DAY - timedelta(days=60), DAY - timedelta(days=61)
    put(spark, tmp_path, "impressions", old, [("o", 9, 1, on(old))])
    put(spark, tmp_path, "conversions", oldest, [acted(oldest, 10)])
    put(spark, tmp_path, "items", old, [(11, None)])
    put(spark, tmp_path, "items", before, [(1, None), (7, 3)])

    assert job.main(flags(job, tmp_path, DAY), DAY) == {"rows_written": 7}
    found = {row[0]: row[1:] for row in rows_of(spark, tmp_path, "item_stats", DAY)}
    assert found == {
        1: (2, 3, 1, 5, pytest.approx(6 / 18), "top"),
        2: (0, 3, 0, 3, pytest.approx(4 / 18), "top"),
        3: (0, 0, 1, 2, pytest.approx(3 / 18), "middle"),
        4: (0, 1, 0, 1, pytest.approx(2 / 18), "tail"),
        5: (0, 0, 0, 0, pytest.approx(1 / 18), "tail"),
        7: (0, 0, 0, 0, pytest.approx(1 / 18), "tail"),
        9: (0, 0, 0, 0, pytest.approx(1 / 18), "tail"),
    }
