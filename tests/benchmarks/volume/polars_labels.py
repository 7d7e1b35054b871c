"""Polars' frames for the labels, the histories and `increc_samples`; see polars_frames."""

from datetime import UTC, datetime

import polars as pl

from schemas.tables import samples
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.vocabulary import HOMEPAGE, Action

WINDOW = pl.duration(hours=24)
STRONGEST = ("weakness", "event_time", "event_id")
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
        pl.col("action", "event_time", "scenario").sort_by(*STRONGEST).first(),
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
    groups = pl.concat([etg, others]).lazy().rename({"event_time": "action_time"})
    return groups.with_columns(request_scenario=pl.lit(HOMEPAGE)).select(target_groups.names)


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


def _strength() -> pl.Expr:
    return pl.col("action").replace_strict({one.value: one.strength for one in Action}, return_dtype=pl.Int32)
