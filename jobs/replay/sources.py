"""Real event logs by name: how each is read into user_id, item_id, category_id, action, event_time.

A further log is one reading function and one line in SOURCES. The function returns the five columns with null
wherever a row does not say them (category_id may be null in a good row), and `line`, the row as text for an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.command import WorkFailedError
from schemas.labels import Action
from schemas.table import MissingDataError

_TAOBAO_ACTIONS = {"pv": Action.CLICK, "fav": Action.FAVORITE, "cart": Action.CART, "buy": Action.PURCHASE}
_TAOBAO_COLUMNS = {"user_id": "bigint", "item_id": "bigint", "category_id": "bigint", "behavior": "string",
                   "timestamp": "bigint"}  # fmt: skip
_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True)
class Source:
    """A published log: how to read it, what a row is, and the time it says it covers.

    Rows before `first` or at or after `end` are faults of the log and are dropped.
    """

    read: Callable[[SparkSession, str], DataFrame]
    rows: str
    first: datetime
    end: datetime


def read(spark: SparkSession, path: str, name: str) -> DataFrame:
    """The events of a file, unchecked: see `unreadable` and `inside`.

    Raises:
        WorkFailedError: the file's kind or columns are not the source's.
        MissingDataError: Spark finds no such file.
    """
    source = SOURCES[name]
    if not path.endswith((".csv", ".csv.gz", ".parquet")):
        raise WorkFailedError(f"{path}: should end in .csv, .csv.gz or .parquet; unpack an archive first")
    try:
        return source.read(spark, path)
    except Exception as fault:
        if "PATH_NOT_FOUND" in str(fault):
            raise MissingDataError(f"there is no file {path}") from None
        if "FAILED_READ_FILE" in str(fault) or "CANNOT_READ_FILE_FOOTER" in str(fault):
            raise WorkFailedError(f"{path} is no readable Parquet file; {name} has {source.rows}") from None
        raise


def unreadable() -> Column:
    """Whether a row lacks a value that every event has."""
    needed = ("user_id", "item_id", "action", "event_time")
    return F.greatest(*(F.col(name).isNull() for name in needed))


def inside(source: Source) -> Column:
    """Whether an event lies in the time that its log covers."""
    return (F.col("event_time") >= F.lit(source.first)) & (F.col("event_time") < F.lit(source.end))


def _taobao(spark: SparkSession, path: str) -> DataFrame:
    """UserBehavior.csv as published, without a header, or Parquet with the same columns (category_id may lack)."""
    if path.endswith(".parquet"):
        rows = spark.read.parquet(path)
        _check_columns(path, dict(rows.dtypes))
        if "category_id" not in rows.columns:
            rows = rows.withColumn("category_id", F.lit(None).cast("bigint"))
        rows = rows.withColumn("broken", F.lit(False))
    else:
        names = ", ".join(f"{name} {kind}" for name, kind in _TAOBAO_COLUMNS.items())
        rows = spark.read.csv(path, schema=f"{names}, corrupt string", columnNameOfCorruptRecord="corrupt")
        rows = rows.withColumn("broken", F.col("corrupt").isNotNull())
    action = F.create_map(*(F.lit(str(part)) for pair in _TAOBAO_ACTIONS.items() for part in pair))
    whole = ~F.col("broken")
    return rows.select(
        F.when(whole, F.col("user_id").cast("bigint")).alias("user_id"),
        F.when(whole, F.col("item_id").cast("bigint")).alias("item_id"),
        F.when(whole, F.col("category_id").cast("bigint")).alias("category_id"),
        F.when(whole, F.try_element_at(action, F.col("behavior"))).alias("action"),
        F.when(whole, F.timestamp_seconds(F.col("timestamp").cast("bigint"))).alias("event_time"),
        F.coalesce(
            F.col("corrupt") if "corrupt" in rows.columns else F.lit(None),
            F.concat_ws(",", *(F.col(name).cast("string") for name in _TAOBAO_COLUMNS)),
        ).alias("line"),
    )


def _check_columns(path: str, found: dict[str, str]) -> None:
    """Raise one error that names every column that Parquet lacks or has in another type."""
    faults = []
    for name, kind in _TAOBAO_COLUMNS.items():
        if name not in found and name != "category_id":
            faults.append(f"{name}: missing")
        elif name in found and found[name] not in (_WHOLE_NUMBERS if kind == "bigint" else (kind,)):
            faults.append(f"{name}: is {found[name]}, should be {'a whole number' if kind == 'bigint' else kind}")
    if faults:
        raise WorkFailedError(f"{path} is not as taobao's log: " + "; ".join(faults))


SOURCES = {
    "taobao": Source(
        read=_taobao,
        rows="rows of user, item, category, behavior (pv, fav, cart or buy), timestamp in seconds",
        first=datetime(2017, 11, 24, 16, tzinfo=UTC),
        end=datetime(2017, 12, 3, 16, tzinfo=UTC),
    ),
}
