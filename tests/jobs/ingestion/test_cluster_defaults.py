"""A cluster's own defaults change no row, and no table that others read."""

import pytest
from pyarrow import parquet

from schemas.storage import arrow
from schemas.tables import logs
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty

# Set in a running session, as by spark-defaults.conf.
# By what they touch: all of a group at once, since each run takes seconds.
DEFAULTS = {
    "features of tables": {
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "true",
        "spark.databricks.delta.properties.defaults.columnMapping.mode": "name",
        "spark.databricks.delta.properties.defaults.enableRowTracking": "true",
        "spark.databricks.delta.properties.defaults.checkpointPolicy": "v2",
    },
    "types": {
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.legacy.sizeOfNull": "true",
        "spark.sql.session.timeZone": "Asia/Shanghai",
        "spark.sql.parquet.writeLegacyFormat": "true",
        "spark.sql.parquet.outputTimestampType": "INT96",
    },
    "reads and writes": {
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
        "spark.sql.files.ignoreCorruptFiles": "true",
        "spark.sql.caseSensitive": "true",
        "spark.databricks.delta.commitInfo.userMetadata": "nightly",
    },
}


def land_all(root) -> None:
    land_empty(root, logs.impressions)
    land(root, "requests", {"request_id": ["r1", "r2", ""], "user_id": [1, 2, 3], "scenario": ["homepage"] * 3,
                            "request_time": ["2024-03-01 00:30:00", "2024-03-01T23:59:59+00", "2024-03-01 10:00:00"],
                            "new": [True, None, None]})  # fmt: skip
    land(root, "retrievals", {"request_id": ["r1", "r2"], "channel": ["hot"] * 2, "item_ids": [[3, 1], []],
                              "scores": [None, []]})  # fmt: skip
    land(root, "conversions", {"event_id": ["e1", "e1"], "user_id": [1, 1], "item_id": [3, 3], "action": ["click"] * 2,
                               "event_time": [at("10:00")] * 2, "scenario": ["homepage"] * 2,
                               "logged_time": [at("10:01"), at("10:02")]})  # fmt: skip
    land(root, "items", {"item_id": [1, 2], "price": [1.5, None], "tags": [["a"], None]})


def outcome(root) -> list:
    tables = (logs.requests, logs.retrievals, logs.conversions, logs.items)
    rows = [arrow.read(str(root), table, DAY) for table in tables]
    refused = parquet.read_table(root / "quarantine" / "requests" / f"date={DAY}", partitioning=None)
    return (
        [kept(root, table) for table in tables] + [table.schema for table in (*rows, refused)] + [refused.to_pylist()]
    )


@pytest.fixture(scope="module")
def expected(spark, tmp_path_factory):
    root = tmp_path_factory.mktemp("usual")
    land_all(root)
    ingest(root, share=0.5)
    return outcome(root)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_changes_nothing(spark, tmp_path, expected, name):
    land_all(tmp_path)
    before = {key: spark.conf.get(key, None) for key in DEFAULTS[name]}
    for key, value in DEFAULTS[name].items():
        spark.conf.set(key, value)
    try:
        ingest(tmp_path, share=0.5)
        ingest(tmp_path, share=0.5)  # rows of conversions are merged
    finally:
        for key, value in before.items():
            spark.conf.unset(key) if value is None else spark.conf.set(key, value)
    assert outcome(tmp_path) == expected
