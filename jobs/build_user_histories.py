"""List each request's user's last conversions that were known at the request, oldest first.

Known: event_time before the request and at most 30 days old, logged_time not after the request. Ties by event_id.
Nothing that happened at or after a request, or was logged after it, gets in.

Reads:  logs/requests, logs/conversions
Writes: features/user_histories, one row for every request of the date, empty histories included
"""

import argparse
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.command import cli
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.tables.features import user_histories
from schemas.tables.logs import conversions, requests

DAYS = 30
LENGTH = 50
_TICK = timedelta(microseconds=1)


def arg_parser() -> argparse.ArgumentParser:
    return cli.parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_user_histories"), arguments.root)
    store.require(day, requests, conversions)
    asked = store.read(requests, day)
    events = store.read(conversions, day - timedelta(days=DAYS), day)
    rows = histories(asked, events, day)
    written = store.replace(user_histories, day, rows, {"days": DAYS, "length": LENGTH})
    return {"rows_written": written}


def histories(asked: DataFrame, events: DataFrame, day: date) -> DataFrame:
    """The rows of `user_histories`.

    Args:
        asked: the requests of the date.
        events: conversions from 30 days before the date up to its end.
    """
    event = F.struct("event_time", "event_id", "item_id", "action", "logged_time")
    users = asked.select("user_id").distinct()
    events = events.join(users, on="user_id", how="left_semi")
    known_from = F.greatest(F.col("event_time") + F.lit(_TICK), F.col("logged_time"))
    per_user = (
        trimmed(events, day)
        .groupBy("user_id")
        .agg(
            F.sort_array(F.collect_list(event)).alias("events"),
            F.sort_array(F.collect_list("event_time")).alias("event_times"),
            F.sort_array(F.collect_list(known_from)).alias("known_times"),
        )
    )
    known = F.slice(F.reverse(F.filter(_latest(), _known)), 1, LENGTH)
    # A date's requests are a file or two, so they would be as many tasks; a number is not coalesced again.
    tasks = asked.sparkSession.sparkContext.defaultParallelism
    return (
        asked.repartition(tasks, "request_id")
        .join(per_user, on="user_id", how="left")
        .withColumn("known", F.reverse(F.coalesce(known, F.array().cast(per_user.schema["events"].dataType))))
        .select(
            "request_id",
            F.col("known.item_id").alias("history_item_ids"),
            F.col("known.action").alias("history_actions"),
            F.col("known.event_time").alias("history_times"),
        )
    )


def trimmed(events: DataFrame, day: date) -> DataFrame:
    """Drop the conversions that no request of the date can have in its history.

    What happened and was logged before the date began is known to all its requests, so of these only each user's
    last 50 can matter. That bounds a user's list by 50 plus what moved on the date itself, however active the user.
    """
    midnight = F.lit(day).cast("timestamp")
    settled = (F.col("event_time") < midnight) & (F.col("logged_time") <= midnight)
    newest = Window.partitionBy("user_id", "settled").orderBy(F.desc("event_time"), F.desc("event_id"))
    return (
        events.withColumn("settled", settled)
        .withColumn("place", F.row_number().over(newest))
        .where(~F.col("settled") | (F.col("place") <= LENGTH))
    )


def _latest() -> Column:
    """The part of the user's events that holds the last 50 known at the request, found without a look at each.

    Of the events before the request, in their order, the last 50 of n known ones come after the first n - 50.
    """
    before = _count_below("event_times", F.col("request_time"))
    first = F.greatest(F.lit(1), _count_below("known_times", F.col("request_time") + F.lit(_TICK)) - LENGTH + 1)
    return F.slice("events", first, before - first + 1)


def _count_below(times: str, bound: Column) -> Column:
    """How many of the ascending times are below the bound: its place among them, which Spark compiles to find."""
    never_null = F.coalesce(bound, F.timestamp_seconds(F.lit(0)))  # lets Spark sort bare numbers
    return F.array_position(F.sort_array(F.concat(times, F.array(never_null))), never_null).cast("int") - 1


def _known(event: Column) -> Column:
    asked = F.col("request_time")
    recent = event.event_time >= asked - F.expr(f"INTERVAL {DAYS} DAYS")
    return recent & (event.event_time < asked) & (event.logged_time <= asked)


if __name__ == "__main__":
    cli.run("build_user_histories", arg_parser().parse_args(), main)
