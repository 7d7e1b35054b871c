"""Put rows given as tuples into the tables of a root, for tests that start after `ingest_logs`."""

from argparse import Namespace
from datetime import date
from functools import reduce

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.storage.spark import Store, sql_type
from schemas.table import Table
from schemas.tables.registry import TABLES


def put(spark, root, name: str, day: date, rows: list[tuple]) -> None:
    """Replace one date of a table by these rows, in the order of the contract's columns."""
    Store(spark, str(root)).replace(TABLES[name], day, frame(spark, TABLES[name], rows), {})


def put_dates(spark, root, name: str, rows: dict[date, list[tuple]]) -> None:
    """Make a Delta table of many dates in one commit."""
    dated = [frame(spark, TABLES[name], rows[day]).withColumn("date", F.lit(day)) for day in rows]
    whole = reduce(DataFrame.unionByName, dated)
    whole.write.format("delta").partitionBy("date").save(f"{root}/{TABLES[name].path}")


def frame(spark, table: Table, rows: list[tuple]) -> DataFrame:
    padded = [(*row, *[None] * (len(table.columns) - len(row))) for row in rows]  # columns added since
    columns = [list(values) for values in zip(*padded, strict=True)] or [[] for _ in table.columns]
    arrow = pa.table(columns, schema=pa.schema([(c.name, c.type) for c in table.columns]))
    schema = ", ".join(f"`{column.name}` {sql_type(column.type)}" for column in table.columns)
    return spark.createDataFrame(arrow, schema=schema)


def by_date(rows: list[tuple], day_of) -> dict[date, list[tuple]]:
    """The rows of each date, `day_of(row)`."""
    days = sorted({day_of(row) for row in rows})
    return {day: [row for row in rows if day_of(row) == day] for day in days}


def rows_of(spark, root, name: str, day: date) -> list[tuple]:
    """One date of a table as tuples in the order of the contract's columns; lists as tuples."""
    table = TABLES[name]
    found = Store(spark, str(root)).read(table, day).select(*table.names)
    return [
        tuple(tuple(v) if isinstance(v, list) else v for v in row.values())
        for row in found.toArrow().select(list(table.names)).to_pylist()
    ]


def flags(job, root, day: date, *given: str) -> Namespace:
    """The job's arguments, parsed by its own parser."""
    return job.arg_parser().parse_args(["--root", str(root), "--date", str(day), *given])
