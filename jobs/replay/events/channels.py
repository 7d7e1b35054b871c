"""What four simulated retrieval channels learn from the events of the days before a date.

`hot`       the most used items
`item_cf`   items used together with the user's latest ones, by cosine
`als`       implicit matrix factorisation (after Hu, Koren and Volinsky 2008), Spark MLlib's
`own`       the user's own items, latest first
"""

from dataclasses import dataclass

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.events.cascade import Catalogue
from jobs.replay.settings import Settings


@dataclass(frozen=True)
class Channels:
    """Fitted channels.

    histories: user_id, items array<struct<time, item_id, uses, users, category_id>>, latest first; uses, users and
        category_id are the item's, not the user's
    neighbours: item_id, neighbours array<struct<similarity, item_id, uses, category_id>>
    user_factors: user_id, factors array<float>
    catalogue: the hot items and ALS's, few enough for one machine
    """

    histories: DataFrame
    neighbours: DataFrame
    user_factors: DataFrame
    catalogue: Catalogue

    def forget(self) -> None:
        for frame in (self.histories, self.neighbours):
            frame.unpersist()


def fit(past: DataFrame, settings: Settings) -> Channels:
    """Fit every channel on `past`: user_id, item_id, category_id, event_time of the earlier days only."""
    used = past.groupBy("user_id", "item_id").agg(
        F.max("event_time").alias("time"), F.count("*").alias("times"), F.min("category_id").alias("category_id")
    )
    used = used.persist()
    items = used.groupBy("item_id").agg(
        F.sum("times").alias("uses"), F.count("*").alias("users"), F.min("category_id").alias("category_id")
    )
    most_used = items.orderBy(F.desc("uses"), "item_id").limit(settings.als_items).toArrow()
    histories = _histories(used, items, settings).persist()
    model = _als(used, most_used.column("item_id").to_pylist(), settings)
    catalogue = Catalogue.of(most_used, model.itemFactors.toArrow(), settings.channel_size)
    used.unpersist()
    return Channels(
        histories,
        _neighbours(histories, settings).persist(),
        model.userFactors.select(F.col("id").cast("bigint").alias("user_id"), F.col("features").alias("factors")),
        catalogue,
    )


def questions(channels: Channels, users: DataFrame, settings: Settings) -> DataFrame:
    """What the channels know of each user, a row a user; a null list or null factors where nothing is known.

    The columns of users (user_id, unique, and any others);
    own array<struct<item_id, category_id, uses>>, latest first;
    near array<struct<item_id, part, uses, category_id>>, the neighbours of the latest items, not yet summed;
    factors array<float>.
    """
    known = users.join(channels.histories, on="user_id", how="left")
    known = known.join(channels.user_factors, on="user_id", how="left").select(
        *users.columns,
        "factors",
        F.transform("items", lambda one: F.struct(one["item_id"], one["category_id"], one["uses"])).alias("own"),
        F.posexplode_outer(F.slice("items.item_id", 1, settings.trigger_items)).alias("age", "item_id"),
    )
    part = F.transform(
        "neighbours",
        lambda one: F.struct(
            one["item_id"].alias("item_id"),
            (one["similarity"] / F.sqrt(F.col("age") + 1)).alias("part"),
            one["uses"].alias("uses"),
            one["category_id"].alias("category_id"),
        ),
    )
    triggered = known.join(channels.neighbours, on="item_id", how="left")
    kept = [name for name in (*users.columns, "own", "factors") if name != "user_id"]
    return triggered.groupBy("user_id").agg(
        F.flatten(F.collect_list(part)).alias("near"), *(F.first(name).alias(name) for name in kept)
    )


def _histories(used: DataFrame, items: DataFrame, settings: Settings) -> DataFrame:
    """Each user's latest distinct items, with what is known of each item."""
    known = used.select("user_id", "item_id", "time").join(items, on="item_id", how="inner")
    latest = F.sort_array(F.collect_list(F.struct("time", "item_id", "uses", "users", "category_id")), asc=False)
    return known.groupBy("user_id").agg(F.slice(latest, 1, settings.history_length).alias("items"))


def _neighbours(histories: DataFrame, settings: Settings) -> DataFrame:
    """Cosine of two items' sets of users: together / sqrt(users of one x users of the other).

    Pairs come from inside each user's own array, so that no user gives more than paired_items squared of them.
    """
    basket = histories.select(F.slice("items", 1, settings.paired_items).alias("basket"))
    pairs = basket.select(F.explode("basket").alias("one"), "basket")
    pairs = pairs.select("one", F.explode("basket").alias("other")).where("one.item_id <> other.item_id")
    similarity = F.round(F.count("*") / F.sqrt(F.first("one.users") * F.first("other.users")), 6)
    similar = pairs.groupBy(F.col("one.item_id").alias("item_id"), F.col("other.item_id").alias("other_id")).agg(
        similarity.alias("similarity"),
        F.first("other.uses").alias("uses"),
        F.first("other.category_id").alias("category_id"),
    )
    nearest = Window.partitionBy("item_id").orderBy(F.desc("similarity"), "other_id")
    kept = similar.withColumn("rank", F.row_number().over(nearest)).where(F.col("rank") <= settings.neighbours)
    return kept.groupBy("item_id").agg(
        F.collect_list(F.struct("similarity", F.col("other_id").alias("item_id"), "uses", "category_id")).alias(
            "neighbours"
        )
    )


def _als(used: DataFrame, most_used: list[int], settings: Settings) -> ALSModel:
    """A rating is how often the user used the item; only the most used items take part."""
    blocks = int(used.sparkSession.conf.get("spark.sql.shuffle.partitions"))
    estimator = ALS(
        userCol="user_id",
        itemCol="item_id",
        ratingCol="times",
        implicitPrefs=True,
        rank=settings.als_rank,
        maxIter=settings.als_iterations,
        alpha=settings.als_alpha,
        regParam=settings.als_regularization,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        seed=settings.seed,
    )
    kept = used.sparkSession.createDataFrame([(item,) for item in most_used], "item_id bigint")
    ratings = used.select("user_id", "item_id", F.col("times").cast("float").alias("times"))
    return estimator.fit(ratings.join(F.broadcast(kept), on="item_id", how="left_semi"))
