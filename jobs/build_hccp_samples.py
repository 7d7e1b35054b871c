"""Draw each labelled request's hybrid pre-ranking sample, best item first.

Reads:  logs/requests, logs/retrievals, logs/stages, logs/impressions,
        logs/conversions, logs/users (may be absent), labels/target_groups,
        features/user_histories
Writes: samples/hccp_samples, one row per labelled request with an impression
        and a ranking or re_ranking row

- Levels: purchased, clicked, exposed, ranked (10 drawn), filtered (40 drawn);
  shadow where the stage `shadow_ranking` is logged.

In detail:

Levels: purchased, clicked, exposed (all of the request's impressions, by in-scenario action), ranked (10 of what
ranking let through and was not exposed, denser near the top), filtered (40 of what was retrieved and pre-ranking
dropped, uniformly). Where the stage `shadow_ranking` is logged, what it scored of what pre-ranking dropped has level
shadow instead of filtered: all of it, placed among the ranked items by the ranker's score. A conversion is in-scenario
when it names the request, or was made in its scenario on an item it exposed. Window, attribution and scenarios are
those recorded when the date was labelled. A row has the request's attributes as `context_...`, and its user's as of
the newest snapshot of the 30 days before as `profile_...`.
"""

import argparse
from datetime import date
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.command import cli
from jobs.funnel.attribution import of_date, strongest
from jobs.funnel.columns import union
from jobs.funnel.context import Context
from jobs.funnel.histories import with_history
from jobs.funnel.labelling import Labelling
from jobs.funnel.levels import FILTERED, RANKED, leveled
from schemas.storage.lineage import stale_dates
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals, stages
from schemas.tables.samples import hccp_samples
from schemas.vocabulary import Action, Stage, TargetGroup

_BEHIND_ALL = 2**31 - 1

stale = partial(stale_dates, made=[hccp_samples])


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument("--seed", type=cli.at_least(0), default=0, help="of the draws, default 0")
    cli.stale_flag(parser, "labels")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_hccp_samples"), arguments.root)
    store.require(day, requests, retrievals, stages, impressions, conversions, target_groups)
    groups = store.read(target_groups, day)
    settings_of_labels = store.labelled(target_groups, day)
    labelling = Labelling.recorded(settings_of_labels)
    targets, attributed = labelling.attributed(store, day)
    targets = targets.where(F.col("date") == day).drop("date")
    of_targets = of_date(attributed, day, labelling.time_zone).join(
        targets.select("request_id", "request_scenario"), on="request_id", how="inner"
    )
    feedback = with_feedback(store.read(impressions, day), of_targets)
    passed = store.read(stages, day)
    lists = logged_lists(store.read(retrievals, day), passed)
    funnel = targets.drop("request_scenario").join(attributed_actions(groups), on="request_id", how="inner")
    for part in (feedback, lists):
        funnel = funnel.join(part, on="request_id", how="inner")
    funnel = with_shadow(funnel, passed)
    context = Context.of(store, arguments.root, day)
    rows = samples(leveled(funnel, arguments.seed), store.read(user_histories, day)).select(*hccp_samples.names)
    sizes = {"ranked": RANKED, "filtered": FILTERED}
    settings = {"seed": arguments.seed, "labelling": settings_of_labels, **sizes, **context.settings}
    return {"rows_written": store.replace(hccp_samples, day, context.join(rows), settings)}


def attributed_actions(groups: DataFrame) -> DataFrame:
    """One row per labelled request; `attributed`: a map from each acted item to its strongest action.

    Args:
        groups: the rows of `target_groups`.
    """
    acted = (F.col("group") != TargetGroup.ETG.value) & F.col("action").isNotNull()
    return groups.groupBy("request_id").agg(_actions(acted).alias("attributed"))


def with_feedback(impressions: DataFrame, attributed: DataFrame) -> DataFrame:
    """One row per request with an impression, its items by their strongest in-scenario action.

    Args:
        impressions: the rows of `impressions`.
        attributed: what `attribute` returns for the date's requests, with `request_scenario`.

    `purchased`, `clicked`, `exposed`: its shown items whose action is a purchase, another one, none; `in_scenario`:
    a map from every item with such an action, shown or not.
    """
    conversion = ("request_id", "item_id", "action", "event_time", "event_id", "scenario", "named", "request_scenario")
    rows = union(
        impressions.select("request_id", "item_id", "position"),
        attributed.select(*conversion),
    )
    shown, bought = F.col("shown"), F.col("action") == Action.PURCHASE.value
    items = (
        rows.repartition("request_id")
        .groupBy("request_id", "item_id")
        .agg(
            F.count("position").alias("impressions"),
            strongest(F.col("named")).alias("naming"),
            strongest(F.col("named") | (F.col("scenario") == F.col("request_scenario"))).alias("inside"),
        )
        .withColumn("shown", F.col("impressions") > 0)
        .withColumn("action", F.when(shown, F.col("inside.action")).otherwise(F.col("naming.action")))
    )
    return (
        items.groupBy("request_id")
        .agg(
            F.collect_list(F.when(shown & bought, F.col("item_id"))).alias("purchased"),
            F.collect_list(F.when(shown & ~bought, F.col("item_id"))).alias("clicked"),
            F.collect_list(F.when(shown & F.col("action").isNull(), F.col("item_id"))).alias("exposed"),
            _actions(F.col("action").isNotNull()).alias("in_scenario"),
            F.bool_or("shown").alias("any_shown"),
        )
        .where("any_shown")
    )


