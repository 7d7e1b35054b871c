"""Count each item's impressions and conversions of the 14 days before a date.

Reads:  logs/impressions and logs/conversions of the 60 days before the date,
        the newest snapshot of logs/items at or before it (may be absent)
Writes: features/item_stats, one row per item of that snapshot and those logs

- Neither the date itself nor rows logged after it began count.

In detail:

Only rows logged before the date began count. `sampling_probability` is the item's share of conversions, smoothed by
one pseudo-conversion an item, so that no item has 0 and the table sums to 1. `popularity`: items by conversions,
ties by smaller item_id; `top` is the shortest head that reaches 50 % of them, `middle` until 80 %, `tail` the rest
and every item without a conversion.
"""

import argparse
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.command import cli
from schemas.storage.arrow import newest_date
from schemas.storage.days import midnight
from schemas.storage.session import session
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.tables.features import item_stats
from schemas.tables.logs import conversions, impressions, items
from schemas.vocabulary import Action, Popularity

DAYS = 14
KNOWN_DAYS = 60  # an item that neither the snapshot nor the logs of these days have has ended
TOP_SHARE, MIDDLE_SHARE = 0.5, 0.8


def arg_parser() -> argparse.ArgumentParser:
    return cli.spark_parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_item_stats"), arguments.root)
    time_zone = RootSettings.of(store.root).time_zone
    eve = day - timedelta(days=1)
    for log in (impressions, conversions):
        if not store.has_date(log, eve):
            first_of_all = store.read_all(log).where(F.col("date") < day).isEmpty()
            store.require(day if first_of_all else eve, log)
    first = day - timedelta(days=KNOWN_DAYS)
    shown = store.read(impressions, first, eve)
    acted = store.read(conversions, first, eve).where(F.col("logged_time") < F.lit(midnight(day, time_zone)))
    known = shown.select("item_id").union(acted.select("item_id"))
    if (snapshot := newest_date(arguments.root, items, day)) is not None:
        known = known.union(store.read(items, snapshot).select("item_id"))
    rows = stats(known.distinct(), shown.where(_trailing(day)), acted.where(_trailing(day)))
    shares = {"top": TOP_SHARE, "middle": MIDDLE_SHARE}
    settings = {"days": DAYS, "known_days": KNOWN_DAYS, **shares, "time_zone": time_zone}
    return {"rows_written": store.replace(item_stats, day, rows, settings)}


def stats(known: DataFrame, shown: DataFrame, acted: DataFrame) -> DataFrame:
    """The rows of `item_stats`.

    Args:
        known: item_id of every item, none twice.
        shown, acted: the impressions and conversions to count.
    """
    impressions_of = shown.groupBy("item_id").agg(F.count("*").alias("impressions"))
    conversions_of = acted.groupBy("item_id").agg(
        F.count_if(F.col("action") == Action.CLICK.value).alias("clicks"),
        F.count_if(F.col("action") == Action.PURCHASE.value).alias("purchases"),
        F.count("*").alias("conversions"),
    )
    counted = known.join(impressions_of, on="item_id", how="left").join(conversions_of, on="item_id", how="left")
    counted = counted.fillna(0).join(F.broadcast(head_share(conversions_of)), on="item_id", how="left")
    totals = counted.agg(F.sum("conversions").alias("total"), F.count("*").alias("known"))
    smoothed = (F.col("conversions") + 1) / (F.col("total") + F.col("known"))
    return (
        counted.crossJoin(F.broadcast(totals))
        .withColumn("sampling_probability", smoothed)
        .withColumn("popularity", popularity(F.col("share_before")))
        .select(*item_stats.names)
    )


def head_share(conversions_of: DataFrame) -> DataFrame:
    """For each item with conversions, the share of all conversions that the items ahead of it hold.

    One partition sorts them: a row of two numbers per item that anybody acted on.
    """
    order = Window.orderBy(F.desc("conversions"), "item_id")
    everything = Window.partitionBy()
    ahead = F.sum("conversions").over(order.rowsBetween(Window.unboundedPreceding, -1))
    share = F.coalesce(ahead, F.lit(0)) / F.sum("conversions").over(everything)
    return conversions_of.select("item_id", share.alias("share_before"))


def popularity(share_before: Column) -> Column:
    """The segment of an item, from the share of conversions ahead of it; null for an item without any."""
    return (
        F.when(share_before < TOP_SHARE, Popularity.TOP.value)
        .when(share_before < MIDDLE_SHARE, Popularity.MIDDLE.value)
        .otherwise(Popularity.TAIL.value)
    )


def _trailing(day: date) -> Column:
    return F.col("date").between(F.lit(day - timedelta(days=DAYS)), F.lit(day - timedelta(days=1)))


if __name__ == "__main__":
    cli.run("build_item_stats", arg_parser().parse_args(), main)
