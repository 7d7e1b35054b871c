"""Polars' frames for `hccp_samples`; see polars_frames. The draws are keyed by Polars' own hash: not Spark's items."""

import polars as pl
from volume.polars_labels import STRONGEST

from schemas.tables import samples
from schemas.vocabulary import HOMEPAGE

_HASHES = float(2**52)


def hccp_samples(
    asked: pl.LazyFrame, log: dict[str, pl.LazyFrame], acted: pl.LazyFrame, groups: pl.LazyFrame, known: pl.LazyFrame
) -> pl.LazyFrame:
    """The rows of `hccp_samples`; `r` numbers the requests that have one."""
    feedback = _feedback(asked, log["impressions"], acted).collect()
    passed = _stages(log["stages"]).join(groups.select("request_id").unique(), on="request_id", how="semi")
    requests = (
        passed.join(feedback.lazy().filter("shown").select("request_id").unique(), on="request_id", how="semi")
        .join(log["retrievals"].select("request_id").unique(), on="request_id", how="semi")
        .with_row_index("r")
        .with_columns(key=pl.col("request_id").hash(seed=0))
        .collect(engine="streaming")
    )
    numbers = requests.lazy().select("r", "request_id")
    ranking = _items_of(requests, "ranking").with_columns(rank=pl.int_range(1, pl.len() + 1).over("r"))
    feedback = feedback.lazy().join(numbers, on="request_id").drop("request_id").collect()
    shown = feedback.lazy().filter("shown").join(ranking.lazy(), on=["r", "item_id"], how="left")
    level = pl.when(pl.col("action") == "purchase").then(1).when(pl.col("action").is_null()).then(3).otherwise(2)
    exposed = shown.select("r", "item_id", place=pl.col("rank").fill_null(2**31), level=level, weight=pl.lit(1.0))
    ranked = _ranked(ranking.lazy().join(shown.select("r", "item_id"), on=["r", "item_id"], how="anti"), requests)
    filtered = _filtered(requests, feedback, log["retrievals"])
    actions = groups.filter(pl.col("group") != "ETG", pl.col("action").is_not_null()).join(numbers, on="request_id")
    names = {1: "purchased", 2: "clicked", 3: "exposed", 4: "ranked", 5: "filtered"}
    key = ["r", "item_id"]
    rows = (
        pl.concat([exposed, ranked, filtered], how="vertical_relaxed")
        .join(actions.select(*key, actions="action"), on=key, how="left")
        .join(feedback.lazy().select(*key, in_scenario_actions="action"), on=key, how="left")
        .sort("r", "level", "place", "item_id")
        .group_by("r", maintain_order=True)
        .agg(
            pl.col("item_id").alias("item_ids"),
            pl.col("level").replace_strict(names, return_dtype=pl.String).alias("levels"),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias("teacher_ranks"),
            pl.col("actions", "in_scenario_actions").fill_null(""),
            pl.col("weight").cast(pl.Float32).alias("sampling_weights"),
        )
    )
    asked = asked.select("request_id", "user_id", "request_time")
    whole = rows.join(numbers, on="r").join(asked, on="request_id").join(known, on="request_id")
    return whole.select(samples.hccp_samples.names)


def _feedback(asked: pl.LazyFrame, impressions: pl.LazyFrame, acted: pl.LazyFrame) -> pl.LazyFrame:
    """request_id, item_id, shown, action: the strongest in-scenario one, or null."""
    key = ["request_id", "item_id"]
    shown = impressions.select(key).unique().with_columns(shown=pl.lit(True))
    counted = acted.join(shown, on=key, how="left").with_columns(pl.col("shown").fill_null(False))
    counted = counted.filter(pl.col("named") | (pl.col("shown") & (pl.col("scenario") == HOMEPAGE)))
    best = counted.group_by(key).agg(pl.col("action").sort_by(*STRONGEST).first())
    items = shown.join(best, on=key, how="full", coalesce=True).with_columns(pl.col("shown").fill_null(False))
    return items.join(asked.select("request_id"), on="request_id", how="semi")


def _stages(stages: pl.LazyFrame) -> pl.LazyFrame:
    """request_id, ranking (or what stands in for it), pre_ranking or null."""
    outputs = {name: stages.filter(pl.col("stage") == name).select("request_id", pl.col("item_ids").alias(name))
               for name in ("ranking", "re_ranking", "pre_ranking")}  # fmt: skip
    joined = outputs["ranking"].join(outputs["re_ranking"], on="request_id", how="full", coalesce=True)
    joined = joined.join(outputs["pre_ranking"], on="request_id", how="left")
    return joined.select("request_id", "pre_ranking", ranking=pl.coalesce("ranking", "re_ranking"))


