"""jobs/ingestion/casts.py: which landed values cast without loss."""

from datetime import datetime

from pyspark.sql import functions as F

from jobs.ingestion import casts

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
    ("uuid", "X'000102030405060708090A0B0C0D0E0F'", "string", "00010203-0405-0607-0809-0a0b0c0d0e0f", False),
    ("uuid", "cast(null AS binary)", "string", None, False),
    ("uuid", "X'000102030405060708090A0B0C0D0E0F'", "bigint", None, True),
    ("string", "cast(X'FF' AS string)", "string", None, True),
    ("string", "''", "string", "", False),
    ("bigint", "9223372036854775807L", "double", None, True),  # the nearest double is one more
    ("bigint", "9007199254740993L", "double", None, True),
    ("bigint", "-9223372036854775807L - 1L", "double", -(2.0**63), False),
    ("array<bigint>", "array(1L)", "string", None, True),
    ("bigint", "1709287200L", "timestamp", None, True),
    ("nanos", f"{FINE - 1}L", "timestamp", TEN, False),
    ("nanos", f"{FINE}L", "timestamp", TEN, False),
    ("nanos", "-1L", "timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999), False),
    ("nanos", "-1000L", "timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999), False),
    ("nanos", "-9223372036854775807L - 1L", "timestamp", datetime(1677, 9, 21, 0, 12, 43, 145224), False),
    ("nanos", f"{FINE}L", "bigint", None, True),
    ("timestamp_ntz", "timestamp_ntz'2024-03-01 10:00:00'", "timestamp", TEN, False),
    ("string", "'2024-03-01T10:00:00Z'", "timestamp", TEN, False),
    ("string", "'2024-03-01 12:00:00.000000+02:00'", "timestamp", TEN, False),
    ("string", "'10:00'", "timestamp", None, True),
    ("string", "'2024-02-30 10:00:00'", "timestamp", None, True),
    ("string", "'2024-03-01 10:00:00.0000001'", "timestamp", TEN, False),
    ("string", "'2024-03-01 10:00:00 UTC'", "timestamp", TEN, False),
    ("string", "'2024-03-01 10:00:00+00'", "timestamp", TEN, False),
    ("string", "'2024-03-01T10:00:00.000+0000'", "timestamp", TEN, False),
    ("string", "'2024-03-01T10:00:00.000000999Z'", "timestamp", TEN, False),
    ("string", "'2024-03-01 18:00:00+0800'", "timestamp", TEN, False),
    ("string", "'2024-03-01 18:00+08'", "timestamp", TEN, False),
    ("string", "'2024-03-01'", "timestamp", datetime(2024, 3, 1), False),
    ("string", "'1969-12-31 23:59:59.9999999'", "timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999), False),
    ("string", "'2024-03-01 10:00:00.0000000001'", "timestamp", None, True),  # ten digits
    ("string", "'2024-03-01 10:00:00 +08'", "timestamp", None, True),
    ("string", "'2024-03-01+08'", "timestamp", None, True),
    ("string", "'2024-03-01 10:00:00+25'", "timestamp", None, True),
    ("boolean", "true", "boolean", True, False),
    ("boolean", "true", "string", "true", False),
    ("date", "date'2024-03-01'", "string", "2024-03-01", False),
    ("date", "date_from_unix_date(2147483647)", "timestamp", None, True),
    ("date", "date'2024-03-01'", "timestamp", datetime(2024, 3, 1), False),
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


TRUNCATED = [
    ("nanos", f"{FINE}L", True),
    ("nanos", f"{FINE - 1}L", False),
    ("nanos", "-1L", True),
    ("string", "'2024-03-01 10:00:00.1234567'", True),
    ("string", "'2024-03-01 10:00:00.123456000Z'", False),
    ("string", "'2024-03-01 10:00:00.000000001+08'", True),
    ("string", "'2024-02-30 10:00:00.1234567'", False),  # refused, not cut
]


def test_times_below_a_microsecond_are_told(spark):
    rows = spark.range(1).selectExpr(*(f"{value} AS c{n}" for n, (_, value, _) in enumerate(TRUNCATED)))
    cut = [casts.cast(F.col(f"c{n}"), kind, "timestamp").truncates for n, (kind, _, _) in enumerate(TRUNCATED)]
    assert list(rows.select(*cut).first()) == [expected for _, _, expected in TRUNCATED]
