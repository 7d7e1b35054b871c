"""Draw each labelled request's hybrid pre-ranking sample: items from every stage of the funnel, best first.

Levels: purchased, clicked, exposed (all of the request's impressions, by in-scenario action), ranked (10 of what
ranking let through and was not exposed, denser near the top), filtered (40 of what was retrieved and pre-ranking
dropped, uniformly). A conversion is in-scenario when it names the request, or was made in its scenario on an item
it exposed. Window, attribution and scenario are those recorded when the date was labelled.

Reads:  logs/requests, logs/retrievals, logs/stages, logs/impressions, logs/conversions, labels/target_groups,
        features/user_histories
Writes: samples/hccp_samples, one row per labelled request with an impression and a ranking or re_ranking row
"""

import argparse
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs import command
from jobs.funnel.attribution import attribute, dates_around, strongest
from jobs.funnel.groups import exposed_items
from jobs.funnel.levels import FILTERED, RANKED, leveled
from schemas.features import user_histories
from schemas.labels import Stage, TargetGroup
from schemas.logs import conversions, impressions, requests, retrievals, stages
from schemas.samples import hccp_samples
from schemas.spark import Store, session
from schemas.target_groups import target_groups


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument("--seed", type=command.at_least(0), default=0, help="of the draws, default 0")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("build_hccp_samples"), arguments.root)
    store.require(day, requests, retrievals, stages, impressions, conversions, target_groups)
    groups = store.read(target_groups, day)
    labelling = store.labelled(target_groups, day)
    hours, scenario = labelling["window_hours"], labelling["scenario"]
    first, last = dates_around(day, hours)
    around = store.read(requests, first, last).where(F.col("scenario") == scenario)
    events = store.read(conversions, day, last)
    attributed = attribute(events, around, hours, labelling["attribution"])

    labelled = groups.select("request_id").distinct()
    asked = around.where(F.col("date") == day).join(labelled, on="request_id", how="left_semi")
    shown = exposed_items(store.read(impressions, day))
    exposed = with_feedback(shown, attributed, scenario)
    passed = by_stage(store.read(stages, day))
    lists = store.read(retrievals, day).groupBy("request_id").agg(F.collect_list("item_ids").alias("channels"))
    funnel = asked.join(exposed, on="request_id").join(passed, on="request_id").join(lists, on="request_id")
    rows = samples(leveled(funnel, arguments.seed), groups, store.read(user_histories, day))
    settings = {"seed": arguments.seed, "labelling": labelling, "ranked": RANKED, "filtered": FILTERED}
    return {"rows_written": store.replace(hccp_samples, day, rows.select(*hccp_samples.names), settings)}


def with_feedback(shown: DataFrame, attributed: DataFrame, scenario: str) -> DataFrame:
    """One row per request with an impression, by its strongest in-scenario actions.

    `exposed`: its shown items with that action or null; `in_scenario`: a map from every such item, shown or not.
    """
    inside = F.col("named") | ((F.col("scenario") == scenario) & F.col("shown"))
    acted = (
        attributed.where("request_id IS NOT NULL")
        .join(shown.select("request_id", "item_id", F.lit(True).alias("shown")), ["request_id", "item_id"], "left")
        .withColumn("shown", F.coalesce("shown", F.lit(False)))
        .where(inside)
        .groupBy("request_id", "item_id")
        .agg(strongest().alias("best"))
        .select("request_id", "item_id", "best.action")
    )
    items = shown.join(acted, on=["request_id", "item_id"], how="full")
    item = F.struct("item_id", "action")
    return items.groupBy("request_id").agg(
        F.collect_list(F.when(F.col("position").isNotNull(), item)).alias("exposed"),
        F.map_from_entries(F.collect_list(F.when(F.col("action").isNotNull(), item))).alias("in_scenario"),
        F.count("position").alias("impressions"),
    ).where("impressions > 0")  # fmt: skip


def by_stage(passed: DataFrame) -> DataFrame:
    """One row per request with a ranking or re_ranking row: `ranking` and `pre_ranking` (null if not logged)."""

    def output(stage: Stage) -> Column:
        return F.first(F.when(F.col("stage") == stage.value, F.col("item_ids")), ignorenulls=True)

    return (
        passed.groupBy("request_id")
        .agg(
            F.coalesce(output(Stage.RANKING), output(Stage.RE_RANKING)).alias("ranking"),
            output(Stage.PRE_RANKING).alias("pre_ranking"),
        )
        .where("ranking IS NOT NULL")
    )


def samples(funnel: DataFrame, groups: DataFrame, histories: DataFrame) -> DataFrame:
    """The rows of `hccp_samples`.

    Args:
        funnel: what `leveled` returns, with `in_scenario`, a map item -> strongest in-scenario action.
        groups: the rows of `target_groups`.
        histories: the rows of `user_histories`.
    """
    acted = groups.where((F.col("group") != TargetGroup.ETG.value) & F.col("action").isNotNull())
    acted = acted.groupBy("request_id").agg(
        F.map_from_entries(F.collect_list(F.struct("item_id", "action"))).alias("attributed")
    )
    histories = histories.select("request_id", "history_item_ids", "history_actions")
    items = F.transform("sampled", lambda item: item.item_id)
    return (
        funnel.join(acted, on="request_id", how="left")
        .join(histories, on="request_id", how="inner")
        .withColumn("item_ids", items)
        .withColumn("levels", F.transform("sampled", lambda item: item.level))
        .withColumn("teacher_ranks", F.transform("sampled", lambda _, place: (place + 1).cast("int")))
        .withColumn("actions", _looked_up("attributed"))
        .withColumn("in_scenario_actions", _looked_up("in_scenario"))
        .withColumn("sampling_weights", F.transform("sampled", lambda item: item.weight))
    )


def _looked_up(actions: str) -> Column:
    """For each sampled item its action in the map, or an empty string."""
    known = F.col(actions)
    return F.transform("sampled", lambda item: F.coalesce(F.try_element_at(known, item.item_id), F.lit("")))


if __name__ == "__main__":
    command.run("build_hccp_samples", arg_parser().parse_args(), main)
