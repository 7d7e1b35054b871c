"""models/serving/alive_items.py: the newest snapshot at or before the date, or else 60 days of logs."""

from datetime import UTC, date, datetime, timedelta

import pytest

from models.serving.alive_items import AliveItems
from schemas.storage import arrow
from tests.support.tiny_root import put_delta

DAY = date(2024, 5, 1)
NOON = datetime(2024, 3, 3, 12, tzinfo=UTC)


def shown(root, day, item):
    put_delta(root, "impressions", day, [("r1", item, 1, NOON)])


def bought(root, day, item):
    put_delta(root, "conversions", day, [(f"e{item}", 1, item, "click", NOON, "homepage", None, NOON)])


def test_nothing_is_known_without_logs(tmp_path):
    assert AliveItems.of(str(tmp_path), DAY) is None


def test_the_newest_snapshot_at_or_before_the_date_counts_alone(tmp_path):
    put_delta(tmp_path, "items", DAY - timedelta(9), [(1, None), (2, 5)])
    put_delta(tmp_path, "items", DAY - timedelta(2), [(3, None), (2, 5)])
    put_delta(tmp_path, "items", DAY + timedelta(1), [(4, None)])
    shown(tmp_path, DAY, 9)
    alive = AliveItems.of(str(tmp_path), DAY)
    assert alive.item_ids.tolist() == [2, 3]
    assert alive.source == "logs/items of 2024-04-29"
    assert alive.among(alive.item_ids[::-1] * 3).tolist() == [False, False]
    assert AliveItems.of(str(tmp_path), DAY - timedelta(9)).item_ids.tolist() == [1, 2]


@pytest.mark.parametrize("log", [shown, bought])
def test_without_items_the_last_60_days_count(tmp_path, log):
    for days_ago, item in ((-1, 1), (0, 2), (30, 3), (59, 4), (60, 5), (400, 6)):
        log(tmp_path, DAY - timedelta(days_ago), item)
    shown(tmp_path, DAY, 2)
    alive = AliveItems.of(arrow.Snapshot(str(tmp_path)), DAY)
    assert alive.item_ids.tolist() == [2, 3, 4]
    assert alive.source == "logs/impressions and logs/conversions of 2024-03-03..2024-05-01"
