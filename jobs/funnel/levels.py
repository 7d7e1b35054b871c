"""The levels of a request's hybrid sample: where in the funnel each of its items ended.

Spark compiles functions of whole lists and of rows, and interprets functions of a list's elements, at about a
microsecond an element. So every listed item becomes a row for as long as its key is computed and compared with a
bound; the few below it are gathered again. They need no shuffle: a request's rows stay together. One of them carries
the request's own columns, the others none.
"""

from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.sampling import capped_factor, inverse_probability, pareto_key, smallest, uniform
from schemas.vocabulary import Level

RANKED, FILTERED = 10, 40


def leveled(requests: DataFrame, seed: int) -> DataFrame:
    """Add the request's sample, best first: item_ids, levels, sampling_weights; drop pre_ranking and channels.

    Args:
        requests: one row per request with
            request_id,
            purchased, clicked, exposed list<int64>: the exposed items, by strongest in-scenario action,
            ranking list<int64>: the output of ranking, or of what stands in for it, best first,
            pre_ranking list<int64> or null: the output of pre_ranking,
            channels list<list<int64>>: what each channel returned, best first,
            shadow array<struct<rank, place, item_id>>: what ranking scored of what pre-ranking dropped; rank: how many
                items of the ranking score as high or higher; place: in the stage's own list.
    """
    shown = [level.value for level in (Level.PURCHASED, Level.CLICKED, Level.EXPOSED)]
    sizes = {level: F.size(level) for level in (*shown, Level.FILTERED.value)}
    *heads, last = (F.array_repeat(F.lit(level), size) for level, size in sizes.items())
    alike = F.array_repeat(F.lit(1.0), F.size("shown"))
    inverse = F.array_repeat(F.greatest(F.lit(1.0), F.col("dropped") / FILTERED), F.size("filtered"))
    return (
        _gathered(_measured(requests), seed)
        .withColumn("ranked", _ranked())
        .withColumn("filtered", _merged())
        .withColumn("scored", _scored())
        .withColumn("item_ids", F.concat(*(_as_ranked(level) for level in shown), F.col("scored.item_id"), "filtered"))
        .withColumn("levels", F.concat(*heads, F.col("scored.level"), last))
        .withColumn("sampling_weights", F.concat(alike, F.col("scored.weight"), inverse).cast("array<float>"))
    )


def _measured(requests: DataFrame) -> DataFrame:
    """Add what the draws need to know of a request as a whole.

    shown: all exposed items; shadow: without items of a better level; above: all items of a level before `filtered`, or
    null if pre-ranking was not logged; dropped: how many were retrieved and are none of those; ranks: of the unexposed;
    factor: of their weights.
    """
    better = F.concat(F.coalesce("pre_ranking", F.array().cast("array<bigint>")), "shown", "ranking")
    dropped = F.when(F.col("above").isNotNull(), F.size(F.array_except(F.flatten("channels"), "above")))
    return (
        requests.withColumn("shown", F.concat("purchased", "clicked", "exposed"))
        .withColumn("shadow", F.filter("shadow", lambda one: ~F.array_contains(better, one["item_id"])))
        .withColumn("above", F.concat("pre_ranking", "shown", "ranking", "shadow.item_id"))
        .withColumn("dropped", F.coalesce(dropped, F.lit(0)))
        .withColumn("ranks", _unexposed_ranks())
        .withColumn("factor", capped_factor(F.transform("ranks", lambda rank: 1 / F.log2(rank + 1)), RANKED))
    )


def _unexposed_ranks() -> Column:
    """array<int>: the ranks in the ranking's output that were not exposed."""
    exposed = F.transform(F.array_intersect("ranking", "shown"), lambda item: F.array_position("ranking", item))
    # slice, since sequence(1, 0) counts down
    ranks = F.slice(F.sequence(F.lit(1), F.greatest(F.lit(1), F.size("ranking"))), F.lit(1), F.size("ranking"))
    return F.array_except(ranks, exposed.cast("array<int>"))


