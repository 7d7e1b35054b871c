"""The labels, histories and both samples of a date in Polars: `python -m volume.polars_frames ROOT DATE OUT`.

Reads the validated logs (the newest files of each Delta table) and writes OUT/<table>.parquet. Written for speed: lazy,
streaming, requests numbered so that no join but the first is on a string, what was retrieved kept in its lists until a
keyed hash has said which few items may be drawn. The draws are keyed by Polars' own hash.
"""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from volume.duckdb_sql import files

from schemas import logs, samples
from schemas.features import user_histories
from schemas.labels import Action
from schemas.table import Table
from schemas.target_groups import target_groups

WINDOW, SCENARIO = pl.duration(hours=24), "homepage"
_HASHES = float(2**52)
_STRONGEST = ("weakness", "event_time", "event_id")
_KEPT = (("ETG", 10), ("RTG", 20), ("ITG", 20))


def attributed(conversions: pl.LazyFrame, targets: pl.LazyFrame) -> pl.LazyFrame:
    """Each conversion with the target request it belongs to; those that belong to none are left out."""
    in_window = pl.col("event_time").is_between(pl.col("request_time"), pl.col("request_time") + WINDOW, closed="left")
    claims = targets.select("request_id", "user_id", "request_time")
    events = conversions.join(claims, on=["request_id", "user_id"], how="left")
    events = events.with_columns(in_window.fill_null(False).alias("named"), weakness=-_strength())
    moments = claims.group_by("user_id", "request_time").agg(pl.max("request_id")).sort("request_time")
    unnamed = (
        events.filter(~pl.col("named"))
        .drop("request_id", "request_time")
        .sort("event_time")
        .join_asof(moments, left_on="event_time", right_on="request_time", by="user_id", strategy="backward")
        .filter(in_window)
    )
    columns = ("request_id", "item_id", "action", "event_time", "event_id", "scenario", "named", "weakness")
    return pl.concat([events.filter("named").select(columns), unnamed.select(columns)])


def labels(
    asked: pl.LazyFrame, impressions: pl.LazyFrame, acted: pl.LazyFrame, retrievals: pl.LazyFrame
) -> pl.LazyFrame:
    """The rows of `target_groups`."""
    key = ["request_id", "item_id"]
    shown = impressions.group_by(key).agg(pl.min("position"))
    best = acted.group_by(key).agg(
        pl.col("action", "event_time", "scenario").sort_by(*_STRONGEST).first(),
        pl.len().cast(pl.Int32).alias("actions"),
    )
    touched = shown.join(best, on=key, how="full", coalesce=True)
    touched = touched.join(asked.select("request_id", "user_id"), on="request_id").collect(engine="streaming")
    wanted = touched.group_by("request_id").agg(pl.col("item_id").alias("wanted")).lazy()
    found = (
        retrievals.select("request_id", "channel", "item_ids")
        .join(wanted, on="request_id")
        .select("request_id", "channel", item_id=pl.col("item_ids").list.set_intersection("wanted"))
        .collect(engine="streaming")
    )
    labelable = found.select("request_id").unique()
    channels = found.explode("item_id").drop_nulls("item_id").group_by(key).agg(pl.col("channel").sort())
    placed = touched.join(labelable, on="request_id", how="semi").join(channels, on=key, how="left")
    placed = placed.with_columns(
        channels=pl.col("channel").fill_null(pl.lit([], pl.List(pl.String))), actions=pl.col("actions").fill_null(0)
    )
    retrieved = pl.col("position").is_not_null() | (pl.col("channels").list.len() > 0)
    etg = placed.filter(pl.col("position").is_not_null()).with_columns(group=pl.lit("ETG"))
    others = placed.filter(pl.col("action").is_not_null())
    others = others.with_columns(group=pl.when(retrieved).then(pl.lit("RTG")).otherwise(pl.lit("ITG")))
    return pl.concat([etg, others]).lazy().rename({"event_time": "action_time"}).select(target_groups.names)


