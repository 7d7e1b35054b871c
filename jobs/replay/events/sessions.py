"""Sessions of a user's events, the request at each one's start, and the request each event follows."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.settings import DAY, Settings
from schemas.vocabulary import HOMEPAGE


def with_requests(events: DataFrame, settings: Settings) -> DataFrame:
    """The events, each with its event_id, the request it starts (or null) and the latest request it follows.

    A session starts at a user's event that comes more than the gap after the one before, and its request is made
    one second earlier, so that the event falls into the request's window. With one request a day only the user's
    first session start of a UTC date makes one. `latest_request_time` is null where the user's latest request is
    the naming window or longer ago. Every window is by user: one shuffle of the log.
    """
    by_user = Window.partitionBy("user_id").orderBy("event_time", "item_id", "action")
    before = F.lag("event_time").over(by_user)
    gap = F.make_dt_interval(mins=F.lit(settings.session_gap_minutes))
    starts = before.isNull() | (F.col("event_time") - before > gap)
    made = events.withColumn("copy", _copy()).withColumn(
        "request_time", F.when(starts, F.col("event_time") - F.make_dt_interval(secs=F.lit(1)))
    )
    if settings.request_density == DAY:
        first = F.min("request_time").over(Window.partitionBy("user_id", F.to_date("request_time")))
        made = made.withColumn("request_time", F.when(F.col("request_time") == first, F.col("request_time")))
    latest = F.last("request_time", ignorenulls=True).over(by_user)
    reach = F.make_dt_interval(hours=F.lit(settings.naming_hours))
    return made.withColumn("latest_request_time", latest).select(
        event_id().alias("event_id"),
        "user_id",
        "item_id",
        "category_id",
        "action",
        "event_time",
        F.to_date("event_time").alias("date"),
        "request_time",
        F.when(F.col("event_time") < F.col("latest_request_time") + reach, F.col("latest_request_time")).alias(
            "latest_request_time"
        ),
    )


def requests_of(events: DataFrame) -> DataFrame:
    """request_id, user_id, scenario, request_time, and the request's UTC date."""
    return events.where(F.col("request_time").isNotNull()).select(
        request_id(F.col("request_time")).alias("request_id"),
        "user_id",
        F.lit(str(HOMEPAGE)).alias("scenario"),
        "request_time",
        F.to_date("request_time").alias("date"),
    )


def request_id(time: Column) -> Column:
    """`<user>-<yyyymmddHHMMSS>`; null without a time. A user's requests are never of one second."""
    return F.concat(F.col("user_id").cast("string"), F.lit("-"), F.date_format(time, "yyyyMMddHHmmss"))


def event_id() -> Column:
    """`<user>-<item>-<action>-<seconds>-<copy>`: what the log says of the event, and which of its copies it is."""
    return F.concat_ws("-", "user_id", "item_id", "action", F.unix_seconds("event_time"), "copy")


def _copy() -> Column:
    same = Window.partitionBy("user_id", "item_id", "action", "event_time").orderBy(F.col("category_id"))
    return F.row_number().over(same)
