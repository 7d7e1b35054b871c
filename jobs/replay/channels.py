"""Four simulated retrieval channels, fitted on the events of the days before a date.

`hot`       the most used items
`item_cf`   items used together with the user's latest ones, by cosine
`als`       implicit matrix factorisation (after Hu, Koren and Volinsky 2008), Spark MLlib's
`own`       the user's own items, latest first

A score is rounded to a millionth and equal scores are in the order of item_id, so that the lists do not hang on
the last bit of a sum.
"""

from dataclasses import dataclass

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.settings import Settings

HOT, ITEM_CF, ALS_CHANNEL, OWN = "hot", "item_cf", "als", "own"
CHANNELS = (HOT, ITEM_CF, ALS_CHANNEL, OWN)


@dataclass(frozen=True)
class Channels:
    """What was learned from the days before a date.

    items: item_id, uses (events on it), category_id
    histories: user_id, items: array<struct<time, item_id, uses>>, latest first
    neighbours: item_id, neighbours: array<struct<similarity, item_id>>
    """

    items: DataFrame
    histories: DataFrame
    neighbours: DataFrame
    als: ALSModel

    def forget(self) -> None:
        for frame in (self.items, self.histories, self.neighbours):
            frame.unpersist()


def fit(past: DataFrame, settings: Settings) -> Channels:
    """Fit every channel on `past`: user_id, item_id, category_id, event_time of the earlier days only."""
    items = past.groupBy("item_id").agg(F.count("*").alias("uses"), F.min("category_id").alias("category_id"))
    items = items.persist()
    histories = _histories(past, settings).persist()
    return Channels(items, histories, _neighbours(histories, settings).persist(), _als(histories, items, settings))


def retrieve(channels: Channels, users: DataFrame, settings: Settings) -> DataFrame:
    """What each channel has for each user: user_id, channel, items array<struct<item_id, score float>>, best first.

    A channel without an item for a user has no row.
    """
    known = channels.histories.join(users, on="user_id", how="left_semi")
    hot = channels.items.orderBy(F.desc("uses"), "item_id").limit(settings.channel_size)
    hot = hot.agg(_best("item_id", "uses", settings.channel_size).alias("items"))
    lists = [
        users.crossJoin(F.broadcast(hot)).withColumn("channel", F.lit(HOT)),
        _from_neighbours(known, channels.neighbours, settings).withColumn("channel", F.lit(ITEM_CF)),
        _from_factors(channels.als, known, settings.channel_size).withColumn("channel", F.lit(ALS_CHANNEL)),
        known.select("user_id", _own(settings.own_items).alias("items"), F.lit(OWN).alias("channel")),
    ]
    frame = lists[0].select("user_id", "channel", "items")
    for further in lists[1:]:
        frame = frame.unionByName(further.select("user_id", "channel", "items"))
    return frame


def _histories(past: DataFrame, settings: Settings) -> DataFrame:
    """Each user's latest distinct items."""
    used = past.groupBy("user_id", "item_id").agg(F.max("event_time").alias("time"), F.count("*").alias("uses"))
    latest = F.sort_array(F.collect_list(F.struct("time", "item_id", "uses")), asc=False)
    return used.groupBy("user_id").agg(F.slice(latest, 1, settings.history_length).alias("items"))


