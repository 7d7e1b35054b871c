"""A producer's own names, words, clocks and folders become the contract's columns, as settings.toml says."""

import pytest
from pyarrow import parquet

from schemas.storage import arrow
from schemas.table import SettingsError
from schemas.tables import logs
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty, refused

SETTINGS = """
[logs.requests]
columns = { request_id = "rid", user_id = "uid", request_time = "ts", town = "city" }
units = { request_time = "milliseconds" }
constants = { scenario = "homepage" }

[logs.retrievals]
columns = { channel = "path:channel" }

[logs.conversions]
columns = { event_time = "ts", logged_time = "ts" }
units = { event_time = "seconds", logged_time = "seconds" }
values = { action = { buy = "purchase", share = "", cart = "favorite" }, scenario = { test = "" } }
constants = { scenario = "feed" }
"""
MORNING = 1_709_287_200  # 2024-03-01 10:00 UTC, in seconds


def settings(root, text: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "settings.toml").write_text(text)


def land_in(root, table: str, folder: str, columns: dict) -> None:
    """Land a file in a folder below the date's."""
    land(root, table, columns)
    place = root / "landing" / table / f"date={DAY}"
    (place / folder).mkdir(parents=True)
    (place / "part-0.parquet").rename(place / folder / "part-0.parquet")


@pytest.fixture(scope="module")
def mapped(spark, tmp_path_factory):
    """A date of a producer with names of its own, and what the job counted."""
    root = tmp_path_factory.mktemp("mapped")
    settings(root, SETTINGS)
    land_empty(root, logs.impressions)
    land(root, "requests", {
        "rid": ["r1", "r2", "r3"], "uid": [1, None, 3], "user_id": [7, 8, 9], "city": ["Oslo", "Bonn", None],
        "ts": [MORNING * 1000 + 5, MORNING * 1000, -(2**62)],
    })  # fmt: skip
    # A file that has the contract's own name alone, and times that are times already.
    land(root, "requests", {"rid": ["r4"], "user_id": [4], "ts": [at("11:00")]}, part=1)
    land_in(root, "retrievals", "channel=hot%20%2B+", {"request_id": ["r1"], "channel": ["no"], "item_ids": [[1, 2, 1]],
                                                       "scores": [[0.5, 0.25, 0.125]]})  # fmt: skip
    land_in(root, "retrievals", "channel=cf", {"request_id": ["r2", "r9"], "item_ids": [[1], [1]]})
    land(root, "conversions", {
        "event_id": [f"e{n}" for n in range(7)], "user_id": [1, 1, 1, 1, 1, None, None], "item_id": [5] * 7,
        "action": ["buy", "share", "cart", "click", "gift", "buy", "gift"], "ts": [str(MORNING)] * 7,
    })  # fmt: skip
    return root, ingest(root, share=1.0)["tables"]


def test_columns_constants_and_units(mapped):
    root, counted = mapped
    found = arrow.read(str(root), logs.requests, DAY, ["request_id", "user_id", "scenario", "town", "request_time"])
    rows = sorted(tuple(row.values()) for row in found.to_pylist())
    assert [(*row[:4], row[4].replace(tzinfo=None)) for row in rows] == [
        ("r1", 1, "homepage", "Oslo", at("10:00:00.005000")),
        ("r4", 4, "homepage", None, at("11:00")),
    ]
    assert counted["requests"]["set_aside"] == {"no user": 1}
    assert refused(root, "requests", "request_id", "request_time") == [
        ("r3", str(-(2**62)), "request_time: does not cast to timestamp[us, tz=UTC] without loss")
    ]


def test_a_folders_value_is_decoded_and_wins_over_the_column(mapped):
    root, counted = mapped
    # The item that is there twice keeps its first place, and its first score.
    assert kept(root, logs.retrievals) == [("r1", "hot ++", [1, 2], [0.5, 0.25])]
    assert counted["retrievals"]["repeated_items"] == 1
    assert counted["retrievals"]["set_aside"] == {"its request is set aside": 1}
    assert counted["retrievals"]["refused_for"] == {"request_id: no valid request of the date": 1}


def test_words(mapped):
    root, counted = mapped
    # `cart` means something else here; `click` is not mapped and stays; a fault is one, user or no user.
    assert kept(root, logs.conversions, "event_id", "action", "scenario") == [
        ("e0", "purchase", "feed"), ("e2", "favorite", "feed"), ("e3", "click", "feed"),
    ]  # fmt: skip
    assert refused(root, "conversions", "event_id", "action") == [
        ("e4", "gift", "action: unknown"), ("e6", "gift", "action: unknown"),
    ]  # fmt: skip
    assert counted["conversions"]["set_aside"] == {"no user": 1, "action: share": 1}


def test_rows_in_are_accounted_for(mapped):
    _, counted = mapped
    for name, one in counted.items():
        known = one["rows_written"] + one["duplicates"] + one["quarantined"] + sum(one["set_aside"].values())
        assert one["rows_in"] == known, name


WRONG = [
    ('[logs.requests]\ncolumns = { user_id = "user" }', ["logs.requests.columns.user_id", "'user'", "user_id?"]),
    ('[logs.retrievals]\ncolumns = { channel = "path:chanel" }', ["'path:chanel'", "did you mean channel?"]),
    ('[logs.requests]\nconstants = { user_id = "nobody" }', ["constants.user_id is 'nobody'", "a whole number"]),
    ('[logs.conversions]\nconstants = { action = "clik" }', ["constants.action is 'clik'", "click"]),
    ("[logs.retrievals]\nconstants = { item_ids = 1 }", ["constants.item_ids", "left out"]),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_setting_that_no_file_can_meet_is_named(tmp_path, text, words):
    settings(tmp_path, text)
    land_empty(tmp_path, logs.impressions, logs.conversions)
    land(tmp_path, "requests", {"request_id": ["r1"], "user_id": [1], "scenario": ["a"], "request_time": [at("10:00")]})
    land_in(tmp_path, "retrievals", "channel=hot", {"request_id": ["r1"], "item_ids": [[1]]})
    with pytest.raises(SettingsError) as fault:
        ingest(tmp_path)
    assert all(word in str(fault.value) for word in words), str(fault.value)
    assert "\n" not in str(fault.value)
    assert parquet.read_metadata(tmp_path / "landing/requests" / f"date={DAY}" / "part-0.parquet").num_rows == 1
