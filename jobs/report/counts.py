"""Counts of one date of a table that tell a person what is in it, by DuckDB over streamed columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from jobs.report.inventory import QUARANTINE, Holding, batches
from schemas.vocabulary import Action, Level, Stage, TargetGroup


@dataclass(frozen=True)
class Breakdown:
    """A titled query over one date's `rows`, of which only `columns` are read."""

    title: str
    columns: tuple[str, ...]
    query: str


def _order(column: str, values: Iterable[str]) -> str:
    """SQL that sorts a closed vocabulary in its own order, anything unknown last."""
    known = ", ".join(f"'{value}'" for value in values)
    return f"coalesce(nullif(list_position([{known}], {column}), 0), 99), {column}"


_ACTIONS = ", ".join(f"count(*) FILTER (action = '{action}') AS {action}" for action in reversed(Action))
NO_CHANNEL = "(none)"
NO_LIST = "(none logged)"
EVERYWHERE, ANY = "(everywhere)", "(any)"
_SHARE = "count(*)::DOUBLE / sum(count(*)) OVER () AS share"
_LENGTHS = (
    "count(*) AS lists, quantile_disc(length, 0.0) AS shortest, quantile_disc(length, 0.5) AS median, "
    "quantile_disc(length, 0.9) AS p90, quantile_disc(length, 1.0) AS longest, avg(length) AS mean"
)


def _lengths(title: str, *columns: str) -> Breakdown:
    parts = " UNION ALL ".join(f"SELECT {n} AS n, '{name}' AS list, {name} AS length FROM kept"
                               for n, name in enumerate(columns))  # fmt: skip
    each = ", ".join(f"len({name}) AS {name}" for name in columns)
    query = (
        f"WITH kept AS MATERIALIZED (SELECT {each} FROM rows) "
        f"SELECT list, {_LENGTHS} FROM ({parts}) GROUP BY n, list ORDER BY n"
    )
    return Breakdown(title, columns, query)


def _list_lengths_by(title: str, column: str, order: str) -> Breakdown:
    query = (
        f"SELECT {column}, {_LENGTHS} FROM (SELECT {column}, len(item_ids) AS length FROM rows) "
        f"GROUP BY {column} ORDER BY {order}"
    )
    return Breakdown(title, (column, "item_ids"), query)


def _count_by(title: str, column: str, order: str = "rows DESC, 1", rows: str = "rows") -> Breakdown:
    return Breakdown(title, (column,), f"SELECT {column}, count(*) AS {rows}, {_SHARE} FROM rows GROUP BY 1 ORDER BY "
                     + order.replace("rows DESC", f"{rows} DESC"))  # fmt: skip


