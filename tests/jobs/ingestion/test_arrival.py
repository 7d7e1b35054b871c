"""Rows that arrive in the folders of later dates, and days that begin at a local midnight."""

from datetime import date, datetime, timedelta

import pytest

from jobs import ingest_logs
from schemas.tables import logs
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty

BEFORE, NEXT, AFTER = DAY - timedelta(1), DAY + timedelta(1), DAY + timedelta(2)
OUTSIDE = "request_time: outside the date"
UNKNOWN = "request_id: no valid request of the date"


def land_requests(root, folder: date, times: dict[str, datetime], part: int = 0) -> None:
    land(root, "requests", {
        "request_id": list(times), "user_id": [1] * len(times), "scenario": ["homepage"] * len(times),
        "request_time": list(times.values()),
    }, part, folder)  # fmt: skip


def land_impressions(root, folder: date, names: list[str], part: int = 0) -> None:
    land(root, "impressions", {
        "request_id": names, "item_id": [7] * len(names), "position": [1] * len(names),
        "impression_time": [datetime(folder.year, folder.month, folder.day)] * len(names),
    }, part, folder)  # fmt: skip


def land_rest(root, *folders: date) -> None:
    """Empty files of what a date must have."""
    for folder in folders:
        for table in (logs.retrievals, logs.conversions):
            land_empty(root, table, day=folder)


@pytest.fixture(scope="module")
def arrived(spark, tmp_path_factory):
    """Four folders of a producer whose rows arrive up to a day late, and what was counted of each date."""
    root = tmp_path_factory.mktemp("arrived")
    (root / "settings.toml").write_text("arrives_within_days = 1\n")
    land_rest(root, BEFORE, DAY, NEXT)
    land_requests(root, BEFORE, {"b": at("10:00", 1) - timedelta(1)})
    two_days_before = at("10:00") - timedelta(2)
    on_day = {"d": at("23:59:58"), "late b": at("00:00") - timedelta(1), "too late": two_days_before}
    land_requests(root, DAY, on_day | {"early": at("00:00", 2)})
    land_requests(root, NEXT, {"n": at("10:00", 2), "late d": at("11:00")})
    land_impressions(root, BEFORE, ["b"])
    land_impressions(root, DAY, ["d", "b", "late b", "nobody", "n"])
    land_impressions(root, NEXT, ["n", "d", "late d", "b"])
    return root, {day: ingest(root, share=1.0, day=day)["tables"] for day in (DAY, BEFORE, NEXT)}


def test_rows_are_kept_by_their_own_date(arrived):
    root, counted = arrived
    assert kept(root, logs.requests, "request_id") == [("d",), ("late d",)]
    assert kept(root, logs.impressions, "request_id") == [("d",), ("late d",)]
    written = {day: (of["requests"]["rows_written"], of["impressions"]["rows_written"]) for day, of in counted.items()}
    assert written == {BEFORE: (2, 2), DAY: (2, 2), NEXT: (1, 1)}


def test_rows_of_other_dates_are_set_aside_or_refused_once(arrived):
    _, counted = arrived
    aside = {
        day: {name: one["set_aside"] for name, one in of.items() if one["set_aside"]} for day, of in counted.items()
    }
    assert aside == {
        BEFORE: {"requests": {"another date": 3}, "impressions": {"another date": 3}},
        DAY: {"requests": {"another date": 2}, "impressions": {"another date": 4}},
        NEXT: {"requests": {"another date": 1}, "impressions": {"another date": 2}},
    }
    refused = {
        day: {name: one["refused_for"] for name, one in of.items() if one["refused_for"]} for day, of in counted.items()
    }
    assert refused == {
        BEFORE: {},
        DAY: {"requests": {OUTSIDE: 2}, "impressions": {UNKNOWN: 2}},  # "n" is of a later date than the folder
        NEXT: {"impressions": {UNKNOWN: 1}},  # "b" came two days late
    }
    for of in counted.values():
        for one in of.values():
            known = one["rows_written"] + one["duplicates"] + one["quarantined"] + sum(one["set_aside"].values())
            assert one["rows_in"] == known


def test_a_later_folder_makes_the_date_stale(arrived):
    root, _ = arrived
    days = [BEFORE, DAY, NEXT]
    assert ingest_logs.stale(str(root), days) == []
    land_impressions(root, AFTER, ["n"])
    assert ingest_logs.stale(str(root), days) == [NEXT]
    (root / "settings.toml").write_text('arrives_within_days = 1\n[logs.requests]\nconstants = {scenario = "a"}\n')
    assert ingest_logs.stale(str(root), days) == days


def test_a_date_begins_at_local_midnight(spark, tmp_path):
    (tmp_path / "settings.toml").write_text('time_zone = "America/New_York"\n')
    day = date(2024, 3, 10)  # 23 hours: from 05:00 UTC to 04:00 UTC
    for table in (logs.retrievals, logs.impressions, logs.conversions):
        land_empty(tmp_path, table, day=day)
    land_requests(tmp_path, day, {
        "before": at("04:59:59.999999", 10), "first": at("05:00", 10), "last": at("03:59:59.999999", 11),
        "after": at("04:00", 11),
    })  # fmt: skip
    counted = ingest(tmp_path, share=1.0, day=day)["tables"]["requests"]
    assert (counted["rows_written"], counted["refused_for"]) == (2, {OUTSIDE: 2})
