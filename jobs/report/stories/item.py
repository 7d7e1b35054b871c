"""An item's way through the funnel of one date, and what is known of it."""

from collections.abc import Sequence
from datetime import date

import duckdb
import pyarrow.compute as pc

from jobs.report import inventory, lookup
from jobs.report.inventory import Holding
from schemas.table import MissingDataError, Table
from schemas.tables.features import item_stats
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, items, retrievals, stages
from schemas.vocabulary import Action, Stage, TargetGroup

_PLACES = "count(*) AS requests, min(place) AS best_place, quantile_disc(place, 0.5) AS median_place"
_LISTED = "SELECT {column}, {places} FROM (SELECT {column}, list_position(item_ids, {item}) AS place FROM rows) " \
    "WHERE place > 0 GROUP BY 1"  # fmt: skip


def tell(root: str, item_id: int, days: Sequence[date] | None = None) -> dict:
    """An item's way on the newest of the dates: each list that had it, where it was shown, what was done with it.

    Args:
        days: dates to choose from; those of the logs if None.

    Raises:
        MissingDataError: the logs have none of the dates.
    """
    logged = [day for day in lookup.dates(root, impressions) if days is None or day in days]
    if not logged:
        there = ", ".join(map(str, lookup.dates(root, impressions)[-10:]))
        raise MissingDataError(f"logs/impressions has none of these dates; dates there: {there or 'none'}")
    day, is_item = logged[-1], pc.field("item_id") == item_id
    shown = lookup.rows(root, impressions, [day], is_item)
    labels = lookup.rows(root, target_groups, [day], is_item, ("item_id", "group", "request_id", "channels"))
    acted = lookup.rows(root, conversions, [day], is_item, ("item_id", "action", "scenario"))
    positions = sorted(row["position"] for row in shown)
    told = {
        "item_id": item_id,
        "date": day,
        "attributes": _newest(root, items, day, is_item),
        "stats": _newest(root, item_stats, day, is_item),
        "channels": _listed(root, retrievals, day, "channel", item_id),
        "stages": sorted(
            _listed(root, stages, day, "stage", item_id), key=lambda row: [*map(str, Stage)].index(row["stage"])
        ),
        "shown": {
            "requests": len({row["request_id"] for row in shown}),
            "best_place": positions[0] if positions else None,
            "median_place": positions[(len(positions) - 1) // 2] if positions else None,
        },
        "groups": {str(group): sum(row["group"] == group for row in labels) for group in TargetGroup},
        "actions": _actions(acted),
    }
    if not any(told[name] for name in ("attributes", "stats", "channels", "stages", "actions")) and not shown:
        raise MissingDataError(f"item {item_id} is in no log of {day} and in no snapshot; ask for another --date")
    return told


def _newest(root: str, table: Table, day: date, is_item: pc.Expression) -> dict | None:
    """The item's row of the newest date up to `day`, without nulls; None where there is none."""
    found = lookup.rows(root, table, lookup.dates(root, table, last=day)[-1:], is_item)
    return {name: value for name, value in found[0].items() if value is not None} if found else None


def _listed(root: str, table: Table, day: date, column: str, item_id: int) -> list[dict]:
    """In how many requests' lists the item was, and at which places."""
    if day not in lookup.dates(root, table):
        return []
    rows = inventory.batches(root, Holding(table.path, table, {}), day, (column, "item_ids"))
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        listed = connection.sql(_LISTED.format(column=column, places=_PLACES, item=int(item_id)))
        names = listed.columns
        return sorted((dict(zip(names, row, strict=True)) for row in listed.fetchall()), key=lambda row: row[column])


def _actions(acted: list[dict]) -> list[dict]:
    """A row a scenario, with how often each action was made there."""
    return [
        {
            "scenario": scenario,
            **{
                str(action): sum(row["scenario"] == scenario and row["action"] == action for row in acted)
                for action in reversed(Action)
            },
        }
        for scenario in sorted({row["scenario"] for row in acted})
    ]
