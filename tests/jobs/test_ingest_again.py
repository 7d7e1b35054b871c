"""Ingesting a date again: what late conversions change of its log, and which dates have new files."""

import shutil

from jobs import ingest_logs
from schemas.storage import arrow
from schemas.tables.logs import conversions, impressions, requests, retrievals
from tests.support.ingested import DAY, at, ingest, kept, land

EVENTS = ("event_id", "user_id", "item_id", "action", "event_time", "scenario", "request_id", "logged_time")


def land_events(root, part: int, *events: tuple) -> None:
    columns = dict(zip(EVENTS, map(list, zip(*events, strict=True)), strict=True))
    land(root, "conversions", columns, part)


def event(name: str, item: int, logged: str = "10:00:01") -> tuple:
    return (name, 1, item, "click", at("10:00"), "homepage", None, at(logged))


def test_late_conversions_change_only_what_differs(spark, tmp_path):
    land(tmp_path, "requests", {
        "request_id": ["r1"], "user_id": [1], "scenario": ["homepage"], "request_time": [at("09:00")],
    })  # fmt: skip
    land(tmp_path, "retrievals", {"request_id": ["r1"], "channel": ["hot"], "item_ids": [[7]], "scores": [[0.5]]})
    land(tmp_path, "impressions", {
        "request_id": ["r1"], "item_id": [7], "position": [1], "impression_time": [at("09:00")],
    })  # fmt: skip
    land_events(tmp_path, 0, event("e1", 1), event("e2", 2), event("e3", 3))
    root = str(tmp_path)
    assert ingest_logs.stale(root, [DAY]) == []  # never ingested
    ingest(tmp_path)
    assert ingest_logs.stale(root, [DAY]) == []
    files = {table: sorted(arrow.delta(root, table).file_uris()) for table in (requests, retrievals, impressions)}

    land_events(tmp_path, 1, event("e2", 22, "11:00"), event("e4", 4))
    assert ingest_logs.stale(root, [DAY]) == [DAY]
    ingest(tmp_path)
    assert kept(tmp_path, conversions, "event_id", "item_id") == [("e1", 1), ("e2", 22), ("e3", 3), ("e4", 4)]
    done = arrow.delta(root, conversions).history(1)[0]
    assert done["operation"] == "MERGE"
    counted = done["operationMetrics"]
    assert [int(counted[f"numTargetRows{kind}"]) for kind in ("Inserted", "Updated", "Deleted")] == [1, 1, 0]
    assert ingest_logs.stale(root, [DAY]) == []
    assert {table: sorted(arrow.delta(root, table).file_uris()) for table in files} == files

    (tmp_path / "landing" / "conversions" / f"date={DAY}" / "part-1.parquet").unlink()
    assert ingest_logs.stale(root, [DAY]) == [DAY]
    ingest(tmp_path)
    assert kept(tmp_path, conversions, "event_id", "item_id") == [("e1", 1), ("e2", 2), ("e3", 3)]

    land(tmp_path, "retrievals", {"request_id": ["r1"], "channel": ["hot"], "item_ids": [[8]], "scores": [[0.5]]})
    ingest(tmp_path)
    assert kept(tmp_path, retrievals, "request_id", "item_ids") == [("r1", [8])]
    assert sorted(arrow.delta(root, requests).file_uris()) == files[requests]

    shutil.rmtree(tmp_path / "landing" / "impressions")
    assert ingest_logs.stale(root, [DAY]) == []  # raw logs that were cleared away are no news
