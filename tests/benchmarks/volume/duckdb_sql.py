"""The labels, histories and both samples of a date in DuckDB: `python -m volume.duckdb_sql ROOT DATE OUT`.

Reads the validated logs (the newest files of each Delta table) and writes OUT/<table>.parquet. Written for speed: what
was retrieved stays in its lists, to which the few touched items of a request come by a join, and from which only those
leave that a keyed hash may draw. The draws are keyed by DuckDB's own hash: not Spark's items, the same work.
"""

import json
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb

from schemas import arrow, logs
from schemas.table import Table

WINDOW, SCENARIO = "INTERVAL 24 HOURS", "homepage"
_STRENGTH = "CASE action WHEN 'purchase' THEN 4 WHEN 'cart' THEN 3 WHEN 'favorite' THEN 2 WHEN 'click' THEN 1 END"
_HASHES = f"{2**52}::DOUBLE"

# Where an aggregate needs the strongest action: of equally strong ones the earliest, then the smaller event_id.
_EVENT = f"""{{'weakness': -({_STRENGTH}), 'action_time': event_time, 'event_id': event_id,
               'action': action, 'scenario': scenario}}"""

ATTRIBUTED = f"""
CREATE TEMP TABLE targets AS
SELECT request_id, user_id, request_time FROM requests WHERE scenario = '{SCENARIO}';

CREATE TEMP TABLE attributed AS
WITH events AS (
    SELECT c.*, t.request_id IS NOT NULL AS named
    FROM (FROM conversions WHERE event_time >= day() AND event_time < day() + INTERVAL 1 DAY + {WINDOW}) c
    LEFT JOIN targets t
    ON c.request_id = t.request_id AND c.user_id = t.user_id
        AND c.event_time >= t.request_time AND c.event_time < t.request_time + {WINDOW}
), last_of_moment AS (
    SELECT user_id, request_time, max(request_id) AS request_id FROM targets GROUP BY ALL
)
SELECT request_id, event_id, item_id, action, event_time, scenario, named FROM events WHERE named
UNION ALL
SELECT t.request_id, e.event_id, e.item_id, e.action, e.event_time, e.scenario, e.named
FROM (FROM events WHERE NOT named) e ASOF JOIN last_of_moment t
ON e.user_id = t.user_id AND e.event_time >= t.request_time
WHERE e.event_time < t.request_time + {WINDOW};
"""

LABELS = f"""
CREATE TEMP TABLE asked AS FROM targets WHERE request_time >= day() AND request_time < day() + INTERVAL 1 DAY;

CREATE TEMP TABLE touched AS
SELECT request_id, any_value(user_id) AS user_id, item_id, min(position) AS position,
    count(action)::INTEGER AS actions, min({_EVENT}) FILTER (action IS NOT NULL) AS best
FROM (
    SELECT request_id, item_id, position, NULL AS action, NULL AS event_time, NULL AS event_id, NULL AS scenario
    FROM impressions
    UNION ALL BY NAME SELECT request_id, item_id, action, event_time, event_id, scenario FROM attributed
) JOIN asked USING (request_id)
GROUP BY request_id, item_id;

CREATE TEMP TABLE target_groups AS
WITH wanted AS (SELECT request_id, list(item_id) AS wanted FROM touched GROUP BY request_id),
found AS (
    SELECT request_id, item_id, list(channel ORDER BY channel) AS channels
    FROM (
        SELECT request_id, channel, unnest(list_filter(wanted, lambda item: list_contains(item_ids, item))) AS item_id
        FROM retrievals JOIN wanted USING (request_id)
    ) GROUP BY ALL
), placed AS (
    SELECT t.*, coalesce(channels, []) AS channels
    FROM (FROM touched SEMI JOIN retrievals USING (request_id)) t LEFT JOIN found USING (request_id, item_id)
)
SELECT request_id, user_id, item_id, unnest(list_filter([
        CASE WHEN position IS NOT NULL THEN 'ETG' END,
        CASE WHEN best IS NOT NULL THEN
            CASE WHEN position IS NOT NULL OR len(channels) > 0 THEN 'RTG' ELSE 'ITG' END END
    ], lambda one: one IS NOT NULL)) AS "group",
    best.action, best.action_time, best.scenario, actions, channels, position
FROM placed;
"""

# From when on a request has the event in its history: it has to be later than the event.
_KNOWN = "greatest(logged_time, event_time + INTERVAL 1 MICROSECOND)"

