"""The levels of a request's hybrid sample: where in the funnel each of its items ended."""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.sampling import bind, capped_factor, inclusion_probability, pareto_key, uniform
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
    purchased = F.lit(Action.PURCHASE.value)
    return requests.withColumn(
        "sampled",
        F.concat(
            _shown(Level.PURCHASED, lambda item: item.action == purchased),
            _shown(Level.CLICKED, lambda item: item.action != purchased),
            _shown(Level.EXPOSED, lambda item: item.action.isNull()),
            _ranked(seed),
            _filtered(seed),
        ),
    )


def _sampled(items: Column, level: Level, weight: Callable[[Column], Column] = lambda _: F.lit(1.0)) -> Column:
    """array<struct<item_id, level, weight>> of items sorted by (place, item_id)."""
    return F.transform(
        F.sort_array(items),
        lambda item: F.struct(
            item.item_id.alias("item_id"),
            F.lit(level.value).alias("level"),
            weight(item).cast("float").alias("weight"),
        ),
    )


def _shown(level: Level, belongs: Callable[[Column], Column]) -> Column:
    """The exposed items of a level in the ranking's order; items missing there come last, by item_id."""
    items = F.transform(F.filter("exposed", belongs), lambda item: item.item_id)
    return _sampled(_placed(items, lambda item: F.array_position("ranking", item)), level)


def _ranked(seed: int) -> Column:
    """Of the ranking's output that was not exposed, 10 drawn with weight 1 / log2(rank + 1), in its order."""
    shown = F.transform("exposed", lambda item: item.item_id)
    placed = F.transform(
        "ranking",
        lambda item, index: F.struct(
            (index + 1).alias("place"), item.alias("item_id"), (1 / F.log2(index + 2)).alias("weight")
        ),
    )
    unexposed = bind(shown, lambda shown: F.filter(placed, lambda item: ~F.array_contains(shown, item.item_id)))

    def drawn(items: Column, factor: Column) -> Column:
        chances = F.transform(
            items,
            lambda item: F.struct(
                item.place.alias("place"),
                item.item_id.alias("item_id"),
                inclusion_probability(item.weight, factor).alias("probability"),
                uniform(seed, F.col("request_id"), item.item_id).alias("chance"),
            ),
        )
        chosen = F.slice(F.sort_array(_keyed(chances)), 1, RANKED)
        return _sampled(F.transform(chosen, lambda pair: pair.item), Level.RANKED, lambda item: 1 / item.probability)

    def sample(items: Column) -> Column:
        weights = F.transform(items, lambda item: item.weight)
        return bind(capped_factor(weights, RANKED), lambda factor: drawn(items, factor))

    return bind(unexposed, sample)


def _keyed(items: Column) -> Column:
    """The items behind their sampling keys."""
    return F.transform(
        items, lambda item: F.struct(pareto_key(item.chance, item.probability).alias("key"), item.alias("item"))
    )


def _filtered(seed: int) -> Column:
    """40 of what was retrieved and dropped by pre-ranking, uniformly; none if pre-ranking was not logged.

    In merged retrieval order: best position in a channel, then item_id.
    """
    above = F.concat("pre_ranking", F.transform("exposed", lambda item: item.item_id), "ranking")
    rest = F.coalesce(F.array_except(F.flatten("channels"), above), F.array().cast("array<bigint>"))

    def best_place(item: Column) -> Column:
        places = F.transform("channels", lambda items: _or_last(F.array_position(items, item)))
        return F.array_min(places) + 1

    def sample(rest: Column) -> Column:
        keyed = F.transform(
            rest,
            lambda item: F.struct(uniform(seed, F.col("request_id"), item).alias("key"), item.alias("item_id")),
        )
        chosen = F.transform(F.slice(F.sort_array(keyed), 1, FILTERED), lambda pair: pair.item_id)
        inverse = F.greatest(F.lit(1.0), F.size(rest) / F.lit(float(FILTERED)))
        return _sampled(_placed(chosen, best_place), Level.FILTERED, lambda _: inverse)

    return bind(rest, sample)


def _placed(items: Column, place: Callable[[Column], Column]) -> Column:
    """Item ids as structs that sort by their place, those without one last."""
    return F.transform(items, lambda item: F.struct(_or_last(place(item)).alias("place"), item.alias("item_id")))


def _or_last(position: Column) -> Column:
    """A list position counted from 0, or a number after all of them for a `position` of 0: not in the list.

    Named once: Spark evaluates what a condition and its result share twice.
    """
    return F.pmod(position - 1, F.lit(2**31))
