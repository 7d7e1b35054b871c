"""DuckDB's SQL for `hccp_samples`; see duckdb_sql. The draws are keyed by DuckDB's own hash: not Spark's items."""

from volume.duckdb_labels import EVENT, SCENARIO

_HASHES = f"{2**52}::DOUBLE"

# Counting what was retrieved and dropped takes the one pass that holds a request's lists together; after it only items
# whose hash is among the smallest leave their lists. A request for which those were too few would take them all.
HCCP_SAMPLES = f"""
CREATE TEMP TABLE feedback AS
SELECT request_id, item_id, count(position) > 0 AS shown,
    min({EVENT}) FILTER (named) AS naming, min({EVENT}) FILTER (named OR scenario = '{SCENARIO}') AS inside
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