# A request's history is 50 of the user's events before it, less those logged after it: an event's number by time, and
# how many were pending at the request, say which few events to look at, however active the user.
HISTORIES = f"""
CREATE TEMP TABLE numbered AS
SELECT user_id, event_time, event_id, item_id, action, logged_time, row_number() OVER mine AS number,
    sum(1) OVER (PARTITION BY user_id ORDER BY {_KNOWN}) AS known
FROM (FROM history_conversions SEMI JOIN all_asked USING (user_id))
WINDOW mine AS (PARTITION BY user_id ORDER BY event_time, event_id);

CREATE TEMP TABLE user_histories AS
WITH before AS (
    SELECT r.request_id, r.user_id, r.request_time, coalesce(e.number, 0) AS happened
    FROM all_asked r ASOF LEFT JOIN
        (SELECT user_id, event_time, max(number) AS number FROM numbered GROUP BY ALL) e
    ON r.user_id = e.user_id AND r.request_time > e.event_time
), pending AS (
    SELECT b.*, happened - coalesce(e.known, 0) AS pending
    FROM before b ASOF LEFT JOIN
        (SELECT user_id, {_KNOWN} AS known_time, max(known)::BIGINT AS known
         FROM numbered GROUP BY ALL) e
    ON b.user_id = e.user_id AND b.request_time >= e.known_time
), candidates AS (
    SELECT request_id, user_id, request_time,
        unnest(range(greatest(1, happened - 49 - greatest(pending, 0)), happened + 1)) AS number
    FROM pending
), newest AS (
    SELECT request_id, number, event_time, item_id, action FROM candidates c JOIN numbered e USING (user_id, number)
    WHERE logged_time <= request_time AND event_time >= request_time - INTERVAL 30 DAYS
), lists AS (
    SELECT request_id, list({{'t': event_time, 'i': item_id, 'a': action}} ORDER BY number)[-50:] AS events
    FROM newest GROUP BY request_id
)
SELECT request_id, coalesce([e.i for e in events], []) AS history_item_ids,
    coalesce([e.a for e in events], []) AS history_actions, coalesce([e.t for e in events], []) AS history_times
FROM all_asked LEFT JOIN lists USING (request_id);
"""

INCREC_SAMPLES = f"""
CREATE TEMP TABLE increc_samples AS
WITH items AS (
    SELECT request_id, "group", {{'weakness': -coalesce({_STRENGTH}, 0), 'action_time': action_time,
        'item_id': item_id, 'action': coalesce(action, '')}} AS item
    FROM target_groups
), lists AS (
    SELECT request_id,
        coalesce(list_sort(list(item) FILTER ("group" = 'ETG'))[:10], []) AS etg,
        coalesce(list_sort(list(item) FILTER ("group" = 'RTG'))[:20], []) AS rtg,
        coalesce(list_sort(list(item) FILTER ("group" = 'ITG'))[:20], []) AS itg
    FROM items GROUP BY request_id
)
SELECT request_id, user_id, scenario, request_time, history_item_ids, history_actions,
    [x.item_id for x in etg] AS etg_item_ids, [x.action for x in etg] AS etg_actions,
    [x.item_id for x in rtg] AS rtg_item_ids, [x.action for x in rtg] AS rtg_actions,
    [x.item_id for x in itg] AS itg_item_ids, [x.action for x in itg] AS itg_actions
FROM lists JOIN requests USING (request_id) JOIN user_histories USING (request_id)
WHERE len(rtg) > 0 OR len(itg) > 0;
"""

