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

from jobs import command
from schemas.features import user_histories
from schemas.logs import conversions, requests
from schemas.spark import Store, session

DAYS = 30
LENGTH = 50


def arg_parser() -> argparse.ArgumentParser:
    return command.parser(__doc__)


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
    per_user = trimmed(events, day).groupBy("user_id").agg(F.sort_array(F.collect_list(event)).alias("events"))
    known = F.slice(F.reverse(F.filter("events", _known)), 1, LENGTH)
    return (
        asked.join(per_user, on="user_id", how="left")
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


def _known(event: Column) -> Column:
    asked = F.col("request_time")
    recent = event.event_time >= asked - F.expr(f"INTERVAL {DAYS} DAYS")
    return recent & (event.event_time < asked) & (event.logged_time <= asked)


if __name__ == "__main__":
    command.run("build_user_histories", arg_parser().parse_args(), main)