def _items_of(requests: pl.DataFrame, lists: str) -> pl.DataFrame:
    return requests.select("r", item_id=lists).explode("item_id").drop_nulls("item_id")


def _keyed() -> pl.Expr:
    """A whole number below 2^52 that depends on the request and the item."""
    return ((pl.col("item_id").cast(pl.UInt64) ^ pl.col("key")).hash(seed=0) // 2**12).cast(pl.Float64)


def _ranked(unexposed: pl.LazyFrame, requests: pl.DataFrame) -> pl.LazyFrame:
    """10 of each request's unexposed ranking, by Pareto sampling with weight 1 / log2(rank + 1), at most 1 each."""
    weight, k = pl.col("w"), pl.int_range(pl.len())
    factor = (10 - k) / (weight.sum() - weight.cum_sum() + weight)
    uncapped = (k < 10) & (factor * weight <= 1)
    weighed = unexposed.with_columns(w=1 / (pl.col("rank") + 1).log(2)).sort("r", "rank")
    factors = weighed.group_by("r").agg(
        factor=pl.when(pl.len() > 10).then(factor.filter(uncapped).first()), key=pl.len()
    )
    uniform = (_keyed() + 0.5) / _HASHES
    inverse = pl.max_horizontal(pl.lit(1.0), 1 / (weight * pl.col("factor")).fill_null(float("inf")))
    drawn = (
        weighed.join(factors.drop("key"), on="r")
        .join(requests.lazy().select("r", "key"), on="r")
        .with_columns(inverse=inverse)
        .with_columns(pareto=(pl.col("inverse") - 1) / (1 / uniform - 1))
        .group_by("r")
        .agg(pl.col("item_id", "rank", "inverse").bottom_k_by(["pareto", "rank"], 10))
        .explode("item_id", "rank", "inverse")
    )
    return drawn.select("r", "item_id", place="rank", level=pl.lit(4), weight="inverse")


def _filtered(requests: pl.DataFrame, feedback: pl.DataFrame, retrievals: pl.LazyFrame) -> pl.LazyFrame:
    """40 of what was retrieved and dropped by pre-ranking, uniformly: those with the smallest hashes.

    Only what a bound on the hash lets through leaves the lists; a request for which that was too little takes all.
    """
    shown = feedback.lazy().filter("shown").group_by("r").agg(pl.col("item_id").alias("shown"))
    above = requests.lazy().filter(pl.col("pre_ranking").is_not_null()).join(shown, on="r")
    above = above.select(
        "r", "request_id", "key", above=pl.concat_list("pre_ranking", "ranking", "shown").list.unique()
    )
    above = above.collect()
    lists = retrievals.select("request_id", "item_ids").join(above.lazy(), on="request_id")
    counts = (
        lists.group_by("r")
        .agg(pl.col("item_ids").list.explode(), pl.col("above").first())
        .select("r", available=pl.col("item_ids").list.set_difference("above").list.len())
        .collect(engine="streaming")
    )
    few = _hashed_below(2.0, lists, above, counts)
    found = few.group_by("r").agg(pl.len().alias("found"))
    short = counts.join(found, on="r", how="left").filter(
        pl.col("found").fill_null(0) < pl.min_horizontal(40, "available")
    )
    if len(short):
        again = _hashed_below(float("inf"), lists, above, short.select("r", "available"))
        few = pl.concat([few.join(short, on="r", how="anti"), again])
    drawn = few.lazy().group_by("r").agg(pl.col("item_id", "place").bottom_k_by(["hash", "item_id"], 40))
    weight = pl.max_horizontal(pl.lit(1.0), pl.col("available") / 40)
    return (
        drawn.explode("item_id", "place")
        .join(counts.lazy(), on="r")
        .select("r", "item_id", "place", level=pl.lit(5), weight=weight)
    )


def _hashed_below(factor: float, lists: pl.LazyFrame, above: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """The dropped items whose hash is below `factor` times the wanted share: r, item_id, place, hash."""
    exploded = (
        lists.drop("above", "request_id")
        .join(counts.lazy().filter(pl.col("available") > 0), on="r")
        .with_columns(place=pl.int_ranges(1, pl.col("item_ids").list.len() + 1))
        .explode("item_ids", "place")
        .rename({"item_ids": "item_id"})
        .with_columns(hash=_keyed())
        .filter(pl.col("hash") < factor * 40 * _HASHES / pl.col("available"))
        .select("r", "item_id", "place", "hash")
    )
    return (
        exploded.join(_items_of(above, "above").lazy(), on=["r", "item_id"], how="anti")
        .group_by("r", "item_id")
        .agg(pl.min("place"), pl.first("hash"))
        .collect(engine="streaming")
    )
