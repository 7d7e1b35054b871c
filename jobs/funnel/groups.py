"""ETG, RTG, ITG: what became of the exposed and the acted items of a request."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.funnel.attribution import strongest
from schemas.labels import TargetGroup


def touched_items(targets: DataFrame, impressions: DataFrame, attributed: DataFrame) -> DataFrame:
    """One row per target request and item that was shown or acted on.

    Both kinds of rows go through one shuffle, by request, which everything that follows needs.

    Args:
        targets: request_id, user_id of the target requests.
        impressions: request_id, item_id, position; of any request.
        attributed: what `attribute` returns.

    Returns:
        request_id, user_id, item_id, position (the smallest; null if not shown), actions (their number), and the
        strongest one's action, action_time and scenario (null without any).
    """
    acted = attributed.where("request_id IS NOT NULL")
    rows = impressions.select("request_id", "item_id", "position").unionByName(
        acted.select("request_id", "item_id", "action", "event_time", "event_id", "scenario"), allowMissingColumns=True
    )
    rows = rows.join(targets.select("request_id", "user_id"), on="request_id").repartition("request_id")
    return (
        rows.groupBy("request_id", "user_id", "item_id")
        .agg(F.min("position").alias("position"), strongest().alias("best"), F.count("action").alias("actions"))
        .select(
            "request_id", "user_id", "item_id", "position", F.col("actions").cast("int").alias("actions"),
            "best.action", "best.action_time", "best.scenario",
        )
    )  # fmt: skip


def found_by_channels(retrievals: DataFrame, touched: DataFrame) -> DataFrame:
    """Which of a request's touched items each of its channels returned.

    The touched items go to the lists, which are neither exploded nor shuffled: a broadcast join on the request
    and an intersection per list leave only the few items found.

    Args:
        retrievals: request_id, channel, item_ids; one row per request and channel.
        touched: request_id, item_id.

    Returns:
        request_id, found list<struct<channel, item_ids>>: one row for each touched request with any retrieval.
    """
    wanted = touched.groupBy("request_id").agg(F.collect_list("item_id").alias("wanted_ids"))
    found = retrievals.join(F.broadcast(wanted), on="request_id", how="inner").select(
        "request_id",
        F.struct("channel", F.array_intersect("item_ids", "wanted_ids").alias("item_ids")).alias("found"),
    )
    return found.groupBy("request_id").agg(F.collect_list("found").alias("found"))


def group_items(touched: DataFrame, retrievals: DataFrame) -> DataFrame:
    """The rows of `target_groups` for the target requests that have any retrieval.

    Args:
        touched: what `touched_items` returns.
        retrievals: request_id, channel, item_ids.
    """
    channels = F.transform(
        F.filter("found", lambda channel: F.array_contains(channel.item_ids, F.col("item_id"))),
        lambda channel: channel.channel,
    )
    shown, acted = F.col("position").isNotNull(), F.col("action").isNotNull()
    retrieved = shown | (F.size("channels") > 0)
    groups = F.array_compact(
        F.array(
            F.when(shown, TargetGroup.ETG.value),
            F.when(acted & retrieved, TargetGroup.RTG.value),
            F.when(acted & ~retrieved, TargetGroup.ITG.value),
        )
    )
    return (
        touched.join(found_by_channels(retrievals, touched), on="request_id", how="inner")
        .withColumn("channels", F.sort_array(channels))
        .withColumn("group", F.explode(groups))
    )
