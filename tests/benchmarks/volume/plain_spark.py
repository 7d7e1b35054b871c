"""The labels of a date as plain Spark SQL: retrievals exploded, then joined. The way the jobs avoid.

The rows are those of `label_target_groups`, whose attribution it shares: a plain join of a user's requests and
conversions would be quadratic in the most active user, and what is compared here is what becomes of the lists.
"""

from datetime import date, timedelta

from pyspark.sql import functions as F

from jobs.funnel.attribution import attribute
from schemas.storage.spark import Store
from schemas.tables import logs
from schemas.vocabulary import HOMEPAGE, Attribution

_STRENGTH = "CASE action WHEN 'purchase' THEN 4 WHEN 'cart' THEN 3 WHEN 'favorite' THEN 2 WHEN 'click' THEN 1 END"

LABELS = f"""
WITH acted AS (
    SELECT request_id, item_id, action, event_time AS action_time, scenario, actions FROM (
        SELECT *, count(*) OVER (PARTITION BY request_id, item_id) AS actions,
            row_number() OVER (PARTITION BY request_id, item_id
                ORDER BY {_STRENGTH} DESC, event_time, event_id) AS best
        FROM attributed WHERE request_id IS NOT NULL
    ) WHERE best = 1
),
shown AS (SELECT request_id, item_id, min(position) AS position FROM impressions GROUP BY request_id, item_id),
exploded AS (SELECT request_id, channel, explode(item_ids) AS item_id FROM retrievals),
retrieved AS (
    SELECT request_id, item_id, array_sort(collect_list(channel)) AS channels FROM exploded GROUP BY request_id, item_id
),
labelable AS (SELECT DISTINCT request_id FROM retrievals),
items AS (
    SELECT coalesce(s.request_id, a.request_id) AS request_id, coalesce(s.item_id, a.item_id) AS item_id,
        s.position, a.action, a.action_time, a.scenario, coalesce(a.actions, 0) AS actions
    FROM shown s FULL OUTER JOIN acted a ON s.request_id = a.request_id AND s.item_id = a.item_id
),
placed AS (
    SELECT i.*, t.user_id, t.scenario AS request_scenario, coalesce(r.channels, array()) AS channels
    FROM items i
    JOIN asked t ON i.request_id = t.request_id
    JOIN labelable l ON i.request_id = l.request_id
    LEFT JOIN retrieved r ON i.request_id = r.request_id AND i.item_id = r.item_id
)
SELECT request_id, user_id, item_id, 'ETG' AS `group`, action, action_time, scenario, CAST(actions AS INT) AS actions,
    channels, position, request_scenario FROM placed WHERE position IS NOT NULL
UNION ALL
SELECT request_id, user_id, item_id, IF(position IS NOT NULL OR size(channels) > 0, 'RTG', 'ITG'), action, action_time,
    scenario, CAST(actions AS INT), channels, position, request_scenario FROM placed WHERE action IS NOT NULL
"""

SCANS = (
    "SELECT count(*), min(user_id), max(request_time), min(request_id), min(scenario) FROM requests",
    "SELECT max(request_id), sum(size(item_ids)), max(array_max(item_ids)), min(channel) FROM retrievals",
    "SELECT count(*), max(item_id), min(position), min(request_id) FROM impressions",
    "SELECT count(*), max(item_id), max(event_time), max(action), max(scenario), max(request_id), max(event_id), "
    "max(user_id) FROM conversions",
)


def scan(store: Store, day: date) -> None:
    """Read the columns that labels need, every element of the lists looked at, and keep nothing."""
    _register(store, day)
    for query in SCANS:
        store.spark.sql(query).collect()


def label(store: Store, day: date, out: str) -> None:
    """Write OUT/target_groups.parquet."""
    _register(store, day)
    targets = store.spark.table("requests").where(F.col("scenario") == HOMEPAGE)
    targets.where(F.col("date") == day).createOrReplaceTempView("asked")
    end = F.lit(day).cast("timestamp") + F.expr("INTERVAL 48 HOURS")
    events = store.spark.table("conversions").where(F.col("event_time") < end)
    attribute(events, targets, 24, Attribution.LAST_REQUEST).createOrReplaceTempView("attributed")
    store.spark.sql(LABELS).write.mode("overwrite").parquet(f"{out}/target_groups.parquet")


def _register(store: Store, day: date) -> None:
    """The logs that the labels of a date need, as temporary views."""
    one = timedelta(1)
    for table, first, last in (
        (logs.requests, day - one, day + one),
        (logs.retrievals, day, day),
        (logs.impressions, day, day),
        (logs.conversions, day, day + one),
    ):
        store.read(table, first, last).createOrReplaceTempView(table.name)
