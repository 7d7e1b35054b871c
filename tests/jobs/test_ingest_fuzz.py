"""`ingest_logs` against whatever a producer may land: no row is lost, and every refused one can be read.

Each example lands several files of every log, each column of each file in a type of its own, and compares what
became of the rows with `ingest_oracle`.
"""

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pyarrow import parquet

from schemas.storage import arrow
from schemas.table import ContractError
from schemas.tables import logs
from tests.support.ingest_oracle import EPOCH, Cells, arrow_array, counts
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty
from tests.support.project import LONG

REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)
FUZZ = settings(
    max_examples=50 if LONG else 3, derandomize=not LONG, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

BEGIN = int((datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1))
END = BEGIN + 86_400_000_000
LAST_YEAR = int((datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1))
MICROS = [BEGIN, BEGIN + 1, END - 1, END, BEGIN + 36_000_000_000, LAST_YEAR, -LAST_YEAR]
EXTREMES = [2**63 - 1, -(2**63)]
DOUBLES = [0.0, 1.0, 3.0, -2.0, 2.5, float("nan"), float("inf"), -float("inf"), 1e300, 2.0**63, -(2.0**63)]
IDS = ["r0", "r1", "r2", "r3", "r4", "🦊", "1"]
# Values of each kind of column, whatever the column is meant for.
POOLS = {
    "null": [None],
    "tinyint": [0, 1, 3, -128, 127],
    "int": [0, 1, 2, 3, -(2**31), 2**31 - 1],
    "bigint": [0, 1, 2, 3, -7, 2**31, *EXTREMES],
    "unsigned": [0, 1, 3, 2**63, 2**64 - 1],
    "double": DOUBLES,
    "float": [value for value in DOUBLES if value != 1e300],
    "decimal": [Decimal("0.00"), Decimal("3.00"), Decimal("2.50"), Decimal("-1.00"), Decimal(10**19)],
    "bool": [True, False],
    "string": [*IDS, "", " 1", "-3", "+1", "1e3", "007", "9223372036854775808", "homepage", "click", "ranking",
               "2024-03-01T10:00:00Z", "2024-02-30", "10:00", "a\0b", b"\xff\xfe", b"r\xc3", "x" * 100_000],
    "binary": [b"r0", b"r1", b"", b"\xff", b"click", b"1"],
    "date": [(day - EPOCH.date()).days for day in (DAY, date(2024, 3, 2), date.min, date.max)] + [2**31 - 1, -(2**31)],
    "micros": [*MICROS, *EXTREMES],
    "naive": [*MICROS, *EXTREMES],
    "millis": [BEGIN // 1000, END // 1000, LAST_YEAR // 1000],
    "nanos": [BEGIN * 1000, BEGIN * 1000 + 1, END * 1000, *EXTREMES],
}  # fmt: skip
# The kind that suits each of the contract's types, and values that suit its column.
USUAL = {
    "int64": ("bigint", [1, 2, 3]),
    "int32": ("int", [1, 2, 3]),
    "timestamp[us, tz=UTC]": ("micros", [BEGIN, BEGIN + 36_000_000_000, END - 1]),
    "list<item: int64>": ("list<bigint>", [[1, 2], [3], []]),
    "list<item: float>": ("list<float>", [None, []]),
    "string": ("string", IDS[:5]),
}
WORDS = {"action": ["click", "purchase"], "stage": ["ranking", "shadow_ranking"], "channel": ["hot", "cf"]}
LISTS = [f"list<{kind}>" for kind in ("bigint", "int", "double", "float", "string", "decimal", "null", "bool")]
EXTRA = ["colour", "of.two", "it's", "back`tick", "two words", "_hidden", "date", "Größe", "reason", "select", ""]


def pool(kind: str) -> list:
    """Values of one kind of column, null among them."""
    if not kind.startswith("list<"):
        return [*POOLS[kind], None]
    one = POOLS[kind[5:-1]]
    pairs = [list(pair) for pair in zip(one, one[1:] + one[:1], strict=True)]
    return [None, [], [None], [one[0], None], one[:1] * 2, *pairs]


@st.composite
def cells(draw, name: str, wanted: str, length: int) -> Cells:
    """A column: of ten, seven or eight as they should be, the others with strange values or of another type."""
    kind, values = USUAL[wanted]
    values, how = WORDS.get(name, values), draw(st.integers(0, 19))
    if how >= 18:
        kind = draw(st.sampled_from([*POOLS, *LISTS]))
        values = pool(kind)
    elif how >= 15:
        values = values * 6 + pool(kind)
    return Cells(kind, [values[pick % len(values)] for pick in draw(st.binary(min_size=length, max_size=length))])


@st.composite
def files(draw, table) -> list[dict[str, Cells]]:
    """Two to four files of a table, some without rows or a column, some with columns that nobody asked for."""
    found = []
    for n in range(draw(st.integers(2, 4))):
        length = 0 if n == 3 else draw(st.integers(1, 24))
        absent = draw(st.sampled_from([*[None] * 12, *table.names]))
        wanted = {column.name: str(column.type) for column in table.columns if column.name != absent}
        extra = draw(st.lists(st.sampled_from(EXTRA), min_size=1 if absent else 0, max_size=2, unique=True))
        wanted |= dict.fromkeys(extra, "string")
        found.append({name: draw(cells(name, kind, length)) for name, kind in wanted.items()})
    return found


@given(landed=st.fixed_dictionaries({table.name: files(table) for table in logs.LOGS}))
@FUZZ
def test_rows_of_every_type_are_kept_duplicate_or_readable_in_quarantine(spark, tmp_path_factory, landed):
    root = tmp_path_factory.mktemp("fuzz")
    for name, parts in landed.items():
        for n, columns in enumerate(parts):
            land(root, name, {column: arrow_array(values) for column, values in columns.items()}, part=n)
    note(str(root))
    counted = ingest(root, share=1.0)["tables"]
    found = {
        name: (
            *(one[key] for key in ("rows_in", "rows_written", "duplicates", "quarantined")),
            sum(one["set_aside"].values()),
        )
        for name, one in counted.items()
    }
    assert found == counts(landed, DAY)
    for name, one in counted.items():
        check_quarantine(root, name, one)
    for table in logs.LOGS:
        there = arrow.read(str(root), table, DAY).num_rows if DAY in arrow.dates(str(root), table) else 0
        assert there == found[table.name][1]
    shutil.rmtree(root)


def check_quarantine(root, name: str, counted: dict) -> None:
    """Every refused row is there with the reason it is counted for, for pyarrow and for DuckDB."""
    place = root / "quarantine" / name / f"date={DAY}"
    if not counted["quarantined"]:
        assert not place.exists()
        return
    held = parquet.read_table(place, partitioning=None)
    held.validate(full=True)
    reasons = {pair["values"]: pair["counts"] for pair in held["reason"].value_counts().to_pylist()}
    assert reasons == counted["refused_for"]
    with duckdb.connect() as connection:
        read = connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{place}/*.parquet')")
        assert len(read.fetchall()) == held.num_rows == counted["quarantined"]


def small_day(root, requests: pa.Table | None = None) -> None:
    """A date with nothing but requests: 1,000 unless given."""
    land_empty(root, *REQUIRED)
    names = [f"r{n}" for n in range(1000)]
    made = {"request_id": names, "user_id": list(range(1000)), "scenario": ["homepage"] * 1000,
            "request_time": [at("10:00")] * 1000}  # fmt: skip
    land(root, "requests", requests or made)


def requests_file(root):
    return root / "landing" / "requests" / f"date={DAY}" / "part-0.parquet"


@given(data=st.data())
@settings(FUZZ, max_examples=40)
def test_what_is_no_parquet_file_is_named_and_nothing_is_written(tmp_path_factory, data):
    """Cut anywhere, also to nothing; text, or noise; where the footer is gone no job starts."""
    root = tmp_path_factory.mktemp("broken")
    small_day(root)
    path = requests_file(root)
    whole = path.read_bytes()
    cut = st.integers(0, len(whole) - 1).map(lambda length: whole[:length])
    text = st.just(b"request_id,user_id,scenario,request_time\nr1,1,homepage,2024-03-01 10:00:00\n")
    path.write_bytes(data.draw(st.one_of(cut, text, st.binary(max_size=200), st.just(b"PAR1PAR1"))))
    with pytest.raises(ContractError, match=r"part-0.parquet cannot be read as Parquet") as fault:
        ingest(root)
    assert "\n" not in str(fault.value)
    assert [path.name for path in root.iterdir()] == ["landing"]


@given(data=st.data())
@FUZZ
def test_spoilt_pages_are_named_or_their_rows_accounted_for(spark, tmp_path_factory, data):
    """The footer is whole and the bytes before it are not: no row may be lost, and no log half written."""
    root = tmp_path_factory.mktemp("spoilt")
    small_day(root)
    path = requests_file(root)
    pages = bytearray(path.read_bytes())
    footer = len(pages) - 8 - int.from_bytes(pages[-8:-4], "little")
    start, noise = data.draw(st.integers(4, footer - 1)), data.draw(st.binary(min_size=1, max_size=40))
    pages[start : min(start + len(noise), footer)] = noise[: footer - start]
    path.write_bytes(pages)
    counted, fault = None, ""
    try:
        counted = ingest(root, share=1.0)["tables"]["requests"]
    except ContractError as stopped:
        fault = str(stopped)
    if fault:
        assert "part-0.parquet cannot be read" in fault
        assert [path.name for path in root.iterdir()] == ["landing"]
        return
    assert counted["rows_in"] == 1000 == counted["rows_written"] + counted["duplicates"] + counted["quarantined"]
    check_quarantine(root, "requests", counted)


def test_a_million_rows_of_one_key_and_a_huge_value(spark, tmp_path):
    count, huge = 1_000_000, "x" * 20_000_000
    time = pa.array([at("10:00"), at("11:00")], pa.timestamp("us"))
    columns = {
        "request_id": pa.array(["r1", huge]), "user_id": pa.array([1, 2]), "scenario": pa.array(["homepage", huge]),
        "request_time": time,
    }  # fmt: skip
    which = pa.array([0] * count + [1])
    land(tmp_path, "requests", {name: values.dictionary_encode().take(which) for name, values in columns.items()})
    land_empty(tmp_path, logs.impressions, logs.conversions, logs.retrievals)
    counted = ingest(tmp_path)["tables"]["requests"]
    assert (counted["rows_in"], counted["rows_written"], counted["duplicates"]) == (count + 1, 2, count - 1)
    assert counted["conflicting"] == 0
    assert [len(row[0]) for row in kept(tmp_path, logs.requests, "request_id")] == [2, len(huge)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"user_id": pa.array([{"id": 1}])}, "column user_id has a type that cannot be read, should be int64"),
        ({"request_time": pa.array([1], pa.duration("us"))}, "column request_time has a type that cannot be read"),
    ],
)
def test_a_type_that_cannot_be_read_is_named(tmp_path, columns, said):
    small_day(tmp_path, columns)
    with pytest.raises(ContractError, match=said):
        ingest(tmp_path)


def test_a_column_that_is_there_twice_is_named(tmp_path):
    small_day(tmp_path)
    twice = pa.Table.from_arrays([pa.array(["r1"]), pa.array(["r2"])], ["request_id", "request_id"])
    parquet.write_table(twice, requests_file(tmp_path))
    with pytest.raises(ContractError, match=r"part-0.parquet has the column request_id 2 times"):
        ingest(tmp_path)
