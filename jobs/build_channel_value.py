"""Count what each retrieval channel found of the acted items, and what none found.

Reads:  labels/target_groups; logs/requests; logs/retrievals, of its lists only
        the lengths
Writes: reports/channel_value, the whole date

A row is a channel, a scenario and an action; null is all of them. Its counts
are items of labelled requests: retrieved, exposed, acted, acted_only (found by
no other channel) and lost (of these, exposed). Channel '' stands for none.

In detail:

A labelled request is a target request with a list of any channel. All counts are of items of requests:

    retrieved    in the channel's list                  requests     labelled requests with such an item
    exposed      ETG, and in its list                   acted        RTG, and in its list: its hits
    acted_only   of acted, in no other channel's list   lost         of acted_only, those that had been exposed

Switched off, the channel takes along its lists and every exposure that only they made possible. All of acted_only
then leaves what the contract calls retrieved: acted on all the same, these items would be ITG (or have no label, where
the request has no other list). `lost` are the actions at stake, whose items would not have been shown; the rest of
acted_only was acted on without having been shown, which needs no channel. What other items would have earned in the
freed places, logs do not tell.

Channel '' stands for none: its acted are the ITG, its exposed those that no channel logged (which are no ITG, since
the contract counts exposed as retrieved). A channel has a row for every scenario and action that the date's acted
items have, zeros included, with null for all scenarios or all actions.
"""

import argparse
from datetime import date
from functools import partial

import duckdb

from jobs.command import cli
from schemas.storage import arrow, delta_log
from schemas.storage.lineage import stale_dates
from schemas.storage.root import Root
from schemas.tables.labels import recorded_scenarios, target_groups
from schemas.tables.logs import requests, retrievals
from schemas.tables.reports import channel_value
from schemas.vocabulary import Action

_COLUMNS = {
    target_groups: ("group", "action", "scenario", "channels", "position"),
    requests: ("request_id", "scenario"),
    retrievals: ("request_id", "channel", "item_ids"),
}

# The labels shrink to one row per group, action, scenario and set of channels before anything else is done with them.
_VALUE = f"""
WITH touched AS MATERIALIZED (
    SELECT "group", scenario, action, channels, position IS NOT NULL AS shown, count(*) AS items
    FROM target_groups GROUP BY ALL
),
lists AS (
    SELECT channel, count(*) FILTER (len(item_ids) > 0) AS requests, sum(len(item_ids)) AS retrieved
    FROM retrievals
    SEMI JOIN (SELECT request_id FROM requests WHERE list_contains($scenarios, scenario)) USING (request_id)
    GROUP BY channel
),
exposed AS (
    SELECT unnest(if(len(channels) = 0, [''], channels)) AS channel, sum(items) AS exposed
    FROM touched WHERE "group" = 'ETG' GROUP BY channel
),
acted AS (SELECT * FROM touched WHERE "group" <> 'ETG'),
hits AS (
    SELECT channel, scenario, action, sum(items) AS acted, sum(items) FILTER (alone) AS acted_only,
        sum(items) FILTER (alone AND shown) AS lost
    FROM (
        SELECT *, len(channels) = 1 AS alone, unnest(if("group" = 'ITG', [''], channels)) AS channel FROM acted
    )
    GROUP BY GROUPING SETS ((channel), (channel, scenario), (channel, action), (channel, scenario, action))
),
channels AS (
    SELECT channel FROM lists UNION SELECT channel FROM exposed UNION SELECT channel FROM hits UNION SELECT ''
),
cells AS (
    SELECT scenario, action, scenario IS NULL AND action IS NULL AS total, sum(items) AS support
    FROM acted GROUP BY CUBE (scenario, action)
)
SELECT channels.channel, cells.scenario, cells.action,
    if(total AND channels.channel <> '', coalesce(requests, 0), NULL) AS requests,
    if(total AND channels.channel <> '', coalesce(retrieved, 0), NULL) AS retrieved,
    if(total, coalesce(exposed, 0), NULL) AS exposed,
    coalesce(acted, 0) AS acted,
    if(channels.channel <> '', coalesce(acted_only, 0), NULL) AS acted_only,
    if(channels.channel <> '', coalesce(lost, 0), NULL) AS lost,
    coalesce(support, 0) AS support
FROM channels CROSS JOIN cells LEFT JOIN lists USING (channel) LEFT JOIN exposed USING (channel)
LEFT JOIN hits ON hits.channel = channels.channel
    AND hits.scenario IS NOT DISTINCT FROM cells.scenario AND hits.action IS NOT DISTINCT FROM cells.action
ORDER BY channels.channel = '', channels.channel, cells.scenario NULLS FIRST,
    list_position({[str(action) for action in Action]}, cells.action) DESC NULLS FIRST
"""


stale = partial(stale_dates, made=[channel_value])


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    cli.stale_flag(parser, "labels")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, made_from = arguments.root, {}
    with duckdb.connect() as connection:
        for table, columns in _COLUMNS.items():
            rows, made_from[table.path] = arrow.stream(root, table, day, columns)
            connection.register(table.name, rows)
        labelling = delta_log.settings(Root.of(root), target_groups, day, made_from[target_groups.path])
        scenarios = list(recorded_scenarios(labelling))
        value = connection.sql(_VALUE, params={"scenarios": scenarios}).to_arrow_table()
    value = value.cast(channel_value.schema)
    written = arrow.write(root, channel_value, day, value, made_from, {"labelling": labelling})["rows"]
    return {"rows_written": written}


if __name__ == "__main__":
    cli.run("build_channel_value", arg_parser().parse_args(), main, stale)
