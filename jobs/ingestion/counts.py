"""The counts of one table's rows that everything else is decided on, taken in one pass over them."""

from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.table import Table
from schemas.tables.logs import retrievals

REFUSAL = "_refusal"  # the index of the rule that refuses a row, null for a valid one

_ROWS, _ITEMS, _WHOLE = "_rows", "_items", "_whole"
_MOST_CHANNELS = 100  # a file with nonsense for channels has as many as rows


@dataclass(frozen=True)
class Census:
    """Counts of a table's rows.

    `refused`: the rows that each rule refused, by its index. `repeated`: how many keys have more than one valid row;
    `repeated_keys` are these keys, a plan that has not run. `filled`: for each nullable column the valid rows that
    have a value. Of retrievals, `requests`: the requests that have a valid row; `channels`: for how many requests
    each of the largest channels returned an item.
    """

    refused: dict[int, int] = field(default_factory=dict)
    repeated: int = 0
    repeated_keys: DataFrame | None = None
    filled: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    channels: dict[str, int] = field(default_factory=dict)


def take(table: Table, rows: DataFrame) -> Census:
    """Count rows that have the column REFUSAL.

    The refused rows lose their keys before they are grouped, so that one grouping gives all counts; a nullable
    column is counted there too, which also meets a broken page of it before any log changes.
    """
    valid = F.col(REFUSAL).isNull()
    keys = [F.when(valid, F.col(name)).alias(name) for name in table.key]
    nullable = [column.name for column in table.columns if column.nullable]
    values = [F.col(f"`{name}`").isNotNull().alias(f"_{n}") for n, name in enumerate(nullable)]
    asked = table.name == retrievals.name
    items = [(F.size("item_ids") > 0).alias(_ITEMS)] if asked else []
    marked = [*(f"_{n}" for n in range(len(nullable))), *([_ITEMS] if asked else [])]
    grouped = rows.select(REFUSAL, *keys, *values, *items).groupBy(REFUSAL, *table.key)
    groups = grouped.agg(F.count(F.lit(1)).alias(_ROWS), *(F.count_if(name).alias(name) for name in marked))
    totals = [F.sum(_ROWS).alias(_ROWS), F.count_if(F.col(_ROWS) > 1).alias("repeated")]
    totals += [F.sum(f"_{n}").alias(f"_{n}") for n in range(len(nullable))]
    found = _with_channels(groups, totals) if asked else groups.groupBy(REFUSAL).agg(*totals).collect()
    sums = {row[REFUSAL]: row for row in found if not asked or row[_WHOLE]}
    kept = sums.pop(None, None)
    return Census(
        refused={index: sums[index][_ROWS] for index in sorted(sums)},
        repeated=kept["repeated"] if kept else 0,
        repeated_keys=groups.where(valid & (F.col(_ROWS) > 1)).select(*table.key),
        filled={name: kept[f"_{n}"] for n, name in enumerate(nullable)} if kept else {},
        requests=kept["requests"] if kept and asked else 0,
        channels={row["channel"]: row[_ITEMS] for row in found if asked and not row[_WHOLE] and row[REFUSAL] is None},
    )


def _with_channels(groups: DataFrame, totals: list[Column]) -> list:
    """The totals of each rule's rows, _WHOLE, and of each channel's."""
    sets = groups.groupingSets([[F.col(REFUSAL)], [F.col(REFUSAL), F.col("channel")]], REFUSAL, "channel")
    found = sets.agg(
        F.grouping("channel").alias(_WHOLE),
        *totals,
        F.count_distinct("request_id").alias("requests"),
        F.count_if(F.col(_ITEMS) > 0).alias(_ITEMS),
    )
    refused = 50  # more than there are rules
    return found.orderBy(F.desc(_WHOLE), F.desc(_ITEMS), "channel").limit(refused + _MOST_CHANNELS).collect()
