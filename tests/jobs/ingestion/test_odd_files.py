"""Landing files as everyday writers make them: other types, codecs, encodings and names."""

import uuid
from datetime import UTC, datetime

import duckdb
import polars
import pyarrow as pa
import pytest
from pyarrow import parquet

from schemas.tables import logs
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty

REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)
UUIDS = [uuid.UUID(int=n) for n in (1, 2**127)]


def folder(root, table: str):
    place = root / "landing" / table / f"date={DAY}"
    place.mkdir(parents=True, exist_ok=True)
    return place


def requests_of(count: int, name: str = "r", **others) -> dict:
    names = [f"{name}{n}" for n in range(count)]
    return {"request_id": names, "user_id": list(range(count)), "scenario": ["homepage"] * count,
            "request_time": [at("10:00")] * count} | others  # fmt: skip


def test_files_of_any_name_are_read_and_hidden_ones_are_not(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    names = [
        "part-0-0", "000000_0", "b.parq", "c.PARQUET", "2026-03-02T10:00:00Z.parquet", "x[1].parquet", "{a}.parquet",
        "b\\c.parquet", "x*y?.parquet", "50%20 #1+ü.parquet", "hour=01/a:b/x.parquet", "_hidden.parquet", ".x.parquet",
    ]  # fmt: skip
    for n, name in enumerate(names):
        path = folder(tmp_path, "requests") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(requests_of(2, f"{n}-")), path)
    counted = ingest(tmp_path)["tables"]["requests"]
    assert (counted["rows_in"], counted["rows_written"]) == (2 * (len(names) - 2), 2 * (len(names) - 2))
    assert not list((tmp_path / "_staging").glob("*/*.parquet"))


@pytest.mark.parametrize("name", ["r[1]{a}", "a:b [c]", "st*", "50% off #1", "q?x ü+"])
def test_a_root_of_any_name_is_that_very_folder(spark, tmp_path, name):
    root = tmp_path / name
    for sibling in (root, tmp_path / "st sibling"):
        land_empty(sibling, *REQUIRED)
        land(sibling, "requests", requests_of(3))
    for _ in range(2):
        assert ingest(root)["rows_written"] == 3
    assert len(kept(root, logs.requests)) == 3


def write_by_duckdb(path, query: str, options: str = "") -> None:
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet{options})")


