"""Simulated channels, and simulated stages before the list, of requests whose lists were really shown.

Known to a request: its city, what its user did before it, and all that was logged before the UTC hour it falls in, as
by a system that learns every hour: a log of few dates has none to spare for learning.

`city_hot`      the items of the city most acted on
`city_shown`    the items most often in lists of the city
`co_clicked`    items that most users had acted on as well as on one of the user's latest ones
`own`           the user's own items, latest first
"""

from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.settings import ListSettings
from schemas.vocabulary import Stage

CITY_HOT, CITY_SHOWN, CO_CLICKED, OWN = "city_hot", "city_shown", "co_clicked", "own"


def retrievals(asked: DataFrame, lists: DataFrame, done: DataFrame, day: date, settings: ListSettings) -> DataFrame:
    """The columns of retrievals, a row for each channel that finds anything.

    Args:
        asked: the date's requests, as lists_shown.requests_of gives them.
        lists: every request, of which only lists logged before count.
        done: as lists_shown.conversions_of gives them, of which only earlier ones count.
        day: the date.
    """
    end = datetime.combine(day + timedelta(1), datetime.min.time(), UTC)
    done = done.where(F.col("logged_time") < F.lit(end)).withColumn("known_from", known_from(day))
    lists = lists.where(F.col("logged_time") < F.lit(end)).withColumn("known_from", known_from(day))
    asked = asked.select("request_id", "user_id", "city_id", "request_time", _hour("request_time").alias("hour"))
    own = _own(asked, done)
    listed = lists.select("city_id", F.explode("shown").alias("item_id"), "known_from")
    found = {
        CITY_HOT: _of_city(asked, done, settings.channel_size),
        CITY_SHOWN: _of_city(asked, listed, settings.channel_size),
        CO_CLICKED: _co_clicked(own, done, settings),
        OWN: _latest(own, settings.own_items),
    }
    rows = None
    for channel, frame in found.items():
        one = frame.select("request_id", F.lit(channel).alias("channel"), "item_ids", "scores")
        rows = one if rows is None else rows.unionByName(one)
    return rows


def stages(asked: DataFrame, retrieved: DataFrame, settings: ListSettings) -> DataFrame:
    """The columns of stages: what pre-ranking and ranking let through, simulated, and re-ranking's list, the real one.

    Pre-ranking orders by reciprocal rank fusion (Cormack, Clarke and Buettcher 2009): the sum over channels of
    1 / (60 + position), 0 where no channel has the item. It keeps its best and, since they were shown, those of the
    list. No ranker is simulated: ranking has the list as it was shown, then the others in pre-ranking's order.
    """
    placed = retrieved.select("request_id", F.posexplode("item_ids").alias("place", "item_id"))
    parts = F.round(F.sum(1 / (F.col("place") + 1 + settings.fusion)), 6)
    fused = _best(placed.groupBy("request_id", "item_id").agg(parts.alias("score")), ["request_id"])
    fused = asked.select("request_id", F.array_distinct("shown").alias("shown")).join(fused, "request_id", how="left")
    best = F.coalesce("best", F.array().cast("array<struct<below:double,item_id:bigint>>"))
    others = F.filter(best, lambda one: ~F.array_contains("shown", one["item_id"]))
    found = F.filter(best, lambda one: F.array_contains("shown", one["item_id"]))
    missed = F.array_except("shown", F.transform(found, lambda one: one["item_id"]))
    missed = F.transform(missed, lambda item: F.struct(F.lit(0.0).alias("below"), item.alias("item_id")))
    cut = fused.withColumn("others", F.slice(others, 1, settings.pre_ranked))
    cut = cut.withColumn("kept", F.array_sort(F.concat("others", found, missed)))
    none = F.array().cast("array<float>")
    logged = {
        Stage.PRE_RANKING: (_items("kept"), _scores("kept")),
        Stage.RANKING: (F.concat("shown", _items("others")), none),
        Stage.RE_RANKING: (F.col("shown"), none),
    }
    rows = F.array(
        *(
            F.struct(F.lit(str(stage)).alias("stage"), items.alias("item_ids"), scores.alias("scores"))
            for stage, (items, scores) in logged.items()
        )
    )
    return cut.select("request_id", F.inline(rows))