# Counting what was retrieved and dropped takes the one pass that holds a request's lists together; after it only items
# whose hash is among the smallest leave their lists. A request for which those were too few would take them all.
HCCP_SAMPLES = f"""
CREATE TEMP TABLE feedback AS
SELECT request_id, item_id, count(position) > 0 AS shown,
    min({_EVENT}) FILTER (named) AS naming, min({_EVENT}) FILTER (named OR scenario = '{SCENARIO}') AS inside
FROM (
    SELECT request_id, item_id, position, NULL AS action, NULL AS event_time, NULL AS event_id, NULL AS scenario,
        NULL AS named FROM impressions
    UNION ALL BY NAME SELECT request_id, item_id, action, event_time, event_id, scenario, named FROM attributed
) SEMI JOIN asked USING (request_id)
GROUP BY request_id, item_id;

CREATE TEMP TABLE funnel AS
WITH passed AS (
    SELECT request_id, coalesce(any_value(item_ids) FILTER (stage = 'ranking'),
            any_value(item_ids) FILTER (stage = 're_ranking')) AS ranking,
        any_value(item_ids) FILTER (stage = 'pre_ranking') AS pre_ranking
    FROM stages GROUP BY request_id
), seen AS (
    SELECT request_id,
        list({{'item': item_id, 'level': CASE inside.action WHEN 'purchase' THEN 1 ELSE
            CASE WHEN inside IS NULL THEN 3 ELSE 2 END END}}) FILTER (shown) AS exposed
    FROM feedback GROUP BY request_id HAVING bool_or(shown)
)
SELECT request_id, hash(request_id) AS key, exposed, ranking, pre_ranking, [e.item for e in exposed] AS shown_ids,
    list_distinct(coalesce(pre_ranking, []) || ranking || [e.item for e in exposed]) AS above
FROM seen JOIN passed USING (request_id) SEMI JOIN target_groups USING (request_id) WHERE ranking IS NOT NULL;

CREATE TEMP TABLE dropped AS
SELECT request_id, CASE WHEN pre_ranking IS NULL THEN 0 ELSE distinct_items - len(above) END AS available
FROM funnel JOIN (
    SELECT request_id, list_unique(flatten(list(item_ids))) AS distinct_items
    FROM (SELECT request_id, item_ids FROM retrievals SEMI JOIN funnel USING (request_id)
          UNION ALL SELECT request_id, above FROM funnel)
    GROUP BY request_id
) USING (request_id);

CREATE TEMP MACRO keyed(item, key) AS (hash(xor(item::UBIGINT, key)) >> 12)::DOUBLE;

CREATE TEMP MACRO hashed_below(factor, requests) AS TABLE
SELECT request_id, item, min(place) AS place, any_value(h) AS h
FROM (
    SELECT request_id, unnest([{{'item': x, 'place': list_position(item_ids, x), 'h': keyed(x, key)}}
        for x in list_filter(few, lambda x: NOT list_contains(above, x))], recursive := true)
    FROM (
        SELECT request_id, key, item_ids, above,
            list_filter(item_ids, lambda x: keyed(x, key) < factor * 40e0 * {_HASHES} / available) AS few
        FROM retrievals JOIN funnel USING (request_id) JOIN (FROM query_table(requests) WHERE available > 0)
            USING (request_id)
    )
) GROUP BY request_id, item;

CREATE TEMP TABLE few AS FROM hashed_below(2e0, 'dropped');

CREATE TEMP TABLE too_few AS
SELECT d.* FROM dropped d LEFT JOIN (SELECT request_id, count(*) AS found FROM few GROUP BY request_id) f
USING (request_id) WHERE coalesce(found, 0) < least(40, available);

CREATE TEMP TABLE filtered AS
SELECT request_id, [x.item for x in list_sort(drawn)] AS items
FROM (
    SELECT request_id, min_by({{'place': place, 'item': item}}, h, 40) AS drawn
    FROM (FROM few ANTI JOIN too_few USING (request_id) UNION ALL FROM hashed_below(1e9, 'too_few'))
    GROUP BY request_id
);

CREATE TEMP TABLE weighed AS
SELECT request_id, key, unexposed, [1 / log2(x.rank + 1) for x in unexposed] AS weights
FROM (
    SELECT request_id, key,
        list_filter([{{'rank': i, 'item': x}} for x, i in ranking], lambda x: NOT list_contains(shown_ids, x.item))
            AS unexposed
    FROM funnel
);

CREATE TEMP TABLE ranked AS
WITH factors AS (
    SELECT *, CASE WHEN len(weights) > 10 THEN list_filter(
        [{{'c': (10 - k) / (list_sum(weights) - coalesce(list_sum(weights[:k]), 0)), 'w': weights[k + 1]}}
            for k in range(10)],
        lambda f: f.c * f.w <= 1)[1].c END AS factor
    FROM weighed
), chances AS (
    SELECT request_id, key, [
        {{'x': x, 'inverse': greatest(1.0, coalesce(1 / (weights[i] * factor), 1.0))}} for x, i in unexposed
    ] AS chances
    FROM factors
), keys AS (
    SELECT request_id, [
        {{'pareto': (o.inverse - 1) / (1 / ((keyed(o.x.item, key) + 0.5) / {_HASHES}) - 1), 'rank': o.x.rank,
          'item': o.x.item, 'inverse': o.inverse}}
        for o in chances
    ] AS keys
    FROM chances
)
SELECT request_id, [x.item for x in drawn] AS items, [x.inverse::FLOAT for x in drawn] AS inverses
FROM (SELECT request_id, list_sort([{{'rank': x.rank, 'item': x.item, 'inverse': x.inverse}}
        for x in list_sort(keys)[:10]]) AS drawn FROM keys);

CREATE TEMP TABLE hccp_samples AS
WITH ordered AS (
    SELECT request_id, list_sort([{{'level': e.level, 'place': coalesce(list_position(ranking, e.item), 2147483647),
                                    'item': e.item}} for e in exposed]) AS exposed FROM funnel
), lists AS (
    SELECT request_id,
        [e.item for e in exposed] || r.items || coalesce(f.items, []) AS item_ids,
        [['purchased', 'clicked', 'exposed'][e.level] for e in exposed] || ['ranked' for _ in r.items]
            || ['filtered' for _ in coalesce(f.items, [])] AS levels,
        [1::FLOAT for _ in exposed] || r.inverses
            || [greatest(1, d.available / 40)::FLOAT for _ in coalesce(f.items, [])] AS sampling_weights
    FROM ordered JOIN ranked r USING (request_id) JOIN dropped d USING (request_id)
    LEFT JOIN filtered f USING (request_id)
), actions AS (
    SELECT request_id, map_from_entries(list({{'k': item_id, 'v': action}})) AS actions
    FROM target_groups WHERE "group" != 'ETG' GROUP BY request_id
), inside AS (
    SELECT request_id, map_from_entries(list({{'k': item_id, 'v': action}})) AS actions
    FROM (SELECT request_id, item_id, CASE WHEN shown THEN inside.action ELSE naming.action END AS action FROM feedback)
    WHERE action IS NOT NULL GROUP BY request_id
)
SELECT request_id, user_id, request_time, history_item_ids, history_actions, item_ids, levels,
    range(1, len(item_ids) + 1)::INTEGER[] AS teacher_ranks,
    [coalesce(a.actions[x], '') for x in item_ids] AS actions,
    [coalesce(i.actions[x], '') for x in item_ids] AS in_scenario_actions, sampling_weights
FROM lists JOIN requests USING (request_id) JOIN user_histories USING (request_id)
LEFT JOIN actions a USING (request_id) LEFT JOIN inside i USING (request_id)
SEMI JOIN retrievals USING (request_id);
"""

