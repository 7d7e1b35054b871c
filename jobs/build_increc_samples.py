"""Gather each labelled request with an acted item into one row.

Reads:  logs/requests, logs/users (may be absent), labels/target_groups,
        features/user_histories
Writes: samples/increc_samples

- It holds the history and at most 10 ETG, 20 RTG and 20 ITG items.
- An RTG item that the channel `increc` alone returned counts as ITG.

In detail:

Items are ordered by strongest action, then earliest, then item_id; at most 10 ETG, 20 RTG and 20 ITG are kept. An RTG
item that the channel `increc` alone returned counts as ITG, exposed or not: IncRec learns what the other channels miss,
and would unlearn what it finds.

A row has the request's attributes as `context_...`, and its user's as of the newest snapshot of the 30 days before
as `profile_...`.
"""

import argparse
from datetime import UTC, date, datetime
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.command import cli
from jobs.funnel.attribution import strength
from jobs.funnel.context import Context
from jobs.funnel.histories import with_history
from schemas.storage.lineage import stale_dates
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import requests
from schemas.tables.samples import increc_samples
from schemas.vocabulary import INCREC, TargetGroup

KEPT = {TargetGroup.ETG: 10, TargetGroup.RTG: 20, TargetGroup.ITG: 20}


# A literal of Python's: Sail cannot cast one inside a struct that it collects.
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)

stale = partial(stale_dates, made=[increc_samples])


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    cli.stale_flag(parser, "labels")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_increc_samples"), arguments.root)
    store.require(day, requests, target_groups)
    groups, asked = store.read(target_groups, day), store.read(requests, day)
    labelling = store.labelled(target_groups, day)
    context = Context.of(store, arguments.root, day)
    rows = samples(groups, asked, store.read(user_histories, day)).select(*increc_samples.names)
    kept = {str(group): kept for group, kept in KEPT.items()}
    settings = {"labelling": labelling, "kept": kept, **context.settings}
    return {"rows_written": store.replace(increc_samples, day, context.join(rows), settings)}


def samples(groups: DataFrame, asked: DataFrame, histories: DataFrame) -> DataFrame:
    """The rows of `increc_samples`, one per request with at least one RTG or ITG row."""
    item = F.struct(
        (-F.coalesce(strength(F.col("action")), F.lit(0))).alias("weakness"),
        F.coalesce("action_time", F.lit(_NEVER)).alias("action_time"),
        "item_id",
        F.coalesce("action", F.lit("")).alias("action"),
    )
    own = (F.col("group") == TargetGroup.RTG.value) & (F.col("channels") == F.array(F.lit(INCREC)))
    groups = groups.withColumn("group", F.when(own, TargetGroup.ITG.value).otherwise(F.col("group")))
    gathered = groups.groupBy("request_id").agg(*(_kept(group, item) for group in TargetGroup))
    gathered = gathered.where((F.size("rtg") > 0) | (F.size("itg") > 0))
    lists = {f"{name}_item_ids": F.col(f"{name}.item_id") for name in ("etg", "rtg", "itg")}
    lists |= {f"{name}_actions": F.col(f"{name}.action") for name in ("etg", "rtg", "itg")}
    asked = asked.select("request_id", "user_id", "scenario", "request_time")
    return with_history(gathered.join(asked, on="request_id", how="inner"), histories).withColumns(lists)


def _kept(group: TargetGroup, item: Column) -> Column:
    """The group's items in order, as many as are kept; an empty list where there are none."""
    items = F.collect_list(F.when(F.col("group") == group.value, item))
    return F.slice(F.sort_array(items), 1, KEPT[group]).alias(group.value.lower())


if __name__ == "__main__":
    cli.run("build_increc_samples", arg_parser().parse_args(), main, stale)
