"""Choices that are a pure function of (seed, request_id, item_id): the same on any cluster, in any order."""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

HASH_BITS = 52  # what a double holds exactly with half a step to spare


def bind(value: Column, body: Callable[[Column], Column]) -> Column:
    """body(value), with the value computed once a row.

    Without it Spark copies the value's expression to each place where the body uses it, inside lambdas too,
    where it would run again for every element.
    """
    return F.get(F.transform(F.array(value), body), F.lit(0))


def keyed_hash(seed: int, request_id: Column, item_id: Column) -> Column:
    """A whole number below 2^52, the same for the same seed, request and item."""
    # shiftrightunsigned is the same number; Sail takes it by way of decimals, and hashes three times.
    shifted = F.shiftright(F.xxhash64(F.lit(seed), request_id, item_id), 64 - HASH_BITS)
    return shifted.bitwiseAND(F.lit(2**HASH_BITS - 1))


def uniform(seed: int, request_id: Column, item_id: Column) -> Column:
    """A number in (0, 1), from `keyed_hash`."""
    return (keyed_hash(seed, request_id, item_id).cast("double") + 0.5) / F.lit(float(2**HASH_BITS))


def capped_factor(weights: Column, count: int) -> Column:
    """c such that the inclusion probabilities min(1, c w) sum to `count`; null if there are no more than that.

    Args:
        weights: array<double>, largest first, all above 0.

    The items capped at 1 are the k heaviest; k is the smallest number for which c no longer caps the next one.
    """

    def capped(weights: Column) -> Column:
        found = bind(
            _sum(weights), lambda total: F.coalesce(*(_factor(weights, total, count, k) for k in range(count)))
        )
        return F.when(F.size(weights) > count, found)

    return bind(weights, capped)


def inverse_probability(inverse_weight: Column, factor: Column) -> Column:
    """1 / min(1, c w), given 1 / w; 1 where c is null: there was no need to choose."""
    return F.greatest(F.lit(1.0), inverse_weight / factor)


def pareto_key(chance: Column, inverse: Column) -> Column:
    """The smallest keys of a request are its sample: Pareto sampling (Rosen 1997), of fixed size without replacement.

    u / (1 - u) over p / (1 - p), for the chance u and the probability p. An item is included with its probability up
    to a small error that vanishes as the sample grows; one with probability 1 is always in.

    Args:
        chance: uniform in (0, 1).
        inverse: 1 / the inclusion probability aimed at.
    """
    return (inverse - 1) / (1 / chance - 1)


def _factor(weights: Column, total: Column, count: int, capped: int) -> Column:
    """With the first `capped` items at 1: the factor c for the others; null if it caps the heaviest of them."""
    others = total - sum((F.get(weights, F.lit(k)) for k in range(capped)), F.lit(0.0))
    factor = F.lit(float(count - capped)) / F.when(others != 0, others)  # Sail's try_divide takes whole numbers alone
    return F.when(factor * F.get(weights, F.lit(capped)) <= 1.0, factor)


def _sum(weights: Column) -> Column:
    return F.aggregate(weights, F.lit(0.0), lambda total, weight: total + weight)
