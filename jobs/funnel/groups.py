"""ETG, RTG, ITG: what became of the exposed and the acted items of a request."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.funnel.attribution import strongest
from jobs.funnel.columns import union
from schemas.vocabulary import TargetGroup


def touches(targets: DataFrame, impressions: DataFrame, attributed: DataFrame) -> DataFrame:
    """One row per impression of a target request and per conversion that belongs to one.

    Args:
        targets: request_id, user_id, request_scenario of the target requests.
        impressions: request_id, item_id, position; of any request.
        attributed: what `attribute` returns of the conversions that belong to a request of the targets' date.

    Returns:
        request_id, user_id, request_scenario, item_id, and either position, or action, event_time, event_id and
        scenario.
    """
    rows = union(
        impressions.select("request_id", "item_id", "position"),
        attributed.select("request_id", "item_id", "action", "event_time", "event_id", "scenario"),
    )
    return rows.join(targets.select("request_id", "user_id", "request_scenario"), on="request_id", how="inner")


def channel_hits(retrievals: DataFrame, touched: DataFrame) -> DataFrame:
    """One row per touched item and channel that returned it: request_id, item_id, channel.

    The touched items go to the lists, which are neither exploded nor shuffled: a broadcast join on the request
    and an intersection per list leave only the few items found.

    Args:
        retrievals: request_id, channel, item_ids; one row per request and channel.
        touched: request_id, item_id.
    """
    wanted = touched.groupBy("request_id").agg(F.collect_list("item_id").alias("wanted_ids"))
    found = F.explode(F.array_intersect("item_ids", "wanted_ids")).alias("item_id")
    return retrievals.join(F.broadcast(wanted), on="request_id", how="inner").select("request_id", "channel", found)


def group_items(touched: DataFrame, retrievals: DataFrame) -> DataFrame:
    """The rows of `target_groups` for these requests, each of which has to have a retrieval.

    Everything that is known of an item, its channels too, goes through one shuffle and one grouping.

    Args:
        touched: what `touches` returns.
        retrievals: request_id, channel, item_ids.
    """
    rows = union(touched, channel_hits(retrievals, touched)).repartition("request_id")
    items = rows.groupBy("request_id", "item_id").agg(
        F.max("user_id").alias("user_id"),  # a hit has none, nor a scenario
        F.max("request_scenario").alias("request_scenario"),
        F.min("position").alias("position"),
        strongest().alias("best"),
        F.count("action").cast("int").alias("actions"),
        F.sort_array(F.collect_list("channel")).alias("channels"),
    )
    shown, acted = F.col("position").isNotNull(), F.col("action").isNotNull()
    outcome = F.when(shown | (F.size("channels") > 0), TargetGroup.RTG.value).otherwise(TargetGroup.ITG.value)
    groups = F.array(F.when(shown, TargetGroup.ETG.value), F.when(acted, outcome))
    return (
        items.select("*", "best.action", "best.action_time", "best.scenario")
        .withColumn("group", F.explode(groups))
        .where(F.col("group").isNotNull())
    )
