"""ETG, RTG, ITG: what became of the exposed and the acted items of a request."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.funnel.attribution import strongest
from schemas.labels import TargetGroup


def acted_items(attributed: DataFrame) -> DataFrame:
    """One row per request and item acted on: strongest action, its first time and scenario, number of actions.

    Args:
        attributed: what `attribute` returns.
    """
    return (
        attributed.where("request_id IS NOT NULL")
        .groupBy("request_id", "item_id")
        .agg(strongest().alias("best"), F.count("*").cast("int").alias("actions"))
        .select("request_id", "item_id", "best.action", "best.action_time", "best.scenario", "actions")
    )


def exposed_items(impressions: DataFrame) -> DataFrame:
    """One row per request and item shown, with the smallest position."""
    return impressions.groupBy("request_id", "item_id").agg(F.min("position").alias("position"))


def found_by_channels(retrievals: DataFrame, wanted: DataFrame) -> DataFrame:
    """Which of a request's wanted items each of its channels returned.

    The wanted items go to the lists, which are neither exploded nor shuffled: a broadcast join on the request
    and an intersection per list leave only the few items found.

    Args:
        retrievals: request_id, channel, item_ids; one row per request and channel.
        wanted: request_id, item_ids: one row per request, its list may be empty.

    Returns:
        request_id, found list<struct<channel, item_ids>>: one row for each wanted request with any retrieval.
    """
    wanted = F.broadcast(wanted.withColumnRenamed("item_ids", "wanted_ids"))
    found = retrievals.join(wanted, on="request_id", how="inner").select(
        "request_id",
        F.struct("channel", F.array_intersect("item_ids", "wanted_ids").alias("item_ids")).alias("found"),
    )
    return found.groupBy("request_id").agg(F.collect_list("found").alias("found"))


def group_items(targets: DataFrame, exposed: DataFrame, acted: DataFrame, retrievals: DataFrame) -> DataFrame:
    """The rows of `target_groups` for the target requests that have any retrieval.

    Args:
        targets: request_id, user_id of the target requests.
        exposed: what `exposed_items` returns.
        acted: what `acted_items` returns.
        retrievals: request_id, channel, item_ids.
    """
    touched = exposed.join(acted, on=["request_id", "item_id"], how="full")
    lists = touched.groupBy("request_id").agg(F.collect_set("item_id").alias("item_ids"))
    found = found_by_channels(retrievals, targets.select("request_id").join(lists, on="request_id", how="left"))
    channels = F.transform(
        F.filter("found", lambda channel: F.array_contains(channel.item_ids, F.col("item_id"))),
        lambda channel: channel.channel,
    )
    shown, was_acted = F.col("position").isNotNull(), F.col("actions").isNotNull()
    retrieved = shown | (F.size("channels") > 0)
    groups = F.array_compact(
        F.array(
            F.when(shown, TargetGroup.ETG.value),
            F.when(was_acted & retrieved, TargetGroup.RTG.value),
            F.when(was_acted & ~retrieved, TargetGroup.ITG.value),
        )
    )
    return (
        touched.join(found, on="request_id", how="inner")
        .join(targets.select("request_id", "user_id"), on="request_id", how="inner")
        .withColumn("channels", F.sort_array(channels))
        .withColumn("group", F.explode(groups))
        .withColumn("actions", F.coalesce("actions", F.lit(0)))
    )
