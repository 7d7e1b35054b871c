"""The simulated ranker: a logistic regression (Spark MLlib) on what users did on one date."""

from dataclasses import dataclass

import numpy as np
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.replay.events.cascade import Candidates
from jobs.replay.settings import Settings


@dataclass(frozen=True)
class Ranker:
    """Weights of cascade.FEATURES, in that order; without any the pre-ranking score stands in."""

    weights: tuple[float, ...] = ()
    intercept: float = 0.0

    def score(self, kept: Candidates) -> np.ndarray:
        """P(the user acts on the item that day), up to the sampling of negatives; rounded to a billionth."""
        if not self.weights:
            return kept.pre_score
        logit = self.intercept + kept.features @ np.array(self.weights)
        return np.round(1 / (1 + np.exp(-logit)), 9)


def fit(examples: DataFrame, acted: DataFrame, settings: Settings) -> Ranker:
    """Learn which pre-ranked items of a day its users acted on that day; no weights if they acted on none.

    Args:
        examples: user_id, item_id, features array<double>, by channels fitted on the days before that day.
        acted: user_id, item_id of that day.
    """
    labels = acted.select("user_id", "item_id").distinct().withColumn("label", F.lit(1.0))
    rows = examples.join(labels, on=["user_id", "item_id"], how="left").fillna(0.0, subset=["label"])
    drawn = chance(settings.seed, "user_id", "item_id") < settings.ranker_negative_share
    rows = rows.where((F.col("label") == 1.0) | drawn).select("label", array_to_vector("features").alias("features"))
    rows = rows.coalesce(2).persist()
    seen = rows.agg(F.min("label").alias("least"), F.max("label").alias("most")).first()
    ranker = Ranker()
    if (seen["least"], seen["most"]) == (0.0, 1.0):
        model = LogisticRegression(maxIter=10, regParam=1e-3).fit(rows)
        ranker = Ranker(tuple(round(float(weight), 6) for weight in model.coefficients), round(model.intercept, 6))
    rows.unpersist()
    return ranker


def chance(seed: int, *ids: str | Column) -> Column:
    """A number in [0, 1) that depends on the seed and the ids alone."""
    return F.pmod(F.xxhash64(F.lit(seed), *ids), F.lit(1_000_003)) / 1_000_003