def test_types_of_duckdb(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    write_by_duckdb(
        folder(tmp_path, "requests") / "a",
        f"""SELECT '{UUIDS[1]}'::UUID AS request_id, 7::UHUGEINT::UBIGINT AS user_id,
        'homepage'::ENUM('homepage', 'x') AS scenario, TIMESTAMP_NS '2024-03-01 10:00:00.123456789' AS request_time""",
        ", parquet_version v2",
    )
    write_by_duckdb(
        folder(tmp_path, "retrievals") / "a",
        f"""SELECT '{UUIDS[1]}'::UUID AS request_id, 'hot' AS channel, [1, 2, 3]::UINTEGER[] AS item_ids,
        [0.5, 0.25, 0.125]::FLOAT[] AS scores""",
        ", parquet_version v2",
    )
    counted = ingest(tmp_path)
    assert kept(tmp_path, logs.requests) == [
        (str(UUIDS[1]), 7, "homepage", datetime(2024, 3, 1, 10, 0, 0, 123456, tzinfo=UTC))
    ]
    assert kept(tmp_path, logs.retrievals) == [(str(UUIDS[1]), "hot", [1, 2, 3], [0.5, 0.25, 0.125])]
    assert (counted["truncated"], counted["tables"]["requests"]["truncated"]) == (1, 1)


def test_types_of_polars(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    frame = polars.DataFrame(
        {"request_id": ["r0"], "user_id": [0], "scenario": ["homepage"], "request_time": [at("10:00")]},
        schema_overrides={"scenario": polars.Categorical, "request_time": polars.Datetime("ns", "UTC"),
                          "user_id": polars.UInt64},
    )  # fmt: skip
    frame.write_parquet(folder(tmp_path, "requests") / "a", compression="brotli")
    lists = {"request_id": ["r0"], "channel": ["hot"], "item_ids": [[3, 1]], "scores": [[1.0, 0.5]]}
    kinds = {"item_ids": polars.Array(polars.UInt64, 2), "scores": polars.List(polars.Float32)}
    polars.DataFrame(lists, schema_overrides=kinds).write_parquet(folder(tmp_path, "retrievals") / "a")
    assert ingest(tmp_path)["truncated"] == 0
    assert kept(tmp_path, logs.retrievals) == [("r0", "hot", [3, 1], [1.0, 0.5])]


ODD_TYPES = [
    # the column's array, further arguments of the writer
    ("dictionary", "scenario", pa.array(["homepage"]).dictionary_encode(), {}),
    ("large text", "scenario", pa.array(["homepage"], pa.large_string()), {}),
    ("text view", "scenario", pa.array(["homepage"], pa.string_view()), {}),
    ("brotli", "scenario", pa.array(["homepage"]), {"compression": "brotli"}),
    ("lz4", "scenario", pa.array(["homepage"]), {"compression": "lz4"}),
    ("int96", "request_time", pa.array([at("10:00")], pa.timestamp("us")), {"use_deprecated_int96_timestamps": True}),
    ("v2 pages", "scenario", pa.array(["homepage"]), {"data_page_version": "2.0", "version": "2.6"}),
    ("seconds", "request_time", pa.array([at("10:00")], pa.timestamp("s", "+08:00")), {}),
    ("decimal", "user_id", pa.array([0], pa.decimal128(20, 0)), {}),
    ("half float", "user_id", pa.array([0.0], pa.float16()), {}),
    ("byte stream", "user_id", pa.array([0], pa.int32()),
     {"use_dictionary": False, "column_encoding": {"user_id": "BYTE_STREAM_SPLIT"}}),
]  # fmt: skip


def test_odd_types_of_requests(spark, tmp_path):
    """All in one run: each file has one request, all of the same content."""
    land_empty(tmp_path, *REQUIRED)
    for kind, column, values, options in ODD_TYPES:
        table = pa.table(requests_of(1, kind) | {column: values})
        parquet.write_table(table, folder(tmp_path, "requests") / kind, **options)
    table = pa.table(requests_of(1) | {"request_id": pa.array([UUIDS[0].bytes], pa.binary(16))})
    parquet.write_table(table, folder(tmp_path, "requests") / "bytes")
    ingest(tmp_path)
    time = datetime(2024, 3, 1, 10, tzinfo=UTC)
    names = [f"{kind}0" for kind, *_ in ODD_TYPES] + [str(UUIDS[0])]
    assert kept(tmp_path, logs.requests) == sorted(((name, 0, "homepage", time) for name in names), key=repr)


def test_odd_lists(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    ids = [[3, 1], []]
    kinds = [pa.list_view(pa.int64()), pa.large_list(pa.uint64()), pa.list_(pa.uint8()), pa.large_list_view(pa.int32())]
    land(tmp_path, "requests", requests_of(len(kinds) + 1))
    for n, kind in enumerate(kinds):
        land(tmp_path, "retrievals", {"request_id": [f"r{n}"] * 2, "channel": ["a", "b"],
                                      "item_ids": pa.array(ids, kind)}, part=n)  # fmt: skip
    spark.conf.set("spark.sql.parquet.writeLegacyFormat", "true")  # two levels, as Hive and Avro write lists
    try:
        rows = spark.createDataFrame(
            [(f"r{len(kinds)}", "a", ids[0])], "request_id string, channel string, item_ids array<int>"
        )
        rows.coalesce(1).write.mode("append").parquet(f"file://{folder(tmp_path, 'retrievals')}")
    finally:
        spark.conf.unset("spark.sql.parquet.writeLegacyFormat")
    ingest(tmp_path)
    expected = [(f"r{n}", channel, items) for n in range(len(kinds)) for channel, items in zip("ab", ids, strict=True)]
    assert kept(tmp_path, logs.retrievals, "request_id", "channel", "item_ids") == [
        *expected,
        (f"r{len(kinds)}", "a", ids[0]),
    ]


def test_times_below_a_microsecond_are_cut_towards_the_past(spark, tmp_path):
    land_empty(tmp_path, *REQUIRED)
    fine = pa.array([1709287200_000_001_999, 1709287200_000_002_000], pa.timestamp("ns"))
    land(tmp_path, "requests", requests_of(2, request_time=fine))
    texts = ["2024-03-01T10:00:00.000001999Z", "2024-03-01 18:00:00.000002+0800", "2024-03-01 10:00:00 UTC"]
    land(tmp_path, "requests", requests_of(3, "t", request_time=texts), part=1)
    assert ingest(tmp_path)["tables"]["requests"]["truncated"] == 2
    times = [time.microsecond for (time,) in kept(tmp_path, logs.requests, "request_time")]
    assert sorted(times) == [0, 1, 1, 2, 2]
    assert {time.hour for (time,) in kept(tmp_path, logs.requests, "request_time")} == {10}


def test_a_folder_that_is_no_log_is_said(spark, tmp_path, capsys):
    land_empty(tmp_path, *REQUIRED)
    (tmp_path / "landing" / "stage" / f"date={DAY}").mkdir(parents=True)
    (tmp_path / "landing" / "_truth").mkdir()
    ingest(tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if "is no log" in line]
    assert lines == [f"ingest_logs {DAY}: landing/stage is no log, nothing of it is read; did you mean stages?"]


def test_copies_decide_no_winner(spark, tmp_path):
    """Rows that share a key: the same one is kept whichever file an engine reads a copy of."""
    found = []
    for odd in ("a", "b"):
        root = tmp_path / odd
        land_empty(root, *REQUIRED)
        for name in ("a", "b"):
            table = pa.table(requests_of(1, user_id=[7 if name == "a" else 5]))
            parquet.write_table(
                table, folder(root, "requests") / name, compression="brotli" if name == odd else "snappy"
            )
        ingest(root)
        found.append(kept(root, logs.requests))
    assert found[0] == found[1]
    assert found[0][0][1] == 5