def histories(asked: pl.LazyFrame, conversions: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of `user_histories`: 50 events before each request, those logged after it left out.

    An event's number by time, and how many were pending at the request, say which few events to look at.
    """
    known_time = pl.max_horizontal("logged_time", pl.col("event_time") + pl.duration(microseconds=1))
    asked = asked.select("request_id", "user_id", "request_time").sort("request_time").collect()
    events = (
        conversions.join(asked.lazy(), on="user_id", how="semi")
        .sort("user_id", "event_time", "event_id")
        .with_columns(known_time=known_time)
        .with_row_index("row")
        .with_columns(number=pl.int_range(1, pl.len() + 1).over("user_id"), first=pl.col("row").min().over("user_id"))
        .collect(engine="streaming")
    )
    known = events.select("user_id", "known_time").sort("known_time")
    known = known.with_columns(known=pl.int_range(1, pl.len() + 1).over("user_id"))
    by_time = events.select("user_id", "event_time", "first", happened="number").sort("event_time")
    before = asked.join_asof(
        by_time, left_on="request_time", right_on="event_time", by="user_id", allow_exact_matches=False
    ).join_asof(known, left_on="request_time", right_on="known_time", by="user_id")
    before = before.filter(pl.col("happened").is_not_null()).with_columns(pl.col("known").fill_null(0))
    last = pl.col("first").cast(pl.Int64) + pl.col("happened")
    start = pl.max_horizontal(pl.col("first").cast(pl.Int64), last - 50 - (pl.col("happened") - pl.col("known")))
    rows = before.select("request_id", "request_time", row=pl.int_ranges(start, last)).explode("row")
    taken = events.select("item_id", "action", "event_time", "logged_time")[rows["row"]]
    month = pl.col("request_time") - pl.duration(days=30)
    lists = (
        pl.concat([rows.drop("row"), taken], how="horizontal")
        .lazy()
        .filter(pl.col("logged_time") <= pl.col("request_time"), pl.col("event_time") >= month)
        .group_by("request_id", maintain_order=True)
        .agg(pl.col("item_id", "action", "event_time").tail(50))
    )
    names = {"item_id": "history_item_ids", "action": "history_actions", "event_time": "history_times"}
    lists = lists.rename(names)
    kinds = {name: kind for name, kind in lists.collect_schema().items() if name in names.values()}
    empty = [pl.col(name).fill_null(pl.lit([]).cast(kind)) for name, kind in kinds.items()]
    whole = asked.lazy().select("request_id").join(lists, on="request_id", how="left")
    return whole.with_columns(empty).select(user_histories.names)


def increc_samples(groups: pl.LazyFrame, asked: pl.LazyFrame, known: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of `increc_samples`."""
    never = datetime(9999, 1, 1, tzinfo=UTC)
    ordered = groups.sort(-_strength().fill_null(0), pl.col("action_time").fill_null(never), "item_id")
    ordered = ordered.with_columns(pl.col("action").fill_null(""))
    lists = [
        pl.col(column).filter(pl.col("group") == group).head(most).alias(f"{group.lower()}_{column}s")
        for group, most in _KEPT
        for column in ("item_id", "action")
    ]
    gathered = ordered.group_by("request_id", maintain_order=True).agg(*lists)
    gathered = gathered.filter((pl.col("rtg_item_ids").list.len() > 0) | (pl.col("itg_item_ids").list.len() > 0))
    asked = asked.select("request_id", "user_id", "scenario", "request_time")
    made = gathered.join(asked, on="request_id").join(known, on="request_id")
    return made.select(samples.increc_samples.names)


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
    counted = counted.filter(pl.col("named") | (pl.col("shown") & (pl.col("scenario") == SCENARIO)))
    best = counted.group_by(key).agg(pl.col("action").sort_by(*_STRONGEST).first())
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


def _strength() -> pl.Expr:
    return pl.col("action").replace_strict({one.value: one.strength for one in Action}, return_dtype=pl.Int32)


def scan(root: str, table: Table, first: date, last: date) -> pl.LazyFrame:
    return pl.scan_parquet(files(root, table, first, last), hive_partitioning=False)


def build(root: str, day: date, out: str) -> dict[str, float]:
    """Write every table and return the seconds of each."""
    one, seconds = timedelta(1), {}
    Path(out).mkdir(parents=True, exist_ok=True)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    log = {table.name: scan(root, table, day, day) for table in logs.LOGS if table.name not in ("users", "items")}
    targets = scan(root, logs.requests, day - one, day + one).filter(pl.col("scenario") == SCENARIO)
    asked = targets.filter(pl.col("request_time").is_between(midnight, midnight + one, closed="left"))
    end = pl.col("event_time") < pl.lit(midnight + one) + WINDOW

    def written(table: Table, started: float, rows: pl.LazyFrame) -> pl.LazyFrame:
        made = rows.collect(engine="streaming")
        made.write_parquet(f"{out}/{table.name}.parquet", compression="zstd")
        seconds[table.name] = time.monotonic() - started
        return made.lazy()

    started = time.monotonic()
    acted = attributed(scan(root, logs.conversions, day, day + one).filter(end), targets).collect().lazy()
    groups = written(target_groups, started, labels(asked, log["impressions"], acted, log["retrievals"]))
    started = time.monotonic()
    history = histories(log["requests"], scan(root, logs.conversions, day - 30 * one, day))
    known = written(user_histories, started, history)
    started = time.monotonic()
    written(samples.increc_samples, started, increc_samples(groups, log["requests"], known))
    started = time.monotonic()
    written(samples.hccp_samples, started, hccp_samples(asked, log, acted, groups, known))
    return seconds


if __name__ == "__main__":
    root, day, out = sys.argv[1:]
    print(json.dumps(build(root, date.fromisoformat(day), out)))
