"""The tables `ids/user_id` and `ids/item_id`: which text each id of the logs is, and since which date."""

from collections.abc import Collection
from datetime import date
from functools import reduce

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.ingestion.landing import text_column
from jobs.ingestion.result import Outcome
from jobs.ingestion.rules import Collisions
from schemas.storage.spark import Store
from schemas.table import ConflictError, Table
from schemas.tables.ids import IDS

_ATTEMPTS = 3

IdTexts = dict[str, DataFrame]  # `user_id`, `item_id` -> id, text of the kept rows


def texts(outcomes: Collection[Outcome], name: str) -> DataFrame | None:
    """id, text of every kept row's ids, each once; cached. None if no log has the column as text.

    Args:
        name: `user_id` or `item_id`; lists of items count too.
    """
    found = []
    for outcome in outcomes:
        for column in outcome.landed.text_ids if outcome.rows_kept else ():
            if column.removesuffix("s") == name:
                text = F.col(text_column(column))
                found.append(outcome.kept.select((F.explode(text) if column != name else text).alias("text")))
    if not found:
        return None
    whole = reduce(DataFrame.unionByName, found).where(F.col("text") != "").distinct()
    return whole.select(F.xxhash64("text").alias("id"), "text").cache()


def all_texts(outcomes: Collection[Outcome]) -> IdTexts:
    """The `texts` of each id column that some log has as text; asked once, since Spark does not know them again."""
    found = {name: texts(outcomes, name) for name in IDS}
    return {name: pairs for name, pairs in found.items() if pairs is not None}


def collisions(store: Store, id_texts: IdTexts) -> Collisions:
    """The ids of kept rows that more than one text has: column -> id -> (the text that has it, the texts to refuse).

    The text in `ids/` has its id; of a date's new texts the smallest.
    """
    found: dict[str, dict[int, tuple[str, list[str]]]] = {}
    for name, pairs in id_texts.items():
        held = _held(store, IDS[name])
        known = pairs.join(held.select("id", F.col("text").alias("held")), on="id", how="left")
        several = known.groupBy("id").agg(
            F.min("text").alias("least"), F.max("text").alias("greatest"), F.max("held").alias("held")
        )
        several = several.withColumn("taken", F.coalesce("held", "least"))
        clash = several.where((F.col("least") != F.col("taken")) | (F.col("greatest") != F.col("taken")))
        rows = clash.join(pairs, on="id").where(F.col("text") != F.col("taken")).orderBy("id", "text").collect()
        for row in rows:
            found.setdefault(name, {}).setdefault(row["id"], (row["taken"], []))[1].append(row["text"])
    return found


def joined(one: Collisions, other: Collisions) -> Collisions:
    """Both collisions; the text that has an id stays the one that had it."""
    found = {name: dict(ids) for name, ids in one.items()}
    for name, ids in other.items():
        for number, (taken, later) in ids.items():
            taken, known = found.setdefault(name, {}).get(number, (taken, []))
            found[name][number] = taken, list(dict.fromkeys([*known, *later]))
    return found


def record(store: Store, root: str, id_texts: IdTexts, day: date, settings: dict) -> dict[str, int]:
    """Add the ids of kept rows that are new, or known of later dates alone; returns how many by column."""
    written = {}
    for name, pairs in id_texts.items():
        with store.root.locked(f"ids-{name}"):
            written[name] = _record(store, root, IDS[name], pairs, day, settings)
    return written


def _record(
    store: Store, root: str, table: Table, pairs: DataFrame, day: date, settings: dict, attempts: int = _ATTEMPTS
) -> int:
    """Dates that are ingested at the same time add the same ids: whoever comes second looks again."""
    own = Store(store.spark, root)
    held = _held(own, table).select("id", "first_date")
    known = pairs.join(held, on="id", how="left")
    new = known.where(F.col("first_date").isNull() | (F.col("first_date") > F.lit(day)))
    changes = new.select("id", "text", F.lit(day).alias("first_date")).persist()
    try:
        return own.merge(table, day, changes, settings) if not changes.isEmpty() else 0
    except ConflictError:
        if attempts == 1:
            raise
    finally:
        changes.unpersist()
    return _record(store, root, table, pairs, day, settings, attempts - 1)


def _held(store: Store, table: Table) -> DataFrame:
    if store.has(table):
        return store.read_all(table)
    return store.spark.createDataFrame(pa.table([[], [], []], schema=table.schema))
