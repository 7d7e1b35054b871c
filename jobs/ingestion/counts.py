"""The counts of one table's rows that everything else is decided on, taken in one pass over them."""

from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.ingestion.landing import TRUNCATED
from schemas.table import Table
from schemas.tables.logs import retrievals

VERDICT = "_verdict"  # the index of the first reason not to keep a row, null for a valid one

_ROWS, _ITEMS, _WHOLE, _REPEATED = "_rows", "_items", "_whole", "_repeated"
_MOST_CHANNELS = 100  # a file with nonsense for channels has as many as rows


@dataclass(frozen=True)
class Census:
    """Counts of a table's rows.

    `not_kept`: the rows that each verdict refused or set aside, by its index. Of the valid rows, `repeated_items`: the
    places of lists whose item has a place before; `truncated`: the times cut off below a microsecond; `filled`: for
    each nullable column those that have a value. `repeated`: how many keys have more than one valid row;
    `repeated_keys` are these keys, a plan that has not run. Of retrievals, `requests`: the requests that have a valid
    row; `channels`: for how many requests each of the largest channels returned an item.
    """

    not_kept: dict[int, int] = field(default_factory=dict)
    repeated_items: int = 0
    truncated: int = 0
    repeated: int = 0
    repeated_keys: DataFrame | None = None
    filled: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    channels: dict[str, int] = field(default_factory=dict)


def take(table: Table, rows: DataFrame, verdicts: int) -> Census:
    """Count rows that have the column VERDICT.

    The rows that are not kept lose their keys before they are grouped, so that one grouping gives all counts. A
    nullable column is counted there too, which also meets a broken page of it before any log changes.
    """
    valid = F.col(VERDICT).isNull()
    keys = [F.when(valid, F.col(name)).alias(name) for name in table.key]
    nullable = [column.name for column in table.columns if column.nullable]
    values = [F.col(f"`{name}`").isNotNull().alias(f"_{n}") for n, name in enumerate(nullable)]
    asked = table.name == retrievals.name
    items = [(F.size("item_ids") > 0).alias(_ITEMS)] if asked else []
    sums = [F.col(TRUNCATED), (_repeated() if "item_ids" in table.names else F.lit(0)).alias(_REPEATED)]
    marked = [*(f"_{n}" for n in range(len(nullable))), *([_ITEMS] if asked else [])]
    grouped = rows.select(VERDICT, *keys, *values, *items, *sums).groupBy(VERDICT, *table.key)
    groups = grouped.agg(F.count(F.lit(1)).alias(_ROWS), *(F.count_if(name).alias(name) for name in marked), *_sums())
    totals = [F.sum(_ROWS).alias(_ROWS), F.count_if(F.col(_ROWS) > 1).alias("repeated")]
    totals += _sums()
    totals += [F.sum(f"_{n}").alias(f"_{n}") for n in range(len(nullable))]
    found = _with_channels(groups, totals, verdicts) if asked else groups.groupBy(VERDICT).agg(*totals).collect()
    wholes = {row[VERDICT]: row for row in found if not asked or row[_WHOLE]}
    kept = wholes.pop(None, None)
    return Census(
        not_kept={index: wholes[index][_ROWS] for index in sorted(wholes)},
        repeated_items=kept[_REPEATED] if kept else 0,
        truncated=kept[TRUNCATED] if kept else 0,
        repeated=kept["repeated"] if kept else 0,
        repeated_keys=groups.where(valid & (F.col(_ROWS) > 1)).select(*table.key),
        filled={name: kept[f"_{n}"] for n, name in enumerate(nullable)} if kept else {},
        requests=kept["requests"] if kept and asked else 0,
        channels={row["channel"]: row[_ITEMS] for row in found if asked and not row[_WHOLE] and row[VERDICT] is None},
    )


def _repeated() -> Column:
    """How many places of a list hold an item that has a place before."""
    return F.size("item_ids") - F.size(F.array_distinct("item_ids"))


def _sums() -> list[Column]:
    return [F.sum(name).alias(name) for name in (TRUNCATED, _REPEATED)]


def _with_channels(groups: DataFrame, totals: list[Column], verdicts: int) -> list:
    """The totals of each verdict's rows, _WHOLE, and of each channel's."""
    sets = groups.groupingSets([[F.col(VERDICT)], [F.col(VERDICT), F.col("channel")]], VERDICT, "channel")
    found = sets.agg(
        F.grouping("channel").alias(_WHOLE),
        *totals,
        F.count_distinct("request_id").alias("requests"),
        F.count_if(F.col(_ITEMS) > 0).alias(_ITEMS),
    )
    return found.orderBy(F.desc(_WHOLE), F.desc(_ITEMS), "channel").limit(verdicts + 1 + _MOST_CHANNELS).collect()
