"""List each user's last conversions that were known at a request, oldest first.

Reads:  logs/requests, logs/conversions
Writes: features/user_histories, one row for every request of the date, empty
        histories included

- Nothing that happened at or after a request, or was logged after it, gets in.

In detail:

Known: event_time before the request and at most 30 days old, logged_time not after the request. Ties by event_id.
Nothing that happened at or after a request, or was logged after it, gets in; nor does what names the request itself.
"""

import argparse
from datetime import date, datetime, timedelta
from functools import partial

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.command import cli
from schemas.storage.days import local_date, midnight
from schemas.storage.lineage import stale_dates
from schemas.storage.session import parallelism, session
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.tables.features import user_histories
from schemas.tables.logs import conversions, requests

DAYS = 30
LENGTH = 50
_TICK = timedelta(microseconds=1)


stale = partial(stale_dates, made=[user_histories])


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    cli.stale_flag(parser, "requests")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_user_histories"), arguments.root)
    store.require(day, requests, conversions)
    time_zone = RootSettings.of(store.root).time_zone
    asked = store.read(requests, day).select("request_id", "user_id", "request_time")
    begin = midnight(day, time_zone)
    events = store.read(conversions, local_date(begin - timedelta(days=DAYS), time_zone), day)
    rows = histories(asked, events, begin)
    settings = {"days": DAYS, "length": LENGTH, "time_zone": time_zone}
    written = store.replace(user_histories, day, rows, settings)
    return {"rows_written": written}


def histories(asked: DataFrame, events: DataFrame, begin: datetime) -> DataFrame:
    """The rows of `user_histories`.

    Args:
        asked: the requests of the date.
        events: conversions from 30 days before the date up to its end.
        begin: the instant at which the date begins.
    """
    event = F.struct("event_time", "event_id", "item_id", "action", "logged_time", F.col("request_id").alias("named"))
    users = asked.select("user_id").distinct()
    events = events.join(users, on="user_id", how="left_semi")
    known_from = F.greatest(F.col("event_time") + F.lit(_TICK), F.col("logged_time"))
    per_user = (
        trimmed(events, begin)
        .groupBy("user_id")
        .agg(
            F.sort_array(F.collect_list(event)).alias("events"),
            F.sort_array(F.collect_list("event_time")).alias("event_times"),
            F.sort_array(F.collect_list(known_from)).alias("known_times"),
            F.collect_list("request_id").alias("named_requests"),
        )
    )
    known = F.slice(F.reverse(F.filter(_latest(), _known)), 1, LENGTH)
    # A date's requests are a file or two, so they would be as many tasks; a number is not coalesced again.
    tasks = parallelism(asked.sparkSession)
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


def trimmed(events: DataFrame, begin: datetime) -> DataFrame:
    """Drop the conversions that no request of the date can have in its history.

    What happened and was logged before the date began is known to all its requests, but to those it names. So of
    these only each user's last 50 can matter, and as many more as name one request. That bounds a user's list by
    what moved on the date itself, however active the user.
    """
    settled = (F.col("event_time") < F.lit(begin)) & (F.col("logged_time") <= F.lit(begin))
    newest = Window.partitionBy("user_id", "settled").orderBy(F.desc("event_time"), F.desc("event_id"))
    of_request, of_user = (
        Window.partitionBy("user_id", "settled", "request_id"),
        Window.partitionBy("user_id", "settled"),
    )
    return (
        events.withColumn("settled", settled)
        .withColumn("place", F.row_number().over(newest))
        .withColumn("names_alike", F.count("request_id").over(of_request))
        .withColumn("most_alike", F.max("names_alike").over(of_user))
        .where(~F.col("settled") | (F.col("place") <= LENGTH + F.col("most_alike")))
    )


def _latest() -> Column:
    """The part of the user's events that holds the last 50 known at the request, found without a look at each.

    Of the events before the request, in their order, the last 50 of n known ones come after the first n - 50. Those
    that name the request do not count.
    """
    naming = F.size("named_requests") - F.size(F.array_remove("named_requests", F.col("request_id")))
    before = _count_below("event_times", F.col("request_time"))
    known = _count_below("known_times", F.col("request_time") + F.lit(_TICK))
    first = F.greatest(F.lit(1), known - naming - LENGTH + 1)
    return F.slice("events", first, before - first + 1)


def _count_below(times: str, bound: Column) -> Column:
    """How many of the ascending times are below the bound: its place among them, which Spark compiles to find."""
    never_null = F.coalesce(bound, F.timestamp_seconds(F.lit(0)))  # lets Spark sort bare numbers
    return F.array_position(F.sort_array(F.concat(times, F.array(never_null))), never_null).cast("int") - 1


def _known(event: Column) -> Column:
    asked = F.col("request_time")
    recent = event.event_time >= asked - F.expr(f"INTERVAL {DAYS} DAYS")
    other = ~F.coalesce(event.named == F.col("request_id"), F.lit(False))
    return recent & (event.event_time < asked) & (event.logged_time <= asked) & other


if __name__ == "__main__":
    cli.run("build_user_histories", arg_parser().parse_args(), main, stale)
