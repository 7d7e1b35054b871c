"""Every refusal rule, every duplicate, and what a failed run leaves alone."""

import argparse
import shutil
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.sql import functions as F

from jobs import ingest_logs
from jobs.command import WorkFailedError
from jobs.validation import casts
from schemas import arrow, logs
from schemas.reports import quality
from schemas.table import ContractError, MissingDataError

DAY = date(2024, 3, 1)
REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)


def at(clock: str, day: int = 1) -> datetime:
    """A naive time of March 2024; naive times are UTC."""
    return datetime.fromisoformat(f"2024-03-{day:02d} {clock}")


def land(root, table: str, columns: dict, part: int = 0, day: date = DAY) -> None:
    """Write one landing file; a column is a list of values, or an Arrow array where its type matters."""
    place = root / "landing" / table / f"date={day}"
    place.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), place / f"part-{part}.parquet")


def land_empty(root, *tables) -> None:
    for table in tables:
        place = root / "landing" / table.name / f"date={DAY}"
        place.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table.schema.empty_table(), place / "part-empty.parquet")


def ingest(root, share: float = 0.05, day: date = DAY) -> dict:
    return ingest_logs.main(argparse.Namespace(root=str(root), max_refused_share=share), day)


def kept(root, table, *columns: str) -> list[tuple]:
    """The rows of a log as tuples, sorted by their text."""
    rows = arrow.read(str(root), table, DAY, list(columns) or list(table.names)).to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=repr)


def refused(root, table: str, *columns: str) -> list[tuple]:
    rows = parquet.read_table(root / "quarantine" / table / f"date={DAY}", partitioning=None).to_pylist()
    return sorted((tuple(row[name] for name in (*columns, "reason")) for row in rows), key=repr)


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
            "surplus": ["dropped"] * 9,
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
    land(root, "users", {"user_id": [1, 2, 2, None], "age": [30, None, None, 9], "vip": [True, False, False, True]})
    land(root, "items", {"item_id": [3, 4], "category_id": [None, 8], "price": [2.5, None], "name": ["hat", None]})


@pytest.fixture(scope="module")
def every_fault(spark, tmp_path_factory):
    """The root after one run over rows with every fault, and what the run counted."""
    root = tmp_path_factory.mktemp("every_fault")
    land_every_fault(root)
    return root, ingest(root, share=1.0)


NO_REQUEST = "request_id: no valid request of the date"
NO_ID = "request_id: null or empty"


def test_requests(every_fault):
    root, _ = every_fault
    zone = arrow.read(str(root), logs.requests, DAY)["request_time"].type.tz
    assert zone == "UTC"
    found = [(*row[:3], row[3].replace(tzinfo=None)) for row in kept(root, logs.requests)]
    # Of the two r2, both valid, the smaller values win: "homepage" < "search" decides before the time does.
    assert found == [
        ("r1", 1, "homepage", at("00:00")),
        ("r2", 2, "homepage", at("23:59:59")),
        ("r4b", 6, "d", at("00:00")),
    ]
    assert refused(root, "requests", "request_id", "user_id", "request_time") == [
        ("", "4", "2024-03-01 10:00:00.000000000", NO_ID),
        ("r3", None, "2024-03-01 10:00:00.000000000", "user_id: null"),
        ("r4", "6", "2024-03-02 00:00:00.000000000", "request_time: outside the date"),
        ("r5", "x5", "2024-03-01 10:00:00.000000000", "user_id: does not cast to int64 without loss"),
        ("r6", "7", "2024-03-01 10:00:00.000000000", "scenario: null"),
        (
            "r7",
            "7",
            "2024-03-01 10:00:00.000000001",
            "request_time: does not cast to timestamp[us, tz=UTC] without loss",
        ),
        ("r8", "08", "2024-03-01 10:00:00.000000001", "user_id: does not cast to int64 without loss"),
        (None, "5", "2024-03-01 10:00:00.000000000", NO_ID),
    ]


