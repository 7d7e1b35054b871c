"""Files of events read strictly: a file of another form is one clear error, a line that does not parse is all null."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.command.cli import WorkFailedError
from schemas.vocabulary import Action

_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_FARTHEST = 10**11  # seconds; times beyond any calendar overflow Spark's


@dataclass(frozen=True)
class Layout:
    """How a file writes its rows: Spark types by column, in the file's order, and its first line if that is none."""

    columns: Mapping[str, str]
    header: str | None = None
    separator: str = ","


def text(spark: SparkSession, path: str, *layouts: Layout) -> DataFrame:
    """The columns of the file's layout, and `line`: the row as text.

    Args:
        layouts: one without a header, or any number told apart by their headers.

    Raises:
        WorkFailedError: the first line is none of the headers.
    """
    layout = layouts[0] if layouts[0].header is None else _headed(spark, path, layouts)
    names = ", ".join(f"{name} {kind}" for name, kind in layout.columns.items())
    rows = spark.read.csv(
        path,
        schema=f"{names}, corrupt string",
        columnNameOfCorruptRecord="corrupt",
        sep=layout.separator,
        escape='"',  # a quote inside quotes is doubled, as RFC 4180 has it
        header=layout.header is not None,
    )
    line = F.concat_ws(layout.separator, *(F.col(name).cast("string") for name in layout.columns))
    return rows.select(
        *(F.when(F.col("corrupt").isNull(), F.col(name)).alias(name) for name in layout.columns),
        F.coalesce("corrupt", line).alias("line"),
    )


def parquet(spark: SparkSession, path: str, layout: Layout, optional: str | None = None) -> DataFrame:
    """The columns of a Parquet file that names them as the layout does, and `line`; the optional one may lack.

    Raises:
        WorkFailedError: names every column that the file lacks or has in another type.
    """
    rows = spark.read.parquet(path)
    found, faults = dict(rows.dtypes), []
    for name, kind in layout.columns.items():
        if name not in found and name != optional:
            faults.append(f"{name}: missing")
        elif name in found and found[name] not in (_WHOLE_NUMBERS if kind == "bigint" else (kind,)):
            faults.append(f"{name}: is {found[name]}, should be {'a whole number' if kind == 'bigint' else kind}")
    if faults:
        raise WorkFailedError(f"{path} has other columns than the log: " + "; ".join(faults))
    if optional is not None and optional not in found:
        rows = rows.withColumn(optional, F.lit(None).cast(layout.columns[optional]))
    line = F.concat_ws(layout.separator, *(F.col(name).cast("string") for name in layout.columns))
    return rows.select(*layout.columns, line.alias("line"))


def events(
    rows: DataFrame, *, user: str, item: str, action: Column, seconds: Column, category: str | None = None
) -> DataFrame:
    """user_id, item_id, category_id, action, event_time, line; null wherever the row does not say them.

    Args:
        rows: as `text` or `parquet` gives them; user, item and category name columns of it.
        seconds: whole ones, as event and request ids are by the second.
    """
    return rows.select(
        F.col(user).cast("bigint").alias("user_id"),
        F.col(item).cast("bigint").alias("item_id"),
        (F.lit(None) if category is None else F.col(category)).cast("bigint").alias("category_id"),
        action.alias("action"),
        moment(seconds).alias("event_time"),
        "line",
    )


def moment(seconds: Column) -> Column:
    """The time of whole seconds since 1970; null beyond any calendar."""
    whole = seconds.cast("bigint")
    return F.when(whole.between(-_FARTHEST, _FARTHEST), F.timestamp_seconds(whole))


def hashed(word: str, key: str) -> Column:
    """A column of text as a whole number from 0 to 2^60: the first 15 hexadecimal digits of SHA-256 of `key:text`."""
    digest = F.sha2(F.concat(F.lit(f"{key}:"), F.col(word)), 256)
    return F.conv(F.substring(digest, 1, 15), 16, 10).cast("bigint")


def action_of(column: str, actions: Mapping[str, Action]) -> Column:
    """The action that the log's word stands for; null for any other word."""
    return word_of(column, {word: str(action) for word, action in actions.items()})


def word_of(column: str, words: Mapping[str, str]) -> Column:
    """Our word for the log's; null for any other."""
    ours = F.create_map(*(F.lit(part) for pair in words.items() for part in pair))
    return F.try_element_at(ours, F.col(column))


def _headed(spark: SparkSession, path: str, layouts: tuple[Layout, ...]) -> Layout:
    first = spark.read.text(path).first()
    line = "" if first is None else first["value"]
    for layout in layouts:
        if layout.header == line:
            return layout
    known = " or ".join(repr(layout.header) for layout in layouts)
    raise WorkFailedError(f"{path} begins with the line {line!r}, should be {known}")