GROUPS = Breakdown(
    "By group",
    ("group", "request_id", "item_id"),
    f'SELECT "group", count(*) AS items, count(DISTINCT request_id) AS requests, {_SHARE} '
    f"FROM rows GROUP BY 1 ORDER BY {_order(chr(34) + 'group' + chr(34), TargetGroup)}",
)
GROUP_ACTIONS = Breakdown(
    "By group and strongest action",
    ("group", "action"),
    f'SELECT "group", {_ACTIONS}, count(*) FILTER (action IS NULL) AS none '
    f"FROM rows GROUP BY 1 ORDER BY {_order(chr(34) + 'group' + chr(34), TargetGroup)}",
)
GROUP_SCENARIOS = Breakdown(
    "Acted items by the action's scenario",
    ("group", "scenario"),
    "SELECT scenario, count(*) FILTER (\"group\" = 'RTG') AS RTG, count(*) FILTER (\"group\" = 'ITG') AS ITG "
    "FROM rows WHERE \"group\" <> 'ETG' GROUP BY 1 ORDER BY RTG + ITG DESC, 1",
)
GROUP_CHANNELS = Breakdown(
    "By channel that retrieved the item (an item may have several)",
    ("group", "channels"),
    "SELECT channel, count(*) FILTER (g = 'ETG') AS ETG, "
    "count(*) FILTER (g = 'RTG') AS RTG, count(*) FILTER (g = 'RTG' AND alone) AS RTG_alone, "
    "count(*) FILTER (g = 'ITG') AS ITG FROM (SELECT \"group\" AS g, len(channels) = 1 AS alone, "
    f"unnest(CASE WHEN len(channels) = 0 THEN ['{NO_CHANNEL}'] ELSE channels END) AS channel FROM rows) "
    f"GROUP BY 1 ORDER BY channel = '{NO_CHANNEL}', RTG DESC, 1",
)
LABELLED_REQUESTS = Breakdown(
    "Requests with a label", ("request_id",), "SELECT count(DISTINCT request_id) AS requests FROM rows"
)
RETRIEVED_ITEMS = Breakdown(
    "Requests and items over all channels",
    ("request_id", "item_ids"),
    "SELECT count(DISTINCT request_id) AS requests, sum(len(item_ids))::BIGINT AS items FROM rows",
)
CHANNEL_SETS = Breakdown(
    "RTG items by the channels that found them",
    ("group", "channels"),
    f"SELECT CASE WHEN len(channels) = 0 THEN '{NO_LIST}' ELSE array_to_string(channels, ' + ') END AS channels, "
    f"count(*) AS items, {_SHARE} FROM rows WHERE \"group\" = 'RTG' GROUP BY 1 ORDER BY items DESC, 1",
)
LEVELS = Breakdown(
    "By level",
    ("levels",),
    "SELECT level, sum(n)::BIGINT AS items, count(*) AS requests, sum(n) / sum(sum(n)) OVER () AS share FROM ("
    "SELECT request, level, count(*) AS n FROM (SELECT row_number() OVER () AS request, unnest(levels) AS level "
    f"FROM rows) GROUP BY 1, 2) GROUP BY 1 ORDER BY {_order('level', Level)}",
)
REQUEST_GROUPS = Breakdown(
    "Requests by the groups they have",
    ("rtg_item_ids", "itg_item_ids"),
    "SELECT CASE WHEN len(rtg_item_ids) > 0 AND len(itg_item_ids) > 0 THEN 'RTG and ITG' "
    "WHEN len(rtg_item_ids) > 0 THEN 'RTG only' WHEN len(itg_item_ids) > 0 THEN 'ITG only' "
    f"ELSE 'neither' END AS acted, count(*) AS requests, {_SHARE} FROM rows GROUP BY 1 ORDER BY 2 DESC, 1",
)
CHANNEL_VALUE = Breakdown(
    "By channel, of the items acted on anywhere",
    ("channel", "scenario", "action", "requests", "retrieved", "exposed", "acted", "acted_only", "lost", "support"),
    f"SELECT if(channel = '', '{NO_CHANNEL}', channel) AS channel, requests, retrieved, exposed, acted, "
    "acted / nullif(support, 0) AS share, acted_only, lost FROM rows WHERE scenario IS NULL AND action IS NULL "
    "ORDER BY channel = '', acted_only DESC, 1",
)
MISSED = Breakdown(
    "Found by no channel (ITG), by the action and its scenario",
    ("channel", "scenario", "action", "acted", "support"),
    f"SELECT coalesce(scenario, '{EVERYWHERE}') AS scenario, coalesce(action, '{ANY}') AS action, acted AS itg, "
    "support AS acted, rows.acted / nullif(support, 0) AS share FROM rows WHERE channel = '' ORDER BY "
    "rows.scenario IS NOT NULL, max(rows.acted) FILTER (rows.action IS NULL) OVER (PARTITION BY rows.scenario) DESC, "
    f"rows.scenario, {_order('rows.action', reversed(Action))}",
)
CHANNEL_LENGTHS = _list_lengths_by("By channel: items a list", "channel", "channel")
STAGE_LENGTHS = _list_lengths_by("By stage: items let through", "stage", _order("stage", Stage))
HISTORY_LENGTHS = _lengths("List lengths", "history_item_ids")
SCENARIOS = _count_by("By scenario", "scenario")
REASONS = _count_by("By reason", "reason")
FAILED_FIRST = Breakdown(
    "Checks, failed first",
    ("table", "check", "value", "threshold", "passed"),
    'SELECT "table", "check", value, threshold, passed FROM rows ORDER BY passed, "table", "check"',
)

BREAKDOWNS: dict[str, tuple[Breakdown, ...]] = {
    "logs/requests": (SCENARIOS,),
    "logs/retrievals": (CHANNEL_LENGTHS,),
    "logs/stages": (STAGE_LENGTHS,),
    "logs/impressions": (_count_by("By position", "position", "position LIMIT 20"),),
    "logs/conversions": (
        _count_by("By action", "action", _order("action", reversed(Action))),
        SCENARIOS,
    ),
    "labels/target_groups": (GROUPS, GROUP_ACTIONS, GROUP_CHANNELS, GROUP_SCENARIOS),
    "features/user_histories": (HISTORY_LENGTHS,),
    "features/item_stats": (
        Breakdown(
            "By popularity",
            ("popularity", "conversions", "sampling_probability"),
            "SELECT popularity, count(*) AS items, sum(conversions)::BIGINT AS conversions, "
            "sum(sampling_probability) AS sampling_share FROM rows GROUP BY 1 "
            f"ORDER BY {_order('popularity', ('top', 'middle', 'tail'))}",
        ),
    ),
    "samples/increc_samples": (
        REQUEST_GROUPS,
        _lengths("List lengths", "history_item_ids", "etg_item_ids", "rtg_item_ids", "itg_item_ids"),
    ),
    "samples/hccp_samples": (LEVELS, _lengths("List lengths", "history_item_ids", "item_ids")),
    "reports/quality": (FAILED_FIRST,),
    "reports/channel_value": (CHANNEL_VALUE, MISSED),
}


def breakdowns(held: Holding) -> tuple[Breakdown, ...]:
    """The breakdowns that suit a table; a quarantine's is by reason."""
    return (REASONS,) if held.layer == QUARANTINE else BREAKDOWNS.get(held.path, ())


def count(root: str, held: Holding, day: date, wanted: Breakdown) -> list[dict]:
    """The rows that a breakdown's query gives for one date, as dicts in the query's order."""
    return of(batches(root, held, day, wanted.columns), wanted)


def of(rows: pa.RecordBatchReader, wanted: Breakdown) -> list[dict]:
    """The rows that a breakdown's query gives of rows that have its columns."""
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.sql(wanted.query)
        names = found.columns
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
