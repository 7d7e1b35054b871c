"""Every refusal rule, every duplicate, and what each row of a date becomes."""

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from schemas.storage import arrow
from schemas.tables import logs
from schemas.tables.reports import quality
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty, refused

REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)


def nanoseconds(*times: datetime, zone: str | None = None, more: int = 0) -> pa.Array:
    """Times as pandas writes them, `more` nanoseconds later."""
    since = [(time - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000 + more for time in times]
    return pa.array(since, pa.timestamp("ns", zone))


def land_every_fault(root) -> None:
    """Rows that are right beside one row or more for every rule."""
    land(
        root,
        "requests",
        {
            "request_id": ["r1", "r1", "r2", "r3", "", None, "r4", "r4b", "r6"],
            "user_id": [1, 1, 2, None, 4, 5, 6, 6, 7],
            "scenario": ["homepage", "homepage", "homepage", "homepage", "a", "b", "c", "d", None],
            "request_time": nanoseconds(
                at("00:00"), at("00:00"), at("23:59:59"), *[at("10:00")] * 3, at("00:00", 2), at("00:00"), at("10:00")
            ),
            "device": ["phone"] * 8 + [None],
        },
    )
    # Another file of the same folder: ids as text, a zone, a time with a finer part than a microsecond.
    land(
        root,
        "requests",
        {
            "request_id": ["r2", "r5", "r7", "r8"],
            "user_id": ["2", "x5", "7", "08"],
            "scenario": ["search", "homepage", "homepage", "homepage"],
            "request_time": pa.concat_arrays(
                [
                    nanoseconds(at("10:00"), at("10:00"), zone="UTC"),
                    nanoseconds(at("10:00"), at("10:00"), zone="UTC", more=1),
                ]
            ),
        },
        part=1,
    )
    land(
        root,
        "retrievals",
        {
            "request_id": ["r1", "r1", "r2", "r1", "r1", "r1", "r1", "r1", "r3", "r9", None, "r1"],
            "channel": ["hot", "cf", "hot", "", None, "a", "b", "c", "hot", "hot", "hot", "big"],
            "item_ids": pa.array(
                [[3, 1], [], [5], [1], [1], None, [1, None], [4, 5, 4], [1], [1], [1], [1]], pa.list_(pa.int32())
            ),
            "scores": pa.array(
                [[0.5, 0.25], None, [], [], [], [], [], [], [], [], [], [1e300]], pa.list_(pa.float64())
            ),
        },
    )
    land(
        root,
        "retrievals",
        {
            "request_id": ["r2", "r2", "r2", "r2"],
            "channel": ["short", "hole", "half", "least"],
            # The least id: a null beside it is found by another way.
            "item_ids": pa.array([["1", "2"], ["1"], ["1.5"], [str(-(2**63)), None]]),
            "scores": pa.array([[1.0], [None], [1.0], []], pa.list_(pa.float32())),
        },
        part=1,
    )
    land(
        root,
        "stages",
        {
            "request_id": ["r1", "r1", "r2"],
            "stage": ["ranking", "coarse", "pre_ranking"],
            "item_ids": [[1, 2], [1], [9]],
        },
    )
    land(
        root,
        "impressions",
        {
            "request_id": ["r1", "r1", "r1", "r1", "r1", "r4", "r1"],
            "item_id": pa.array([3.0, 3.0, 3.0, 2.5, None, 3.0, 3.0], pa.float64()),
            "position": pa.array([1, 5, 0, 1, 1, 1, 2**31], pa.int64()),
            "impression_time": [at("10:00")] * 7,
        },
    )
    land(
        root,
        "conversions",
        {
            "event_id": ["e1", "e1", "e1", "e2", "e3", "e4", "e5", "e6"],
            "user_id": [1, 1, 1, 2, 2, 2, 2, 2],
            "item_id": [3, 3, 4, 3, 3, 3, 3, 3],
            "action": ["click", "click", "cart", "purchase", "share", "click", "click", "click"],
            "event_time": [at("10:00")] * 3
            + [at("10:05"), at("10:00"), at("00:00", 2), at("10:05:00.000001"), at("11:00")],
            "scenario": ["homepage"] * 8,
            "request_id": ["r1", "r1", None, "nobody knows", None, None, None, None],
            "logged_time": [at("10:01"), at("10:03"), at("10:02")]
            + [at("10:00")] * 2
            + [at("10:00", 2), at("10:00"), None],
        },
    )
    land(
        root,
        "users",
        {
            "user_id": [1, 2, 2, None],
            "age": [30, None, None, 9],
            "vip": [True, False, False, True],
            "seen": [at("10:00")] * 4,
        },
    )
    land(root, "items", {"item_id": [3, 4], "category_id": [None, 8], "price": [2.5, None], "name": ["hat", None]})


@pytest.fixture(scope="module")
def every_fault(spark, tmp_path_factory):
    """The root after one run over rows with every fault, and what the run counted."""
    root = tmp_path_factory.mktemp("every_fault")
    land_every_fault(root)
    return root, ingest(root, share=1.0)


NO_REQUEST = "request_id: no valid request of the date"
NO_ID = "request_id: null or empty"
NO_INTEGER = 'user_id: does not cast to int64 without loss; [ids] user_id = "text" takes it'


def test_requests(every_fault):
    root, _ = every_fault
    zone = arrow.read(str(root), logs.requests, DAY)["request_time"].type.tz
    assert zone == "UTC"
    assert kept(root, logs.requests, "request_id", "device") == [
        ("r1", "phone"),
        ("r2", "phone"),
        ("r4b", "phone"),
        ("r7", None),
    ]
    found = [(*row[:3], row[3].replace(tzinfo=None)) for row in kept(root, logs.requests)]
    # Of the two r2, both valid, the smaller values win: "homepage" < "search" decides before the time does.
    assert found == [
        ("r1", 1, "homepage", at("00:00")),
        ("r2", 2, "homepage", at("23:59:59")),
        ("r4b", 6, "d", at("00:00")),
        ("r7", 7, "homepage", at("10:00")),  # but for a nanosecond
    ]
    assert refused(root, "requests", "request_id", "user_id", "request_time") == [
        ("", "4", "2024-03-01 10:00:00.000000000", NO_ID),
        ("r4", "6", "2024-03-02 00:00:00.000000000", "request_time: outside the date"),
        ("r5", "x5", "2024-03-01 10:00:00.000000000", NO_INTEGER),
        ("r6", "7", "2024-03-01 10:00:00.000000000", "scenario: null"),
        ("r8", "08", "2024-03-01 10:00:00.000000001", NO_INTEGER),
        (None, "5", "2024-03-01 10:00:00.000000000", NO_ID),
    ]


def test_retrievals(every_fault):
    root, _ = every_fault
    assert kept(root, logs.retrievals) == [
        ("r1", "c", [4, 5], []),
        ("r1", "cf", [], []),
        ("r1", "hot", [3, 1], [0.5, 0.25]),
        ("r2", "hot", [5], []),
    ]
    assert refused(root, "retrievals", "request_id", "channel", "item_ids") == [
        ("r1", "", "[1]", "channel: null or empty"),
        ("r1", "a", None, "item_ids: null"),
        ("r1", "b", "[1, null]", "item_ids: null inside the list"),
        ("r1", "big", "[1]", "scores: does not cast to list<float> without loss"),
        ("r1", None, "[1]", "channel: null or empty"),
        ("r2", "half", "[1.5]", 'item_ids: does not cast to list<int64> without loss; [ids] item_id = "text" takes it'),
        ("r2", "hole", "[1]", "scores: null inside the list"),
        ("r2", "least", "[-9223372036854775808, null]", "item_ids: null inside the list"),
        ("r2", "short", "[1, 2]", "scores: as many as item_ids or none"),
        ("r9", "hot", "[1]", NO_REQUEST),
        (None, "hot", "[1]", NO_ID),
    ]


def test_stages_without_a_column_for_scores(every_fault):
    root, _ = every_fault
    assert kept(root, logs.stages) == [("r1", "ranking", [1, 2], []), ("r2", "pre_ranking", [9], [])]
    assert refused(root, "stages", "request_id", "stage", "item_ids") == [("r1", "coarse", [1], "stage: unknown")]


def test_impressions(every_fault):
    root, _ = every_fault
    assert kept(root, logs.impressions, "request_id", "item_id", "position") == [("r1", 3, 1), ("r1", 3, 5)]
    # Both columns were landed with a type that does not always fit, so quarantine has them as text.
    assert refused(root, "impressions", "request_id", "item_id", "position") == [
        ("r1", "2.5", "1", "item_id: does not cast to int64 without loss"),
        ("r1", "3.0", "0", "position: below 1"),
        ("r1", "3.0", "2147483648", "position: does not cast to int32 without loss"),
        ("r1", None, "1", "item_id: null"),
        ("r4", "3.0", "1", NO_REQUEST),
    ]


def test_conversions(every_fault):
    root, _ = every_fault
    # Of the three e1 the latest logged wins; a request_id that nobody knows is no fault of a conversion.
    assert kept(root, logs.conversions, "event_id", "item_id", "action", "request_id") == [
        ("e1", 3, "click", "r1"),
        ("e2", 3, "purchase", "nobody knows"),
    ]
    assert refused(root, "conversions", "event_id", "user_id") == [
        ("e3", 2, "action: unknown"),
        ("e4", 2, "event_time: outside the date"),
        ("e5", 2, "event_time: later than logged_time by more than 5 minutes"),
        ("e6", 2, "logged_time: null"),
    ]
    assert [time.minute for (time,) in kept(root, logs.conversions, "logged_time")] == [0, 3]


def test_users_and_items_keep_text_and_numbers(every_fault):
    root, _ = every_fault
    assert kept(root, logs.users, "user_id", "age") == [(1, 30), (2, None)]
    assert kept(root, logs.users, "user_id", "vip") == [(1, True), (2, False)]
    assert "seen" not in arrow.read(str(root), logs.users, DAY).column_names
    assert refused(root, "users", "user_id", "age") == [(None, 9, "user_id: null")]
    assert kept(root, logs.items, "item_id", "category_id", "price", "name") == [
        (3, None, 2.5, "hat"),
        (4, 8, None, None),
    ]
    assert not (root / "quarantine" / "items").exists() or not list((root / "quarantine" / "items").iterdir())


def test_every_row_is_kept_duplicate_or_quarantined(every_fault):
    root, counted = every_fault
    tables = counted["tables"]
    keys = ("rows_in", "rows_written", "quarantined", "duplicates", "conflicting")
    assert {name: tuple(one[key] for key in keys) for name, one in tables.items()} == {
        "requests": (13, 4, 6, 2, 1),  # r1 twice the same, r2 twice and different
        "retrievals": (16, 4, 11, 0, 0),
        "stages": (3, 2, 1, 0, 0),
        "impressions": (7, 2, 5, 0, 0),
        "conversions": (8, 2, 4, 2, 1),  # e1 three times, one of them with another item
        "users": (4, 2, 1, 1, 0),
        "items": (2, 2, 0, 0, 0),
    }
    assert {name: one["set_aside"] for name, one in tables.items() if one["set_aside"]} == {
        "requests": {"no user": 1},  # r3
        "retrievals": {"its request is set aside": 1},
    }
    assert [one["repeated_items"] for one in tables.values()] == [0, 1, 0, 0, 0, 0, 0]
    assert [one["truncated"] for one in tables.values()] == [1, 0, 0, 0, 0, 0, 0]
    assert {key: counted[key] for key in ("rows_written", "quarantined", "duplicates", "conflicting")} == {
        "rows_written": 18,
        "quarantined": 28,
        "duplicates": 5,
        "conflicting": 2,
    }
    checks = {(row["table"], row["check"]): row for row in arrow.read(str(root), quality, DAY).to_pylist()}
    assert checks["stages", "refused_share"]["value"] == pytest.approx(1 / 3)
    assert checks["retrievals", f"refused: {NO_REQUEST}"]["value"] == 1
    assert checks["requests", f"refused: {NO_ID}"]["value"] == 2
    assert checks["users", "dropped column: seen"]["value"] == 4
    assert checks["requests", "set_aside"]["value"] == pytest.approx(1 / 13)
    assert checks["requests", "set aside: no user"]["value"] == 1
    assert checks["retrievals", "repeated_items"]["value"] == 1
    assert all(row["passed"] for row in checks.values())


def test_attributes_named_like_columns_of_other_logs_are_only_attributes(spark, tmp_path):
    """No vocabulary, no bound and no list rule holds for them, and none decides between duplicates."""
    land_empty(tmp_path, *REQUIRED)
    land(
        tmp_path,
        "items",
        {
            "item_id": [1, 2, 2],
            "stage": ["wholesale", "retail", "retail"],
            "position": [0, -1, -1],
            "logged_time": [None, 8, 9],
            "scores": [None, 0.5, 0.5],
        },
    )
    counted = ingest(tmp_path)["tables"]["items"]
    assert {key: counted[key] for key in ("rows_written", "quarantined", "duplicates", "conflicting")} == {
        "rows_written": 2, "quarantined": 0, "duplicates": 1, "conflicting": 1,
    }  # fmt: skip
    # Of two rows of item 2 the smaller values win; by logged_time the later would have.
    assert kept(tmp_path, logs.items, "item_id", "stage", "position", "logged_time", "scores") == [
        (1, "wholesale", 0, None, None),
        (2, "retail", -1, 8, 0.5),
    ]


def test_files_in_hidden_folders_are_a_producers_own(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    land(tmp_path, "users", {"user_id": [1]})
    place = tmp_path / "landing" / "users" / f"date={DAY}"
    for hidden in ("_temporary", ".staging"):
        (place / hidden).mkdir()
        (place / hidden / "part-0.parquet").write_bytes((place / "part-0.parquet").read_bytes())
    counted = ingest(tmp_path)["tables"]["users"]
    assert (counted["rows_in"], counted["rows_written"]) == (1, 1)