STEPS = {
    "target_groups": ATTRIBUTED + LABELS,
    "user_histories": HISTORIES,
    "increc_samples": INCREC_SAMPLES,
    "hccp_samples": HCCP_SAMPLES,
}
SCAN = """
SELECT count(*), min(user_id), max(request_time) FROM requests;
SELECT count(DISTINCT request_id), sum(len(item_ids)), max(list_max(item_ids)), min(channel) FROM retrievals;
SELECT count(*), max(item_id), min(position), min(request_id) FROM impressions;
SELECT count(*), max(item_id), max(event_time), max(action), max(scenario), max(request_id), max(event_id), max(user_id)
FROM conversions;
"""


def files(root: str, table: Table, first: date, last: date) -> list[str]:
    """The newest files of a Delta table's dates first..last."""
    return arrow.delta(root, table).file_uris(
        file_pruning_predicate=[("date", ">=", str(first)), ("date", "<=", str(last))]
    )


def connect(root: str, day: date, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection with the logs that the date needs as views; one thread a core."""
    connection = duckdb.connect(config={"threads": threads})
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    connection.execute(f"CREATE TEMP MACRO day() AS TIMESTAMPTZ '{day} 00:00:00+00'")
    one = timedelta(1)
    views = (
        ("requests", logs.requests, day - one, day + one),
        ("all_asked", logs.requests, day, day),
        ("retrievals", logs.retrievals, day, day),
        ("stages", logs.stages, day, day),
        ("impressions", logs.impressions, day, day),
        ("conversions", logs.conversions, day, day + one),
        ("history_conversions", logs.conversions, day - 30 * one, day),
    )
    for view, table, first, last in views:
        found = files(root, table, first, last)
        connection.execute(f"CREATE TEMP VIEW {view} AS FROM read_parquet({found}, hive_partitioning = false)")
    return connection


def build(root: str, day: date, out: str, tables: list[str]) -> dict[str, float]:
    """Write the tables, in the order of STEPS, and return the seconds of each; `scan` is the columns of labels read."""
    connection, seconds = connect(root, day), {}
    Path(out).mkdir(parents=True, exist_ok=True)
    if "scan" in tables:
        started = time.monotonic()
        connection.execute(SCAN)
        seconds["scan"] = time.monotonic() - started
    for table in STEPS:
        if table in tables:
            started = time.monotonic()
            connection.execute(STEPS[table])
            connection.execute(f"COPY {table} TO '{out}/{table}.parquet' (COMPRESSION zstd)")
            seconds[table] = time.monotonic() - started
    return seconds


if __name__ == "__main__":
    root, day, out, *tables = sys.argv[1:]
    print(json.dumps(build(root, date.fromisoformat(day), out, tables or list(STEPS))))
