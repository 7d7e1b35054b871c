"""Choices that are a pure function of (seed, request_id, item_id): the same on any cluster, in any order."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def uniform(seed: int, request_id: Column, item_id: Column) -> Column:
    """A number in (0, 1), the same for the same seed, request and item, from 52 bits of a keyed hash."""
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(seed), request_id, item_id), 12)
    return (bits.cast("double") + 0.5) / F.lit(float(2**52))


def inclusion_probabilities(weights: Column, count: int) -> Column:
    """min(1, c w) for each weight, c such that they sum to `count`; 1 for each if there are no more than that.

    Args:
        weights: array<double>, largest first, all above 0.

    The items capped at 1 are the k heaviest; k is the smallest number for which c no longer caps the next one.
    """
    share = F.transform(F.sequence(F.lit(0), F.lit(count - 1)), lambda k: _share(weights, count, k))
    fits = F.filter(share, lambda s: s.factor * s.heaviest <= 1.0)
    factor = F.get(fits, F.lit(0)).factor
    capped = F.transform(weights, lambda w: F.least(F.lit(1.0), factor * w))
    return F.when(F.size(weights) <= count, F.transform(weights, lambda w: F.lit(1.0))).otherwise(capped)


def pareto_key(chance: Column, probability: Column) -> Column:
    """The smallest keys of a request are its sample: Pareto sampling (Rosen 1997), of fixed size without replacement.

    An item is included with its probability up to a small error that vanishes as the sample grows.

    Args:
        chance: uniform in (0, 1).
        probability: the inclusion probability aimed at; an item with 1 is always in.
    """
    odds = (chance / (1 - chance)) / (probability / (1 - probability))
    return F.when(probability >= 1, F.lit(0.0)).otherwise(odds)


def _share(weights: Column, count: int, capped: Column) -> Column:
    """With the first `capped` items at 1: the factor c for the others, and the heaviest of them."""
    others = F.slice(weights, capped + 1, F.size(weights))
    total = F.aggregate(others, F.lit(0.0), lambda sum_, weight: sum_ + weight)
    return F.struct(
        F.try_divide(F.lit(count) - capped, total).alias("factor"), F.get(others, F.lit(0)).alias("heaviest")
    )
