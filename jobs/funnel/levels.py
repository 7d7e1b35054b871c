"""The levels of a request's hybrid sample: where in the funnel each of its items ended.

Spark compiles functions of whole lists and of rows, and interprets functions of a list's elements, at about a
microsecond an element. So every listed item becomes a row for as long as its hash is computed and compared with a
bound; the few below it are gathered again. They need no shuffle: a request's rows stay together. One of them carries
the request's own columns, the others none: Spark would copy pointers, an engine of columns every list.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.sampling import HASH_BITS, capped_factor, inverse_probability, keyed_hash, pareto_key, uniform
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
        _drawn(_gathered(_measured(requests), seed))
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
    dropped = F.when(F.col("above").isNotNull(), F.size(_except(F.flatten("channels"), "above")))
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
    return F.array_except(ranks.cast("array<int>"), exposed.cast("array<int>"))


def _gathered(measured: DataFrame, seed: int) -> DataFrame:
    """Each request's candidates: those listed items whose keys can be among the smallest, exposed ones included.

    near_ranked: array<struct<key, item_id>>; near_filtered: array<struct<key, item_id, place>>, an item once for each
    channel that returned it.
    """
    carried = [name for name in measured.columns if name not in ("request_id", "channels", "pre_ranking", "ranks")]
    scalars = ("request_id", "few", "factor", "bound")
    one_item = F.array(F.lit(0).cast("bigint"))
    lists = (
        measured.withColumn("few", F.size("ranks") <= 10 * RANKED)
        .withColumn("bound", _filtered_bound())
        .withColumn("listed", F.concat(F.array(one_item, F.col("ranking")), F.col("channels")))
        # The first list of one item carries the request, the others a null: a list, since an engine of columns copies
        # a null struct's fields all the same.
        .withColumn("request", F.array(F.array(F.struct(*carried))))
        .select(*scalars, F.posexplode(F.arrays_zip("listed", "request")).alias("list", "part"))
        .select(*scalars, "list", F.col("part.listed").alias("listed"), F.col("part.request").alias("request"))
    )
    items = lists.select(*scalars, "list", "request", F.posexplode("listed").alias("before", "item_id"))
    kind, place = F.col("list"), F.col("before") + 1
    hashed = keyed_hash(seed, F.col("request_id"), F.col("item_id"))
    near_ranked = (kind == 1) & (F.col("few") | _ranked_near(hashed, place))
    near = items.where((kind == 0) | near_ranked | ((kind > 1) & (hashed < F.col("bound"))))
    chance = uniform(seed, F.col("request_id"), F.col("item_id"))
    key = pareto_key(chance, inverse_probability(F.log2(place + 1), F.col("factor")))
    gathered = near.groupBy("request_id").agg(
        # not first(): for every row it would copy the request that it has found
        F.collect_list("request").alias("request"),
        F.collect_list(F.when(kind == 1, F.struct(key.alias("key"), "item_id"))).alias("near_ranked"),
        F.collect_list(F.when(kind > 1, F.struct(hashed.alias("key"), "item_id", place.alias("place")))).alias(
            "near_filtered"
        ),
    )
    gathered = gathered.withColumn("request", F.get(F.get("request", F.lit(0)), F.lit(0)))
    return gathered.select("request_id", "request.*", "near_ranked", "near_filtered")


def _ranked_near(hashed: Column, place: Column) -> Column:
    """Whether the key is below 6, without a division: of more than 100 unexposed items at least 10 are, but for one
    request in 10^10.

    A key is below t with probability t p / (1 - p + t p): 43 of 140 are.
    """
    inverse = inverse_probability(F.log2(place + 1), F.col("factor"))
    return hashed.cast("double") * (inverse + 5.0) < F.lit(6.0 * 2**HASH_BITS)


def _filtered_bound() -> Column:
    """At least 40 dropped items have a hash below it: a share of 100 / dropped, but for one request in 10^11."""
    share = F.least(F.lit(1.0), 2.5 * FILTERED / F.greatest(F.lit(1), F.col("dropped")))
    return F.when(F.col("dropped") > 0, (share * F.lit(float(2**HASH_BITS))).cast("bigint")).otherwise(F.lit(0))


def _drawn(gathered: DataFrame) -> DataFrame:
    """Add the draws: `ranked`, array<struct<rank, item_id>>, the 10 with the smallest keys, in the ranking's order;
    `filtered`, the 40 with the smallest keys, in merged retrieval order: best position in a channel, then item_id.
    """
    places = F.arrays_zip(F.col("near_filtered.place").alias("place"), F.col("near_filtered.item_id").alias("item_id"))
    ranks = F.transform("drawn", lambda item: F.array_position("ranking", item).cast("int"))
    return (
        gathered.withColumn("near_ranked", F.sort_array("near_ranked"))
        .withColumn("near_filtered", F.sort_array("near_filtered"))
        .withColumn("drawn", F.slice(_except("near_ranked.item_id", "shown"), 1, RANKED))
        .withColumn("drawn", F.array_intersect("ranking", "drawn"))
        .withColumn("ranked", F.arrays_zip(ranks.alias("rank"), F.col("drawn").alias("item_id")))
        # nothing is near where pre-ranking was not logged, and `above` null
        .withColumn("filtered", F.slice(_except("near_filtered.item_id", "above"), 1, FILTERED))
        .withColumn("places", F.sort_array(places))
        .withColumn("filtered", F.array_intersect("places.item_id", "filtered"))
        .withColumn("filtered", F.coalesce("filtered", F.array().cast("array<bigint>")))
    )


def _except(items: Column | str, others: str) -> Column:
    """The items that others lack, each once, in their order; Sail wants both lists of the very same type."""
    items = F.col(items) if isinstance(items, str) else items
    return F.array_except(items.cast("array<bigint>"), F.col(others).cast("array<bigint>"))


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


def _as_ranked(items: str) -> Column:
    """The items in the ranking's order; those missing there come last, by item_id."""
    return F.concat(F.array_intersect("ranking", items), F.sort_array(_except(items, "ranking")))