def logged_lists(retrievals: DataFrame, passed: DataFrame) -> DataFrame:
    """One row per request with a retrieval and a ranking or re_ranking row.

    `channels`: every channel's list; `ranking` and `pre_ranking`: what these stages let through (the latter null if
    not logged). Both tables go through one shuffle and are gathered after it: before it there is little to gather.
    """
    columns = ["request_id", "stage", "item_ids"]
    rows = retrievals.withColumn("stage", F.lit(None).cast("string")).select(columns).union(passed.select(columns))

    def output(stage: Stage) -> Column:
        return F.get(F.collect_list(F.when(F.col("stage") == stage.value, F.col("item_ids"))), F.lit(0))

    return (
        rows.repartition("request_id")
        .groupBy("request_id")
        .agg(
            F.collect_list(F.when(F.col("stage").isNull(), F.col("item_ids"))).alias("channels"),
            F.coalesce(output(Stage.RANKING), output(Stage.RE_RANKING)).alias("ranking"),
            output(Stage.PRE_RANKING).alias("pre_ranking"),
        )
        .where((F.size("channels") > 0) & F.col("ranking").isNotNull())
    )


def with_shadow(funnel: DataFrame, passed: DataFrame) -> DataFrame:
    """Add `shadow`, as `leveled` takes it; empty for a request without a `shadow_ranking` row.

    A rank counts the `ranking` row's scores. Where either row has none, or only re_ranking was logged, nobody knows how
    the two lists compare: the shadow items come behind all ranked ones, in their own order.

    Args:
        passed: the rows of `stages`; their scores are read only if some row is a `shadow_ranking`.
    """
    none = F.array().cast("array<struct<rank:int,place:int,item_id:bigint>>")
    shadow = passed.where(F.col("stage") == Stage.SHADOW_RANKING.value)
    if shadow.isEmpty():
        return funnel.withColumn("shadow", none)

    def as_high(score: Column) -> Column:
        rising = F.sort_array(F.array_append("ranker_scores", score))
        return F.size(rising) - F.array_position(rising, score)

    ranking = passed.where(F.col("stage") == Stage.RANKING.value)
    both = shadow.join(ranking.select("request_id", F.col("scores").alias("ranker_scores")), "request_id", how="left")
    comparable = F.coalesce((F.size("scores") > 0) & (F.size("ranker_scores") > 0), F.lit(False))
    places = F.transform(
        "item_ids",
        lambda item_id, before: F.struct(
            F.when(comparable, as_high(F.get("scores", before))).otherwise(_BEHIND_ALL).cast("int").alias("rank"),
            (before + 1).alias("place"),
            item_id.alias("item_id"),
        ),
    )
    placed = both.select("request_id", places.alias("shadow"))
    return funnel.join(placed, on="request_id", how="left").withColumn("shadow", F.coalesce("shadow", none))


def samples(leveled: DataFrame, histories: DataFrame) -> DataFrame:
    """The rows of `hccp_samples`.

    Args:
        leveled: what `leveled` returns, with `attributed` and `in_scenario`, maps from item to action.
        histories: the rows of `user_histories`.
    """
    return (
        with_history(leveled, histories)
        .withColumn("teacher_ranks", F.sequence(F.lit(1), F.size("item_ids")))
        .withColumn("actions", _looked_up("attributed"))
        .withColumn("in_scenario_actions", _looked_up("in_scenario"))
    )


def _actions(counted: Column) -> Column:
    """Aggregates items to a map from item to action, of those that count."""
    return F.map_from_entries(F.collect_list(F.when(counted, F.struct("item_id", "action"))))


def _looked_up(actions: str) -> Column:
    """For each sampled item its action in the map, or an empty string."""
    known = F.col(actions)
    return F.transform("item_ids", lambda item: F.coalesce(F.try_element_at(known, item), F.lit("")))


if __name__ == "__main__":
    cli.run("build_hccp_samples", arg_parser().parse_args(), main, stale)