def test_retrievals(every_fault):
    root, _ = every_fault
    assert kept(root, logs.retrievals) == [
        ("r1", "cf", [], []),
        ("r1", "hot", [3, 1], [0.5, 0.25]),
        ("r2", "hot", [5], []),
    ]
    assert refused(root, "retrievals", "request_id", "channel", "item_ids") == [
        ("r1", "", "[1]", "channel: null or empty"),
        ("r1", "a", None, "item_ids: null"),
        ("r1", "b", "[1, null]", "item_ids: null inside the list"),
        ("r1", "big", "[1]", "scores: does not cast to list<float> without loss"),
        ("r1", "c", "[4, 5, 4]", "item_ids: an item twice"),
        ("r1", None, "[1]", "channel: null or empty"),
        ("r2", "half", "[1.5]", "item_ids: does not cast to list<int64> without loss"),
        ("r2", "hole", "[1]", "scores: null inside the list"),
        ("r2", "least", "[-9223372036854775808, null]", "item_ids: null inside the list"),
        ("r2", "short", "[1, 2]", "scores: as many as item_ids or none"),
        ("r3", "hot", "[1]", NO_REQUEST),
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
    assert "vip" not in arrow.read(str(root), logs.users, DAY).column_names
    assert refused(root, "users", "user_id", "age") == [(None, 9, "user_id: null")]
    assert kept(root, logs.items, "item_id", "category_id", "price", "name") == [
        (3, None, 2.5, "hat"),
        (4, 8, None, None),
    ]
    assert not (root / "quarantine" / "items").exists() or not list((root / "quarantine" / "items").iterdir())


def test_every_row_is_kept_duplicate_or_quarantined(every_fault):
    root, counted = every_fault
    tables = counted["tables"]
    in_kept_quarantined_duplicates_conflicting = {
        name: tuple(one[key] for key in ("rows_in", "rows_written", "quarantined", "duplicates", "conflicting"))
        for name, one in tables.items()
    }
    assert in_kept_quarantined_duplicates_conflicting == {
        "requests": (13, 3, 8, 2, 1),  # r1 twice the same, r2 twice and different
        "retrievals": (16, 3, 13, 0, 0),
        "stages": (3, 2, 1, 0, 0),
        "impressions": (7, 2, 5, 0, 0),
        "conversions": (8, 2, 4, 2, 1),  # e1 three times, one of them with another item
        "users": (4, 2, 1, 1, 0),
        "items": (2, 2, 0, 0, 0),
    }
    assert {key: counted[key] for key in ("rows_written", "quarantined", "duplicates", "conflicting")} == {
        "rows_written": 16,
        "quarantined": 32,
        "duplicates": 5,
        "conflicting": 2,
    }
    checks = {(row["table"], row["check"]): row for row in arrow.read(str(root), quality, DAY).to_pylist()}
    assert checks["stages", "refused_share"]["value"] == pytest.approx(1 / 3)
    assert checks["retrievals", f"refused: {NO_REQUEST}"]["value"] == 2
    assert checks["requests", f"refused: {NO_ID}"]["value"] == 2
    assert checks["users", "dropped column: vip"]["value"] == 4
    assert checks["requests", "dropped column: surplus"]["value"] == 9
    assert all(row["passed"] for row in checks.values())


def small(root, count: int = 40) -> None:
    """A date without a fault: `count` requests, a retrieval each, nothing else."""
    land_empty(root, logs.impressions, logs.conversions)
    names = [f"r{n}" for n in range(count)]
    land(root, "requests", {"request_id": names, "user_id": list(range(count)), "scenario": ["homepage"] * count,
                            "request_time": [at("10:00") + timedelta(minutes=n) for n in range(count)]})  # fmt: skip
    land(root, "retrievals", {"request_id": names, "channel": ["hot"] * count, "item_ids": [[1, 2]] * count})


def state(root) -> dict:
    """Every row of every log of the date, and the quarantine's dates."""
    found = {table.name: kept(root, table) for table in logs.LOGS if arrow.dates(str(root), table)}
    found["quarantine"] = sorted(path.name for path in (root / "quarantine").glob("*/date=*"))
    return found


def test_a_failed_run_changes_no_log_and_a_later_one_repairs_it(spark, tmp_path):
    small(tmp_path)
    land(tmp_path, "stages", {"request_id": ["r0"], "stage": ["ranking"], "item_ids": [[1]]})
    assert ingest(tmp_path)["rows_written"] == 81
    before = state(tmp_path)

    # Two requests of 42 are refused: 4.8 %. But the three retrievals of unknown requests of 43 are 7 %.
    land(tmp_path, "requests", {"request_id": ["", ""], "user_id": [1, 2], "scenario": ["a", "b"],
                                "request_time": [at("10:00")] * 2}, part=1)  # fmt: skip
    land(tmp_path, "retrievals", {"request_id": ["x", "y", "z"], "channel": ["hot"] * 3, "item_ids": [[1]] * 3}, part=1)
    with pytest.raises(WorkFailedError) as fault:
        ingest(tmp_path)
    assert "retrievals: 7.0% of 43 rows refused: request_id: no valid request of the date (3)" in str(fault.value)
    assert "requests:" not in str(fault.value).split("retrievals")[0]
    assert {name: rows for name, rows in state(tmp_path).items() if name != "quarantine"} == {
        name: rows for name, rows in before.items() if name != "quarantine"
    }
    assert len(refused(tmp_path, "retrievals")) == 3
    checks = {
        (row["table"], row["check"]): row["passed"] for row in arrow.read(str(tmp_path), quality, DAY).to_pylist()
    }
    assert checks["requests", "refused_share"]
    assert not checks["retrievals", "refused_share"]

    # The producer takes the faulty files back, and the stages: as a first run without them, without a quarantine.
    for table in ("requests", "retrievals"):
        (tmp_path / "landing" / table / f"date={DAY}" / "part-1.parquet").unlink()
    shutil.rmtree(tmp_path / "landing" / "stages")
    assert ingest(tmp_path)["rows_written"] == 80
    assert state(tmp_path) == {name: rows for name, rows in before.items() if name != "stages"}


def test_a_broken_page_is_named_and_changes_nothing(spark, tmp_path):
    small(tmp_path, count=2)
    land(tmp_path, "items", {"item_id": list(range(1000)), "category_id": list(range(1000))})
    path = tmp_path / "landing" / "items" / f"date={DAY}" / "part-0.parquet"
    pages = bytearray(path.read_bytes())
    start = parquet.read_metadata(path).row_group(0).column(1).dictionary_page_offset
    pages[start : start + 200] = b"x" * 200
    path.write_bytes(pages)
    with pytest.raises(ContractError, match=r"items/date=2024-03-01/part-0.parquet cannot be read"):
        ingest(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


FINE = 1709287200_000_000_001  # 2024-03-01 10:00 and a nanosecond
TEN = datetime(2024, 3, 1, 10)
CASTS = [
    # landed type, value as SQL, wanted type, expected, whether it is refused
    ("bigint", "2147483648L", "int", None, True),
    ("bigint", "2147483647L", "int", 2147483647, False),
    ("double", "7D", "bigint", 7, False),
    ("double", "7.5D", "bigint", None, True),
    ("double", "double('NaN')", "bigint", None, True),
    ("double", "9223372036854775808D", "bigint", None, True),
    ("double", "-9223372036854775808D", "bigint", -(2**63), False),
    ("decimal(20,0)", "18446744073709551615BD", "bigint", None, True),
    ("decimal(10,2)", "7.00BD", "bigint", 7, False),
    ("string", "'12'", "bigint", 12, False),
    ("string", "' 12'", "bigint", None, True),
    ("string", "'1e3'", "bigint", None, True),
    ("boolean", "true", "bigint", None, True),
    ("bigint", "7L", "string", "7", False),
    ("binary", "X'61'", "string", "a", False),
    ("binary", "X'FF'", "string", None, True),
    ("array<bigint>", "array(1L)", "string", None, True),
    ("bigint", "1709287200L", "timestamp", None, True),
    ("nanos", f"{FINE - 1}L", "timestamp", TEN, False),
    ("nanos", f"{FINE}L", "timestamp", None, True),
    ("nanos", "-1000L", "timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999), False),
    ("nanos", f"{FINE}L", "bigint", None, True),
    ("timestamp_ntz", "timestamp_ntz'2024-03-01 10:00:00'", "timestamp", TEN, False),
    ("string", "'2024-03-01T10:00:00Z'", "timestamp", TEN, False),
    ("string", "'2024-03-01 12:00:00.000000+02:00'", "timestamp", TEN, False),
    ("string", "'10:00'", "timestamp", None, True),
    ("string", "'2024-02-30 10:00:00'", "timestamp", None, True),
    ("string", "'2024-03-01 10:00:00.0000001'", "timestamp", None, True),
    ("null", "int(null)", "string", None, False),
    (
        "array<double>",
        "array(0.1D, double('NaN'), double('-Infinity'))",
        "array<float>",
        "[0.1, NaN, -Infinity]",
        False,
    ),
    ("array<double>", "array(double('NaN'), 1e300D)", "array<float>", None, True),
    ("array<int>", "array(1, null)", "array<bigint>", "[1, null]", False),
    ("array<double>", "array(1D, 2.5D)", "array<bigint>", None, True),
    ("array<string>", "array('1', '2')", "array<bigint>", "[1, 2]", False),
]


def test_casts(spark):
    """Every case in one Spark job; lists are compared as text."""
    columns = []
    for n, (landed, _, wanted, _, _) in enumerate(CASTS):
        made = casts.cast(F.col(f"c{n}"), landed, wanted)
        shown = made.value.cast("string") if wanted.startswith("array") else made.value
        columns += [shown.alias(f"v{n}"), (F.lit(False) if made.loses is None else made.loses).alias(f"l{n}")]
    landed = spark.range(1).selectExpr(*(f"{case[1]} AS c{n}" for n, case in enumerate(CASTS)))
    found = landed.select(*columns).toArrow().to_pylist()[0]
    for n, (kind, value, wanted, expected, refused_too) in enumerate(CASTS):
        got = found[f"v{n}"]
        got = got.replace(tzinfo=None) if isinstance(got, datetime) else got
        assert (got, found[f"l{n}"]) == (expected, refused_too), f"{value} of {kind} as {wanted}"


def faulty_columns(root) -> None:
    land(root, "requests", {"Request_ID": ["r1"], "user_id": [1], "scenario": ["a"], "request_time": [at("10:00")]})


def faulty_type(root) -> None:
    land(root, "requests", {"request_id": ["r1"], "user_id": pa.array([1], pa.time64("us")), "scenario": ["a"]})


def text_file(root) -> None:
    (root / "landing" / "requests" / f"date={DAY}" / "part-9.parquet").write_text("request_id,user_id\nr1,1\n")


def truncated(root) -> None:
    path = root / "landing" / "requests" / f"date={DAY}" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def missing(root) -> None:
    place = root / "landing" / "impressions" / f"date={DAY}"
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (faulty_columns, ContractError, ["request_id and Request_ID differ only by case"]),
        (faulty_type, ContractError, ["part-0.parquet", "column user_id", "should be int64"]),
        (text_file, ContractError, ["part-9.parquet cannot be read as Parquet"]),
        (truncated, ContractError, ["part-0.parquet cannot be read as Parquet"]),
        (missing, MissingDataError, [f"landing/impressions/date={DAY} has no .parquet file"]),
    ],
)
def test_what_cannot_be_read_is_named_before_anything_starts(tmp_path, spoil, error, words):
    small(tmp_path, count=2)
    spoil(tmp_path)
    with pytest.raises(error) as fault:
        ingest(tmp_path)
    assert all(word in str(fault.value) for word in words), str(fault.value)
    assert "\n" not in str(fault.value)
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


def test_the_share_is_a_share():
    parser = ingest_logs.arg_parser()
    assert parser.parse_args(["--root", "x", "--date", "2024-03-01"]).max_refused_share == 0.05
    for wrong in ("5", "-0.1", "few", "nan"):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(["--root", "x", "--date", "2024-03-01", "--max-refused-share", wrong])
        assert stopped.value.code == 2