def _gathered(measured: DataFrame, seed: int) -> DataFrame:
    """Each request's candidates: those listed items whose keys can be among the smallest.

    near_ranked: array<struct<key, rank, item_id>>; near_filtered: array<struct<key, item_id, place>>, an item once
    for each channel that returned it.
    """
    lists = F.posexplode(F.concat(F.array("ranking"), "channels")).alias("list", "listed")
    left = ("request_id", "channels", "pre_ranking", "ranks", "above")
    carried = [name for name in measured.columns if name not in left]
    # outer: an empty ranking gives a row too, the one that carries the request
    items = measured.select("*", lists).select("*", F.posexplode_outer("listed").alias("before", "item_id"))
    in_ranking, place = F.col("list") == 0, F.col("before") + 1
    chance = uniform(seed, F.col("request_id"), F.col("item_id"))
    key = pareto_key(chance, inverse_probability(F.log2(place + 1), F.col("factor")))
    parts = {
        "request": (in_ranking & (F.coalesce("before", F.lit(0)) == 0), F.struct(*carried)),
        "near_ranked": (
            in_ranking & _ranked_near(key) & ~F.array_contains("shown", F.col("item_id")),
            F.struct(key.alias("key"), place.alias("rank"), "item_id"),
        ),
        "near_filtered": (
            ~in_ranking & _filtered_near(chance) & ~F.array_contains("above", F.col("item_id")),
            F.struct(chance.alias("key"), "item_id", place.alias("place")),
        ),
    }
    rows = items.where(reduce(or_, (holds for holds, _ in parts.values()))).select(
        "request_id", *(F.when(holds, part).alias(name) for name, (holds, part) in parts.items())
    )
    # not first(): for every row it would copy the request that it has found
    gathered = rows.groupBy("request_id").agg(*(F.collect_list(name).alias(name) for name in parts))
    gathered = gathered.withColumn("request", F.get("request", F.lit(0)))
    return gathered.select("request_id", "request.*", "near_ranked", "near_filtered")


def _ranked_near(key: Column) -> Column:
    """Of more than 100 unexposed items at least 10 have a key below 6, but for one request in 10^10.

    A key is below t with probability t p / (1 - p + t p): 43 of 140 are.
    """
    return (F.size("ranks") <= 10 * RANKED) | (key < 6.0)


def _filtered_near(chance: Column) -> Column:
    """At least 40 dropped items have a chance below 100 / dropped, but for one request in 10^11."""
    return chance < 2.5 * FILTERED / F.greatest(F.lit(1), F.col("dropped"))


def _ranked() -> Column:
    """array<struct<rank, item_id>>: the 10 with the smallest keys, in the ranking's order."""
    drawn = smallest(F.col("near_ranked"), RANKED)
    return F.sort_array(F.arrays_zip(drawn["rank"].alias("rank"), drawn["item_id"].alias("item_id")))


def _scored() -> Column:
    """array<struct<rank, place, item_id, level, weight>>: the ranked and the shadow items, in the ranker's order.

    A shadow item's rank is that of the last ranked item that it does not beat: it comes right behind it.
    """

    def part(level: Level, places: Column, weights: Column) -> Column:
        rank, item_id = (F.col(f"{level.value}.{name}").alias(name) for name in ("rank", "item_id"))
        named = F.array_repeat(F.lit(level.value), F.size(level.value))
        return F.arrays_zip(rank, places.alias("place"), item_id, named.alias("level"), weights.alias("weight"))

    weights = F.transform("ranked.rank", lambda rank: inverse_probability(F.log2(rank + 1), F.col("factor")))
    ranked = part(Level.RANKED, F.array_repeat(F.lit(0), F.size("ranked")), weights)
    shadow = part(Level.SHADOW, F.col("shadow.place"), F.array_repeat(F.lit(1.0), F.size("shadow")))
    return F.sort_array(F.concat(ranked, shadow))


def _merged() -> Column:
    """The 40 with the smallest keys, in merged retrieval order: best position in a channel, then item_id."""
    drawn = F.slice(F.array_distinct(F.sort_array("near_filtered")["item_id"]), 1, FILTERED)
    places = F.arrays_zip(F.col("near_filtered.place").alias("place"), F.col("near_filtered.item_id").alias("item_id"))
    return F.array_intersect(F.sort_array(places)["item_id"], drawn)


def _as_ranked(items: str) -> Column:
    """The items in the ranking's order; those missing there come last, by item_id."""
    return F.concat(F.array_intersect("ranking", items), F.sort_array(F.array_except(items, "ranking")))
