"""The simulated stages after retrieval: pre-ranking, a ranker fitted on the day before, a re-ranker that spreads."""

from dataclasses import dataclass

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.channels import ALS_CHANNEL, CHANNELS, ITEM_CF, OWN, Channels
from jobs.replay.settings import Settings
from schemas.labels import Stage

FEATURES = ("item_cf", "als", "own", "popularity", "channels", "category")


@dataclass(frozen=True)
class Ranker:
    """A logistic regression on FEATURES, in that order."""

    coefficients: tuple[float, ...]
    intercept: float

    def probability(self) -> Column:
        """P(the user acts on the item that day), rounded to 1e-9."""
        terms = [F.col(name) * weight for name, weight in zip(FEATURES, self.coefficients, strict=True)]
        total = F.lit(self.intercept)
        for term in terms:
            total = total + term
        return F.round(1 / (1 + F.exp(-total)), 9)


def pre_rank(lists: DataFrame, channels: Channels, settings: Settings) -> DataFrame:
    """The candidates that pre-ranking lets through: user_id, item_id, channel, pre_score, pre_rank, FEATURES.

    A simple score, biased to popularity as real ones are: log(1 + uses), 1 at the most used item, plus half of how
    near the top of its best channel the item stands. `channel` is the channel that places the item highest.
    """
    most = channels.items.agg(F.log1p(F.max("uses")).alias("most"))
    exploded = lists.select("user_id", "channel", F.posexplode("items").alias("position", "one"))
    score = {
        name: F.coalesce(F.max(F.when(F.col("channel") == name, F.col("one.score").cast("double"))), F.lit(0.0))
        for name in (ITEM_CF, ALS_CHANNEL, OWN)
    }
    merged = exploded.groupBy("user_id", F.col("one.item_id").alias("item_id")).agg(
        F.min(F.struct("position", "channel")).alias("best"),
        (F.count("*") / len(CHANNELS)).alias("channels"),
        *(column.alias(name) for name, column in score.items()),
    )
    scored = merged.join(F.broadcast(channels.items.crossJoin(most)), on="item_id", how="inner").select(
        "user_id",
        "item_id",
        F.col("best.channel").alias("channel"),
        F.col("best.position").alias("position"),
        "category_id",
        "channels",
        *score,
        (F.log1p("uses") / F.col("most")).alias("popularity"),
    )
    near_top = F.greatest(F.lit(0.0), 1 - F.col("position") / settings.channel_size)
    scored = scored.withColumn("pre_score", F.round(F.col("popularity") + 0.5 * near_top, 6))
    best_first = Window.partitionBy("user_id").orderBy(F.desc("pre_score"), "item_id")
    kept = scored.withColumn("pre_rank", F.row_number().over(best_first))
    return _with_category_share(kept.where(F.col("pre_rank") <= settings.pre_ranked), channels)


def rank(pre_ranked: DataFrame, ranker: Ranker | None, settings: Settings) -> DataFrame:
    """user_id, stage, items array<struct<item_id, score>> for each of the three stages, best first.

    Without a ranker (nothing earlier to fit it on) the pre-ranking score orders the ranking stage as well. The
    re-ranker spreads: the best `spread` items of each channel come before any channel's next ones, in the ranking's
    order; the first `exposed` items are let through.
    """
    scored = pre_ranked.withColumn("score", ranker.probability() if ranker else F.col("pre_score"))
    order = (F.desc("score"), F.col("item_id"))
    in_channel = F.row_number().over(Window.partitionBy("user_id", "channel").orderBy(*order))
    turn = F.floor((in_channel - 1) / settings.spread)
    ranked = scored.withColumn("turn", turn).groupBy("user_id")
    pre, ranking, spread = (
        F.sort_array(F.collect_list(F.struct(*keys, "item_id", F.col(shown).cast("float").alias("score"))))
        for keys, shown in (
            ((F.col("pre_rank"),), "pre_score"),
            ((-F.col("score"),), "score"),
            ((F.col("turn"), -F.col("score")), "score"),
        )
    )
    stages = ranked.agg(
        pre.alias(Stage.PRE_RANKING), ranking.alias(Stage.RANKING), F.slice(spread, 1, settings.exposed).alias("last")
    )
    return stages.select(
        "user_id",
        F.inline(
            F.array(
                *(
                    F.struct(F.lit(str(stage)).alias("stage"), _shown(name).alias("items"))
                    for stage, name in (
                        (Stage.PRE_RANKING, Stage.PRE_RANKING),
                        (Stage.RANKING, Stage.RANKING),
                        (Stage.RE_RANKING, "last"),
                    )
                )
            )
        ),
    )


def fit_ranker(pre_ranked: DataFrame, acted: DataFrame, settings: Settings) -> Ranker | None:
    """Learn which pre-ranked items (of one day's users) the user acted on that day; None if none was.

    Args:
        pre_ranked: as pre_rank gives it, by channels fitted on days before that day.
        acted: user_id, item_id of that day.
    """
    labels = acted.select("user_id", "item_id").distinct().withColumn("label", F.lit(1.0))
    rows = pre_ranked.join(labels, on=["user_id", "item_id"], how="left").fillna(0.0, subset=["label"])
    lucky = chance(settings.seed, "user_id", "item_id") < settings.ranker_negative_share
    rows = rows.where((F.col("label") == 1.0) | lucky).select("label", *FEATURES)
    rows = VectorAssembler(inputCols=list(FEATURES), outputCol="features").transform(rows).persist()
    classes = {row["label"] for row in rows.select("label").distinct().collect()}
    if classes != {0.0, 1.0}:
        rows.unpersist()
        return None
    model = LogisticRegression(maxIter=20, regParam=1e-3).fit(rows.select("label", "features"))
    rows.unpersist()
    return Ranker(tuple(round(float(weight), 6) for weight in model.coefficients), round(float(model.intercept), 6))


def chance(seed: int, *ids: str) -> Column:
    """A number in [0, 1) that depends on the seed and the ids alone."""
    return (F.xxhash64(F.lit(seed), *ids) % 1_000_003 + 1_000_003) % 1_000_003 / 1_000_003


def _with_category_share(kept: DataFrame, channels: Channels) -> DataFrame:
    """`category`: the share of the user's history that is in the item's category; 0 where the log has none."""
    known = channels.items.where(F.col("category_id").isNotNull()).select("item_id", "category_id")
    used = channels.histories.select(
        "user_id", F.size("items").alias("of"), F.explode("items.item_id").alias("item_id")
    )
    used = used.join(known, on="item_id", how="inner")
    shares = used.groupBy("user_id", "category_id").agg((F.count("*") / F.first("of")).alias("category"))
    return kept.join(shares, on=["user_id", "category_id"], how="left").fillna(0.0, subset=["category"])


def _shown(name: str) -> Column:
    return F.transform(name, lambda one: F.struct(one["item_id"].alias("item_id"), one["score"].alias("score")))
