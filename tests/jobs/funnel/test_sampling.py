"""Inclusion probabilities against plain arithmetic, and the keyed uniform."""

import pytest
from pyspark.sql import functions as F

from jobs.funnel.sampling import bind, capped_factor, inverse_probability, uniform


def test_inclusion_probabilities_by_hand(spark):
    """count 2. [4,1,1]: c=2/6 gives 4/3 > 1, so 4 is capped; 1 left over weights 1+1: c = 1/2.
    [3,3,3,3]: c = 2/12, each 1/2. [5,1]: no more than count, each 1. [9,9,1]: c = 2/19 caps nothing,
    since 9 c = 18/19: 18/19, 18/19, 2/19."""
    rows = [([4.0, 1.0, 1.0],), ([3.0] * 4,), ([5.0, 1.0],), ([9.0, 9.0, 1.0],)]
    frame = spark.createDataFrame(rows, "weights array<double>")

    def probabilities(factor):
        return F.transform("weights", lambda weight: 1 / inverse_probability(1 / weight, factor))

    found = [row[0] for row in frame.select(bind(capped_factor(F.col("weights"), 2), probabilities)).collect()]
    assert found[0] == pytest.approx([1, 0.5, 0.5])
    assert found[1] == pytest.approx([0.5] * 4)
    assert found[2] == [1, 1]
    assert found[3] == pytest.approx([18 / 19, 18 / 19, 2 / 19])


def test_uniform_is_keyed_and_uniform(spark):
    frame = spark.range(20_000).select(
        uniform(1, F.lit("r"), F.col("id")).alias("a"), uniform(2, F.lit("r"), F.col("id")).alias("b")
    )
    mean, low, high, both = frame.agg(
        F.avg("a"), F.min("a"), F.max("a"), F.avg((F.col("a") < 0.5).cast("int") * (F.col("b") < 0.5).cast("int"))
    ).first()
    assert 0 < low < high < 1
    assert mean == pytest.approx(0.5, abs=0.01)  # 5 standard deviations of a mean of 20,000
    assert both == pytest.approx(0.25, abs=0.016)  # two seeds are independent
