"""Choices that are a pure function of (seed, request_id, item_id): the same on any cluster, in any order."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F


def bind(value: Column, body: Callable[[Column], Column]) -> Column:
    """body(value), with the value computed once a row.

    Without it Spark copies the value's expression to each place where the body uses it, inside lambdas too,
    where it would run again for every element.
    """
    return F.get(F.transform(F.array(value), body), F.lit(0))


def uniform(seed: int, request_id: Column, item_id: Column) -> Column:
    """A number in (0, 1), the same for the same seed, request and item, from 52 bits of a keyed hash."""
    bits = F.shiftrightunsigned(F.xxhash64(F.lit(seed), request_id, item_id), 12)
    return (bits.cast("double") + 0.5) / F.lit(float(2**52))


def capped_factor(weights: Column, count: int) -> Column:
    """c such that the inclusion probabilities min(1, c w) sum to `count`; null if there are no more than that.

    Args:
        weights: array<double>, largest first, all above 0.

    The items capped at 1 are the k heaviest; k is the smallest number for which c no longer caps the next one.
    """

    def factor(weights: Column) -> Column:
        shares = F.transform(F.sequence(F.lit(0), F.lit(count - 1)), lambda capped: _share(weights, count, capped))
        return F.get(F.filter(shares, lambda share: share.factor * share.heaviest <= 1.0), F.lit(0)).factor

    return bind(weights, lambda weights: F.when(F.size(weights) > count, factor(weights)))


def inclusion_probability(weight: Column, factor: Column) -> Column:
    """min(1, c w); 1 where there was no need to choose."""
    return F.when(factor.isNull(), F.lit(1.0)).otherwise(F.least(F.lit(1.0), factor * weight))


def pareto_key(chance: Column, probability: Column) -> Column:
    """The smallest keys of a request are its sample: Pareto sampling (Rosen 1997), of fixed size without replacement.

    An item is included with its probability up to a small error that vanishes as the sample grows.

    Args:
        chance: uniform in (0, 1).
        probability: the inclusion probability aimed at; an item with 1 is always in.
    """
    odds = F.try_divide(chance * (1 - probability), (1 - chance) * probability)
    return F.when(probability >= 1, F.lit(0.0)).otherwise(odds)


def _share(weights: Column, count: int, capped: Column) -> Column:
    """With the first `capped` items at 1: the factor c for the others, and the heaviest of them."""
    others = F.slice(weights, capped + 1, F.size(weights))
    total = F.aggregate(others, F.lit(0.0), lambda sum_, weight: sum_ + weight)
    factor = F.try_divide(F.lit(count) - capped, total)
    return F.struct(factor.alias("factor"), F.get(weights, capped).alias("heaviest"))