def _neighbours(histories: DataFrame, settings: Settings) -> DataFrame:
    """Cosine of two items' sets of users: together / sqrt(users of one x users of the other).

    Pairs come from inside each user's own array, so that no join is needed and no user gives more than
    paired_items squared of them.
    """
    latest = F.slice("items.item_id", 1, settings.paired_items)
    baskets = histories.select(latest.alias("basket"))
    one = baskets.select(F.explode("basket").alias("item_id"), "basket")
    counts = one.groupBy("item_id").agg(F.count("*").alias("users"))
    pairs = one.select("item_id", F.explode("basket").alias("other")).where("item_id <> other")
    together = pairs.groupBy("item_id", "other").agg(F.count("*").alias("together"))
    other = counts.select(F.col("item_id").alias("other"), F.col("users").alias("other_users"))
    cosine = F.round(F.col("together") / F.sqrt(F.col("users") * F.col("other_users")), 6)
    similar = together.join(counts, on="item_id", how="inner").join(other, on="other", how="inner")
    similar = similar.select("item_id", "other", cosine.alias("similarity"))
    nearest = Window.partitionBy("item_id").orderBy(F.desc("similarity"), "other")
    kept = similar.withColumn("rank", F.row_number().over(nearest)).where(F.col("rank") <= settings.neighbours)
    return kept.groupBy("item_id").agg(
        F.collect_list(F.struct("similarity", F.col("other").alias("item_id"))).alias("neighbours")
    )


def _from_neighbours(known: DataFrame, neighbours: DataFrame, settings: Settings) -> DataFrame:
    """Neighbours of the user's latest items; a score sums similarity / sqrt(how recent the item is, 1 = latest)."""
    triggers = known.select("user_id", F.posexplode(F.slice("items.item_id", 1, settings.trigger_items)))
    triggers = triggers.select("user_id", F.col("col").alias("item_id"), F.sqrt(F.col("pos") + 1).alias("age"))
    found = triggers.join(neighbours, on="item_id", how="inner")
    found = found.select("user_id", "age", F.explode("neighbours").alias("near"))
    score = F.round(F.sum(F.col("near.similarity") / F.col("age")), 6)
    scored = found.groupBy("user_id", F.col("near.item_id").alias("item_id")).agg(score.alias("score"))
    return scored.groupBy("user_id").agg(_best("item_id", "score", settings.channel_size).alias("items"))


def _als(histories: DataFrame, items: DataFrame, settings: Settings) -> ALSModel:
    """Strength is the number of events; only the most used items take part."""
    kept = items.orderBy(F.desc("uses"), "item_id").limit(settings.als_items).select("item_id")
    used = histories.select("user_id", F.explode("items").alias("used"))
    ratings = used.select("user_id", "used.item_id", F.col("used.uses").cast("float").alias("uses"))
    estimator = ALS(
        userCol="user_id",
        itemCol="item_id",
        ratingCol="uses",
        implicitPrefs=True,
        rank=settings.als_rank,
        maxIter=settings.als_iterations,
        alpha=settings.als_alpha,
        regParam=settings.als_regularization,
        numUserBlocks=4,
        numItemBlocks=4,
        seed=settings.seed,
    )
    return estimator.fit(ratings.join(kept, on="item_id", how="left_semi"))


def _from_factors(model: ALSModel, known: DataFrame, size: int) -> DataFrame:
    found = model.recommendForUserSubset(known.select("user_id"), size)
    scored = F.transform(
        "recommendations",
        lambda one: F.struct(
            (-F.round(one["rating"].cast("double"), 6)).alias("worse"), one["item_id"].cast("bigint").alias("item_id")
        ),
    )
    return found.select(F.col("user_id").cast("bigint").alias("user_id"), _ordered(scored).alias("items"))


def _own(size: int) -> Column:
    """The user's latest items; the score is 1 / rank."""
    return F.transform(
        F.slice("items", 1, size),
        lambda one, at: F.struct(one["item_id"].alias("item_id"), (1.0 / (at + 1)).cast("float").alias("score")),
    )


def _best(item: str, score: str, size: int) -> Column:
    """The group's best items as array<struct<item_id, score>>, equal scores by item_id."""
    worse = (-F.col(score).cast("double")).alias("worse")
    return F.slice(_ordered(F.collect_list(F.struct(worse, F.col(item).alias("item_id")))), 1, size)


def _ordered(scored: Column) -> Column:
    """array<struct<worse double, item_id>>, negated scores, as array<struct<item_id, score>>, best first."""
    return F.transform(
        F.sort_array(scored),
        lambda one: F.struct(one["item_id"].alias("item_id"), (-one["worse"]).cast("float").alias("score")),
    )