def known_from(day: date) -> Column:
    """The start of the hour after logged_time's; of what was logged before the date, the date's start, so as one."""
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    return F.greatest(_hour("logged_time") + F.make_dt_interval(hours=F.lit(1)), F.lit(midnight))


def _of_city(asked: DataFrame, seen: DataFrame, size: int) -> DataFrame:
    """The items of the request's city by how often they are in `seen`: city_id, item_id, known_from."""
    counted = seen.groupBy("city_id", "item_id", "known_from").agg(F.count("*").alias("times"))
    places = asked.select("city_id", "hour").distinct()
    known = places.join(counted, "city_id", how="inner").where(F.col("known_from") <= F.col("hour"))
    scored = known.groupBy("city_id", "hour", "item_id").agg(F.sum("times").cast("double").alias("score"))
    best = _best(scored, ["city_id", "hour"], size)
    return _listed(asked.join(best, ["city_id", "hour"], how="inner"))


def _own(asked: DataFrame, done: DataFrame) -> DataFrame:
    """request_id, hour, item_id and age (1 = latest) of what the user acted on before the request."""
    theirs = done.select("user_id", "item_id", "event_time")
    before = asked.join(theirs, "user_id", how="inner").where(F.col("event_time") < F.col("request_time"))
    last = before.groupBy("request_id", "hour", "item_id").agg(F.max("event_time").alias("time"))
    age = F.row_number().over(Window.partitionBy("request_id").orderBy(F.desc("time"), "item_id"))
    return last.select("request_id", "hour", "item_id", age.alias("age"))


def _latest(own: DataFrame, size: int) -> DataFrame:
    """Each request's own items; the score is 1 / rank."""
    scored = own.where(F.col("age") <= size).withColumn("score", 1 / F.col("age"))
    return _listed(_best(scored, ["request_id"]))


def _co_clicked(own: DataFrame, done: DataFrame, settings: ListSettings) -> DataFrame:
    """Items by how many pairs of a user and one of the request's latest own items they were acted on with.

    A user's first items alone make pairs, inside the user's own array, so that no user gives more than paired_items
    squared of them, and which they are does not hang on what comes later.
    """
    first = done.groupBy("user_id", "item_id").agg(F.min(F.struct("event_time", "known_from")).alias("first"))
    used = F.sort_array(F.collect_list(F.struct("first.event_time", "item_id", "first.known_from")))
    baskets = first.groupBy("user_id").agg(F.slice(used, 1, settings.paired_items).alias("basket"))
    pairs = baskets.select(F.explode("basket").alias("one"), "basket")
    pairs = pairs.select("one", F.explode("basket").alias("other")).where("one.item_id <> other.item_id")
    counted = pairs.groupBy(
        F.col("one.item_id").alias("item_id"),
        F.col("other.item_id").alias("other_id"),
        F.greatest("one.known_from", "other.known_from").alias("known_from"),
    ).agg(F.count("*").alias("together"))
    triggers = own.where(F.col("age") <= settings.trigger_items)
    near = triggers.join(counted, "item_id", how="inner").where(F.col("known_from") <= F.col("hour"))
    scored = near.groupBy("request_id", F.col("other_id").alias("item_id")).agg(
        F.sum("together").cast("double").alias("score")
    )
    return _listed(_best(scored, ["request_id"], settings.channel_size))


def _best(scored: DataFrame, by: list[str], size: int | None = None) -> DataFrame:
    """`best` array<struct<below, item_id>> of each group: greatest score first, then smaller item; below = -score."""
    every = F.sort_array(F.collect_list(F.struct((-F.col("score")).alias("below"), "item_id")))
    return scored.groupBy(*by).agg((every if size is None else F.slice(every, 1, size)).alias("best"))


def _listed(rows: DataFrame) -> DataFrame:
    return rows.select("request_id", _items("best").alias("item_ids"), _scores("best").alias("scores"))


def _items(best: str) -> Column:
    return F.transform(best, lambda one: one["item_id"])


def _scores(best: str) -> Column:
    return F.transform(best, lambda one: 0.0 - one["below"]).cast("array<float>")


def _hour(time: str) -> Column:
    return F.date_trunc("hour", F.col(time))
