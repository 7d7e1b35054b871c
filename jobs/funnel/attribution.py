"""Which target request a conversion belongs to, and which of its actions is the strongest."""

from datetime import date, datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.funnel.columns import union
from schemas.storage.days import bounds, dates_between, local_date
from schemas.storage.spark import refuse
from schemas.vocabulary import CLOCK_SKEW, Action, Attribution

_EVENT = ("event_id", "user_id", "item_id", "action", "event_time", "scenario", "request_id")
_TICK = timedelta(microseconds=1)


def window_end(day: date, window_hours: int, time_zone: str) -> datetime:
    """The instant at which the last window that can open on a date ends."""
    return bounds(day, time_zone)[1] + timedelta(hours=window_hours)


def conversion_dates(day: date, window_hours: int, time_zone: str) -> list[date]:
    """The dates whose conversions can belong to a request of `day`."""
    first, last = bounds(day, time_zone)[0] - CLOCK_SKEW, window_end(day, window_hours, time_zone) - _TICK
    return dates_between(local_date(first, time_zone), local_date(last, time_zone))


def request_dates(day: date, window_hours: int, time_zone: str) -> list[date]:
    """The dates whose requests can have a conversion that could otherwise belong to a request of `day`."""
    first = bounds(day, time_zone)[0] - CLOCK_SKEW - timedelta(hours=window_hours)
    last = window_end(day, window_hours, time_zone) + CLOCK_SKEW
    return dates_between(local_date(first, time_zone), local_date(last, time_zone))


def attribute(conversions: DataFrame, requests: DataFrame, window_hours: int, attribution: str) -> DataFrame:
    """Give each conversion to the target requests it belongs to.

    A conversion may name a request that is up to five minutes later: the two clocks may differ by that.

    Args:
        conversions: columns of the table `conversions`.
        requests: target requests only: request_id, user_id, request_time.
        window_hours: length of a request's window, [request_time, request_time + window).
        attribution: an `Attribution`.

    Returns:
        One row per conversion and request it belongs to, and one row with a null request_id for a conversion
        that belongs to none: request_id, request_time, event_id, user_id, item_id, action, event_time, scenario, and
        `named`, whether the conversion itself named the request.
    """
    targets = requests.select("request_id", "user_id", "request_time")
    named = _named(conversions.select(*_EVENT), targets, window_hours)
    known = named.where("named")
    rest = named.where(~F.col("named")).drop("request_time")
    belonging = _last if attribution == Attribution.LAST_REQUEST else _every
    unnamed = belonging(rest, targets, window_hours)
    columns = ["request_id", "request_time", *(name for name in _EVENT if name != "request_id"), "named"]
    return known.select(*columns).unionByName(unnamed.select(*columns))


def of_date(attributed: DataFrame, day: date, time_zone: str) -> DataFrame:
    """Of what `attribute` returns the conversions that belong to a request of this date."""
    begin, end = bounds(day, time_zone)
    return attributed.where((F.col("request_time") >= F.lit(begin)) & (F.col("request_time") < F.lit(end)))


def in_window(window_hours: int, skew: timedelta = timedelta(0)) -> Column:
    """Whether event_time lies in the request's window, lower bound included, upper bound not.

    Args:
        skew: how much earlier than the request event_time may be.
    """
    end = F.col("request_time") + F.expr(f"INTERVAL {window_hours} HOURS")
    return (F.col("event_time") + F.lit(skew) >= F.col("request_time")) & (F.col("event_time") < end)


def strength(action: Column) -> Column:
    """4 for a purchase down to 1 for a click; null for no action; fails on an unknown one."""
    chosen = F.when(action.isNull(), None)
    for known in Action:
        chosen = chosen.when(action == known.value, F.lit(known.strength))
    return chosen.otherwise(refuse(F.concat(F.lit("unknown action "), action)).cast("int"))


def strongest(counted: Column | None = None) -> Column:
    """Aggregates conversions to their strongest action: a struct of weakness, action_time, event_id, action, scenario.

    Of equally strong actions the earliest counts, then the smaller event_id; a row without an action does not count,
    nor does one for which `counted` does not hold.
    """
    order = F.struct(
        (-strength(F.col("action"))).alias("weakness"),
        F.col("event_time").alias("action_time"),
        "event_id",
        "action",
        "scenario",
    )
    acted = F.col("action").isNotNull()
    return F.min(F.when(acted if counted is None else acted & counted, order))


def _named(events: DataFrame, targets: DataFrame, window_hours: int) -> DataFrame:
    # A request_id is unique within a date only, and the targets are of several: the user's latest that had it counts.
    claims = targets.groupBy("request_id", "user_id").agg(F.collect_list("request_time").alias("times"))
    # Most events name no request: a join would bring them all to the task that has the null key.
    joined = events.where("request_id IS NOT NULL").join(claims, on=["request_id", "user_id"], how="left")
    so_far = F.filter("times", lambda time: time <= F.col("event_time") + F.lit(CLOCK_SKEW))
    joined = joined.withColumn("request_time", F.array_max(so_far)).drop("times")
    joined = joined.withColumn("named", F.coalesce(in_window(window_hours, CLOCK_SKEW), F.lit(False)))
    without = events.where("request_id IS NULL").withColumn("named", F.lit(False))
    return union(joined, without)


def _last(events: DataFrame, targets: DataFrame, window_hours: int) -> DataFrame:
    """The latest request of the user at or before the event, if its window still holds.

    Requests and events go through one sort per user, so a user with very many of both costs a sort and no product.
    """
    absent = {name: F.lit(None).cast(events.schema[name].dataType) for name in _EVENT if name != "user_id"}
    asked = targets.select(
        "user_id",
        F.col("request_time").alias("time"),
        F.lit(0).alias("kind"),
        F.struct("request_time", "request_id").alias("request"),
        *(column.alias(name) for name, column in absent.items()),
    )
    acted = events.select(
        "user_id",
        F.col("event_time").alias("time"),
        F.lit(1).alias("kind"),
        F.lit(None).cast(asked.schema["request"].dataType).alias("request"),
        *absent,
    )
    so_far = Window.partitionBy("user_id").orderBy("time", "kind", "request.request_id")
    latest = F.last("request", ignorenulls=True).over(so_far.rowsBetween(Window.unboundedPreceding, 0))
    found = asked.unionByName(acted).withColumn("latest", latest).where("kind = 1")
    found = found.withColumn("request_time", F.col("latest.request_time"))
    request_id = F.when(in_window(window_hours), F.col("latest.request_id"))
    found = found.withColumn("request_id", request_id).withColumn("named", F.lit(False))
    return found.withColumn("request_time", F.when(F.col("request_id").isNotNull(), F.col("request_time")))


def _every(events: DataFrame, targets: DataFrame, window_hours: int) -> DataFrame:
    events = events.drop("request_id")
    matches = targets.withColumnRenamed("user_id", "asking_user")
    belongs = (F.col("user_id") == F.col("asking_user")) & in_window(window_hours)
    return events.join(matches, on=belongs, how="left").drop("asking_user")
