"""The levels of a request's hybrid sample: where in the funnel each of its items ended."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.sampling import inclusion_probabilities, pareto_key, uniform
from schemas.labels import Action, Level

RANKED, FILTERED = 10, 40


def leveled(requests: DataFrame, seed: int) -> DataFrame:
    """Add `sampled`: the request's items, best first, as array<struct<item_id, level, weight>>.

    Args:
        requests: one row per request with
            request_id,
            exposed list<struct<item_id, action>> (action: strongest in-scenario action or null),
            ranking list<int64>: the output of ranking, or of what stands in for it, best first,
            pre_ranking list<int64> or null: the output of pre_ranking,
            channels list<list<int64>>: what each channel returned, best first.
    """
    shown = requests.withColumn("exposed_ids", F.transform("exposed", lambda item: item.item_id))
    feedback = [
        _shown(Level.PURCHASED, lambda item: item.action == Action.PURCHASE.value),
        _shown(Level.CLICKED, lambda item: item.action != Action.PURCHASE.value),
        _shown(Level.EXPOSED, lambda item: item.action.isNull()),
    ]
    return (
        shown.withColumn("ranked", _ranked(seed))
        .withColumn("rest", _rest())
        .withColumn("filtered", _filtered(seed))
        .withColumn("sampled", F.concat(*feedback, "ranked", "filtered"))
        .drop("exposed_ids", "ranked", "rest", "filtered")
    )


def _sampled(items: Column, level: Level, weights: Column | None = None) -> Column:
    """array<struct<item_id, level, weight>> of item ids, of the one level."""
    weights = F.transform(items, lambda _: F.lit(1.0)) if weights is None else weights
    pairs = F.arrays_zip(items.alias("item_id"), weights.alias("weight"))
    return F.transform(
        pairs,
        lambda pair: F.struct(
            pair["item_id"].alias("item_id"),
            F.lit(level.value).alias("level"),
            pair["weight"].cast("float").alias("weight"),
        ),
    )


def _shown(level: Level, belongs) -> Column:
    """The exposed items of a level in the ranking's order; items missing there come last, by item_id."""
    items = F.transform(F.filter("exposed", belongs), lambda item: item.item_id)
    return _sampled(_in_order(items, lambda item: _place(F.col("ranking"), item)), level)


def _ranked(seed: int) -> Column:
    """Of the ranking's output that was not exposed, 10 drawn with weight 1 / log2(rank + 1), in its order."""
    unexposed = F.array_except("ranking", "exposed_ids")
    weights = F.transform(unexposed, lambda item: 1 / F.log2(_place(F.col("ranking"), item) + 1))
    probabilities = inclusion_probabilities(weights, RANKED)
    drawn = F.transform(
        F.arrays_zip(unexposed.alias("item_id"), probabilities.alias("probability")),
        lambda pair: F.struct(
            pareto_key(uniform(seed, F.col("request_id"), pair["item_id"]), pair["probability"]).alias("key"),
            _place(F.col("ranking"), pair["item_id"]).alias("place"),
            pair["item_id"].alias("item_id"),
            (1 / pair["probability"]).alias("weight"),
        ),
    )
    kept = F.slice(F.array_sort(drawn), 1, RANKED)
    ordered = F.array_sort(F.transform(kept, lambda item: F.struct(item.place, item.item_id, item.weight)))
    ids = F.transform(ordered, lambda item: item["item_id"])
    return _sampled(ids, Level.RANKED, F.transform(ordered, lambda item: item["weight"]))


def _rest() -> Column:
    """What was retrieved and pre-ranking did not let through, without the items of the levels above."""
    retrieved = F.array_distinct(F.flatten("channels"))
    above = F.concat("pre_ranking", "exposed_ids", "ranking")
    return F.coalesce(F.array_except(retrieved, above), F.array().cast("array<bigint>"))


def _filtered(seed: int) -> Column:
    """40 of the rest, uniformly, in merged retrieval order: best channel position, then item_id."""
    keyed = F.transform(
        "rest",
        lambda item: F.struct(uniform(seed, F.col("request_id"), item).alias("key"), item.alias("item_id")),
    )
    drawn = F.transform(F.slice(F.array_sort(keyed), 1, FILTERED), lambda pair: pair["item_id"])
    weight = F.greatest(F.lit(1.0), F.size("rest") / F.lit(float(FILTERED)))
    ordered = _in_order(drawn, _best_place)
    return _sampled(ordered, Level.FILTERED, F.transform(ordered, lambda _: weight))


def _best_place(item: Column) -> Column:
    """The item's smallest position over the channels that returned it."""
    return F.array_min(F.transform("channels", lambda items: _place(items, item)))


def _place(items: Column, item: Column) -> Column:
    """The item's position in the list, 1 the first; null if it is not in it."""
    place = F.array_position(items, item)
    return F.when(place > 0, place)


def _in_order(items: Column, place) -> Column:
    """The items sorted by their place, those without one last, ties by item_id."""
    last = F.lit(2**31)
    keyed = F.transform(items, lambda item: F.struct(F.coalesce(place(item), last).alias("place"), item.alias("id")))
    return F.transform(F.array_sort(keyed), lambda pair: pair["id"])
