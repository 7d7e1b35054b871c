"""DuckDB's SQL for the labels, the histories and `increc_samples`; see duckdb_sql."""

WINDOW, SCENARIO = "INTERVAL 24 HOURS", "homepage"
_STRENGTH = "CASE action WHEN 'purchase' THEN 4 WHEN 'cart' THEN 3 WHEN 'favorite' THEN 2 WHEN 'click' THEN 1 END"

# Where an aggregate needs the strongest action: of equally strong ones the earliest, then the smaller event_id.
EVENT = f"""{{'weakness': -({_STRENGTH}), 'action_time': event_time, 'event_id': event_id,
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
    count(action)::INTEGER AS actions, min({EVENT}) FILTER (action IS NOT NULL) AS best
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
    best.action, best.action_time, best.scenario, actions, channels, position, '{SCENARIO}' AS request_scenario
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
