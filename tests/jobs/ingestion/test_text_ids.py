"""Ids that are text: the numbers that stand for them, the tables that tell them, and two texts with one number."""

from datetime import date, timedelta

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from schemas.storage import arrow
from schemas.storage.spark import Store
from schemas.tables import logs
from schemas.tables.ids import item_id, user_id
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty, refused

NEXT = DAY + timedelta(1)


def day_of(root, day: date, users: list, items: list[list]) -> None:
    """A request a user with one retrieval, and an impression and a conversion of its first item."""
    names = [f"r{n}" for n in range(len(users))]
    noon = [at("12:00", day.day)] * len(users)
    firsts = pa.array([each[0] for each in items])
    land(root, "requests", {"request_id": names, "user_id": users, "scenario": ["homepage"] * len(users),
                            "request_time": noon}, day=day)  # fmt: skip
    land(root, "retrievals", {"request_id": names, "channel": ["hot"] * len(users), "item_ids": items}, day=day)
    land(root, "impressions", {"request_id": names, "item_id": firsts, "position": [1] * len(users),
                               "impression_time": noon}, day=day)  # fmt: skip
    land(root, "conversions", {"event_id": names, "user_id": users, "item_id": firsts, "action": ["click"] * len(users),
                               "event_time": noon, "scenario": ["homepage"] * len(users), "logged_time": noon},
         day=day)  # fmt: skip


def ids(root, table) -> dict[str, tuple[int, date]]:
    rows = arrow.delta(str(root), table).to_pyarrow_table().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["text"]: (row["id"], row["first_date"]) for row in rows}


def hashed(spark, *texts: str) -> list[int]:
    return [spark.range(1).select(F.xxhash64(F.lit(text))).first()[0] for text in texts]


def test_texts_become_numbers_and_are_told(spark, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "settings.toml").write_text('[ids]\nuser_id = "text"\nitem_id = "text"\n')
    day_of(root, NEXT, ["ann", "bob", "", None, "dan"], [["x", "y", "x"], ["7"], ["z"], ["z"], ["x", ""]])
    counted = ingest(root, share=1.0, day=NEXT)["tables"]
    # No text is no user; no text in a list is a fault.
    assert counted["requests"]["set_aside"] == {"no user": 2}
    assert counted["retrievals"]["refused_for"] == {"item_ids: null inside the list": 1}
    ann, bob, dan, x, y, seven = hashed(spark, "ann", "bob", "dan", "x", "y", "7")
    assert ids(root, user_id) == {"ann": (ann, NEXT), "bob": (bob, NEXT), "dan": (dan, NEXT)}
    assert ids(root, item_id) == {"x": (x, NEXT), "y": (y, NEXT), "7": (seven, NEXT)}
    found = arrow.read(str(root), logs.retrievals, NEXT, ["request_id", "item_ids"]).to_pylist()
    assert sorted(map(str, found)) == sorted(
        map(str, [{"request_id": "r0", "item_ids": [x, y]}, {"request_id": "r1", "item_ids": [seven]}])
    )

    # The day before, ingested later and with numbers: ids are their digits, known ones get the earlier date, new
    # ones come by MERGE, and a second run changes nothing.
    day_of(root, DAY, ["ann"], [[7, 8]])
    ingest(root)
    assert ids(root, user_id)["ann"] == (ann, DAY)
    assert ids(root, user_id)["bob"] == (bob, NEXT)
    assert {text: day for text, (_, day) in ids(root, item_id).items()} == {"x": NEXT, "y": NEXT, "7": DAY, "8": DAY}
    assert kept(root, logs.conversions, "user_id", "item_id") == [(ann, seven)]
    version = arrow.delta(str(root), item_id).version()
    assert arrow.delta(str(root), item_id).history(1)[0]["operation"] == "MERGE"
    ingest(root)
    assert arrow.delta(str(root), item_id).version() == version


def test_a_text_whose_number_is_taken_is_refused_by_name(spark, tmp_path):
    (tmp_path / "settings.toml").write_text('[ids]\nuser_id = "text"\nitem_id = "text"\n')
    (number,) = hashed(spark, "ann")
    Store(spark, str(tmp_path)).merge(
        user_id, DAY, spark.createDataFrame(pa.table([[number], ["eve"], [DAY]], schema=user_id.schema)), {}
    )
    day_of(tmp_path, DAY, ["ann", "bob"], [["x"], ["x"]])
    counted = ingest(tmp_path, share=1.0)["tables"]
    assert counted["requests"]["rows_written"] == 1
    assert refused(tmp_path, "requests", "request_id", "user_id") == [("r0", "ann", "user_id: hash collision with eve")]
    assert refused(tmp_path, "conversions", "user_id") == [("ann", "user_id: hash collision with eve")]
    assert sorted(ids(tmp_path, user_id)) == ["bob", "eve"]
    # Rows that name the refused request have no valid one.
    assert counted["retrievals"]["refused_for"] == {"request_id: no valid request of the date": 1}


@pytest.mark.parametrize("users", [pa.array(["0003374a-a35c"]), pa.array([2**63], pa.uint64())])
def test_without_the_setting_the_reason_names_it(spark, tmp_path, users):
    land_empty(tmp_path, logs.retrievals, logs.impressions, logs.conversions)
    land(tmp_path, "requests", {"request_id": ["r1"], "user_id": users, "scenario": ["homepage"],
                                "request_time": [at("10:00")]})  # fmt: skip
    (reason,) = ingest(tmp_path, share=1.0)["tables"]["requests"]["refused_for"]
    assert '[ids] user_id = "text"' in reason
    assert not (tmp_path / "ids").exists()
