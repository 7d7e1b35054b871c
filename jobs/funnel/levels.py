"""The levels of a request's hybrid sample: where in the funnel each of its items ended.

Spark compiles functions of whole lists and interprets functions of their elements, at about a microsecond an element
with all that stands inside them. So the latter are few and small, and apart from the former: a column a step. A column
that a function of elements uses is bound there, since Spark may copy its expression to the place of its only use.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.sampling import (
    HASH_BITS,
    bind,
    capped_factor,
    inverse_probability,
    keyed_hash,
    pareto_key,
    smallest,
    uniform,
)
from schemas.labels import Level

RANKED, FILTERED = 10, 40


def leveled(requests: DataFrame, seed: int) -> DataFrame:
    """Add the request's sample, best first: item_ids, levels, sampling_weights.

    Args:
        requests: one row per request with
            request_id,
            purchased, clicked, exposed list<int64>: the exposed items, by strongest in-scenario action,
            ranking list<int64>: the output of ranking, or of what stands in for it, best first,
            pre_ranking list<int64> or null: the output of pre_ranking,
            channels list<list<int64>>: what each channel returned, best first.
    """
    shown = (Level.PURCHASED, Level.CLICKED, Level.EXPOSED)
    sizes = {level: F.size(level.value) for level in shown}
    sizes |= {Level.RANKED: F.size("ranked"), Level.FILTERED: F.size("filtered")}
    alike = F.array_repeat(F.lit(1.0).cast("float"), F.size("shown"))
    inverse = F.greatest(F.lit(1.0), F.size("dropped") / F.lit(float(FILTERED))).cast("float")
    return (
        requests.withColumn("shown", F.concat(*(level.value for level in shown)))
        .withColumn("unexposed", _unexposed())
        .withColumn("factor", capped_factor(F.transform("unexposed", _weight), RANKED))
        .withColumn("keys", _keys(seed))
        .withColumn("ranked", _ranked())
        .withColumn("dropped", _dropped())
        .withColumn("few", _few(seed))
        .withColumn("drawn", _drawn(seed))
        .withColumn("filtered", _merged())
        .withColumn(
            "item_ids",
            F.concat(*(_as_ranked(level.value) for level in shown), F.col("ranked.item_id"), "filtered"),
        )
        .withColumn("levels", F.concat(*(F.array_repeat(F.lit(level.value), size) for level, size in sizes.items())))
        .withColumn(
            "sampling_weights",
            F.concat(alike, F.col("ranked.weight").cast("array<float>"), F.array_repeat(inverse, F.size("filtered"))),
        )
    )


def _as_ranked(items: str) -> Column:
    """The items in the ranking's order; those missing there come last, by item_id."""
    return F.concat(F.array_intersect("ranking", items), F.sort_array(F.array_except(items, "ranking")))


def _unexposed() -> Column:
    """array<struct<rank, item_id>> of the ranking's output that was not exposed."""
    exposed = F.transform(F.array_intersect("ranking", "shown"), lambda item: F.array_position("ranking", item))
    # slice, since sequence(1, 0) counts down
    ranks = F.slice(F.sequence(F.lit(1), F.greatest(F.lit(1), F.size("ranking"))), F.lit(1), F.size("ranking"))
    ranks = F.array_except(ranks.cast("array<bigint>"), exposed)
    return F.arrays_zip(ranks.alias("rank"), F.array_except("ranking", "shown").alias("item_id"))


def _weight(one: Column) -> Column:
    return 1 / F.log2(one["rank"] + 1)


def _keys(seed: int) -> Column:
    """array<double>: the sampling key of each of `unexposed`, whose weight is 1 / log2(rank + 1)."""

    def key(one: Column, factor: Column) -> Column:
        return pareto_key(uniform(seed, F.col("request_id"), one["item_id"]), _inverse(one["rank"], factor))

    return bind(F.col("factor"), lambda factor: F.transform("unexposed", lambda one: key(one, factor)))


def _ranked() -> Column:
    """The 10 of `unexposed` with the smallest `keys`, in the ranking's order.

    array<struct<item_id, weight>>; the weight is the sample's, 1 / inclusion probability.
    """
    last = F.get(F.sort_array("keys"), F.least(F.size("keys"), F.lit(RANKED)) - 1)

    def sampled(one: Column, factor: Column) -> Column:
        return F.struct(one["item_id"].alias("item_id"), _inverse(one["rank"], factor).alias("weight"))

    def chosen(last: Column, factor: Column) -> Column:
        kept = F.filter(F.arrays_zip("unexposed", "keys"), lambda one: one["keys"] <= last)
        return F.transform(F.slice(kept, 1, RANKED), lambda one: sampled(one["unexposed"], factor))

    return bind(F.struct(last.alias("last"), "factor"), lambda bound: chosen(bound["last"], bound["factor"]))


def _inverse(rank: Column, factor: Column) -> Column:
    """1 / the inclusion probability of an unexposed item at this rank."""
    return inverse_probability(F.log2(rank + 1), factor)


def _dropped() -> Column:
    """What was retrieved and dropped by pre-ranking; empty if pre-ranking was not logged."""
    above = F.concat("pre_ranking", "shown", "ranking")
    return F.coalesce(F.array_except(F.flatten("channels"), above), F.array().cast("array<bigint>"))


def _few(seed: int) -> Column:
    """Those dropped with a hash below twice the share that is wanted."""
    bound = F.lit(2.0 * FILTERED * 2**HASH_BITS) / F.greatest(F.lit(1), F.size("dropped"))
    return bind(
        bound.cast("bigint"),
        lambda bound: F.filter("dropped", lambda item: keyed_hash(seed, F.col("request_id"), item) < bound),
    )


def _drawn(seed: int) -> Column:
    """40 of what was dropped, uniformly: those with the smallest hashes.

    `few` holds them all but for one request in a million: only `few` is sorted.
    """
    enough = F.when(F.size("few") >= FILTERED, F.col("few")).otherwise(F.col("dropped"))
    keyed = F.transform(
        enough, lambda item: F.struct(keyed_hash(seed, F.col("request_id"), item).alias("key"), item.alias("item_id"))
    )
    return F.transform(smallest(keyed, FILTERED), lambda pair: pair.item_id)


def _merged() -> Column:
    """`drawn` in merged retrieval order: best position in a channel, then item_id."""

    def placed(channel: Column, drawn: Column) -> Column:
        return F.transform(
            F.array_intersect(channel, drawn),
            lambda item: F.struct(F.array_position(channel, item).alias("place"), item.alias("item_id")),
        )

    def order(drawn: Column) -> Column:
        places = F.sort_array(F.flatten(F.transform("channels", lambda channel: placed(channel, drawn))))
        return F.array_distinct(F.transform(places, lambda one: one.item_id))

    return bind(F.col("drawn"), order)
