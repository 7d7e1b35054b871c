"""Rows that share a key: which one is kept, and what became of the others.

The long lists are never shuffled: keys are counted on the key columns alone, and of the few rows whose key
is there twice a fingerprint stands for the lists.
"""

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.ingestion.landing import FILE, ROW, Landed
from schemas.table import Table

_BROADCAST_AT_MOST = 1_000_000
_ROWS, _CONFLICTING, _WINNER = "_rows", "_conflicting", "_winner"


def winners(landed: Landed, valid: DataFrame, repeated: DataFrame, count: int) -> DataFrame:
    """For each repeated key the row to keep, how many rows it has, and whether they differ in content.

    The latest logged_time wins where there is one; among equals the row with the smallest values, column by
    column in the contract's order, nulls first, each list by its hash; identical rows differ only in where they
    were landed.
    """
    table = landed.table
    rows = valid.join(_small(repeated, count), on=list(table.key), how="left_semi")
    timed = "logged_time" in landed.contract.names  # an attribute may be called so
    apart = (*table.key, "logged_time") if timed else table.key
    content = F.struct(*(_comparable(table, name) for name in table.names if name not in apart))
    newest = [(-F.unix_micros("logged_time")).alias("newest")] if timed else []
    place = F.struct(F.col(FILE), F.col(ROW))
    best = F.min(F.struct(*newest, content.alias("content"), place.alias("place")))
    return rows.groupBy(*table.key).agg(
        best["place"].alias(_WINNER),
        F.count(F.lit(1)).alias(_ROWS),
        (F.min(content) != F.max(content)).alias(_CONFLICTING),
    )


def counts(chosen: DataFrame) -> tuple[int, int]:
    """How many rows are left out, and how many keys had rows of different content."""
    total = chosen.agg(F.sum(F.col(_ROWS) - 1), F.count_if(_CONFLICTING)).first()
    return total[0] or 0, total[1] or 0


def kept(table: Table, valid: DataFrame, chosen: DataFrame, count: int) -> DataFrame:
    """One row of each key."""
    small = _small(chosen.select(*table.key, _WINNER), count)
    place = F.struct(F.col(FILE), F.col(ROW))
    joined = valid.join(small, on=list(table.key), how="left")
    return joined.where(F.col(_WINNER).isNull() | (F.col(_WINNER) == place))


def without_repeated_items(rows: DataFrame) -> DataFrame:
    """Each item of a list at its first place only; scores of the later places go with them."""
    items, scores = F.col("item_ids"), F.col("scores")
    distinct = F.array_distinct(items)
    repeated = F.size(distinct) < F.size(items)
    first = F.filter(scores, lambda _, place: F.array_position(items, F.get(items, place)) == place + 1)
    return rows.withColumns({"item_ids": distinct, "scores": F.when(repeated, first).otherwise(scores)})


def _comparable(table: Table, name: str) -> Column:
    kind = table.columns[table.names.index(name)].type
    value = F.col(f"`{name}`")
    return (F.xxhash64(value) if pa.types.is_list(kind) else value).alias(f"of_{name}".replace(".", "_"))


def _small(frame: DataFrame, count: int) -> DataFrame:
    return F.broadcast(frame) if count <= _BROADCAST_AT_MOST else frame
