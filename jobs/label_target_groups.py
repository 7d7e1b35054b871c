"""Label what happened to each item after each target request of a date.

ETG: the item was exposed. RTG: it was acted on and some channel had retrieved it. ITG: it was acted on and no
channel had. A conversion belongs to the request it names, otherwise to the user's latest target request (or to
every one) whose window it falls in; windows cross midnight. A request without any retrieval cannot be labelled
and is counted as `unlabelable`; a conversion inside no window is counted as `unattributed`. The labels are `mature`
if the conversions log reaches to the end of the last window.

Reads:  logs/requests, logs/retrievals, logs/impressions, logs/conversions
Writes: labels/target_groups, the whole date anew; rows of reports/quality: the shares of unlabelable requests and of
        ITG among acted items, against the 7 days before
"""

import argparse
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs import command
from jobs.funnel.attribution import ATTRIBUTIONS, LAST_REQUEST, attribute, dates_around
from jobs.funnel.groups import group_items, touched_items
from jobs.validation import labels
from schemas.labels import HOMEPAGE
from schemas.logs import conversions, impressions, requests, retrievals
from schemas.spark import Store, session
from schemas.target_groups import target_groups


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument("--window-hours", type=command.at_least(1), default=24, help="default 24")
    parser.add_argument("--attribution", choices=ATTRIBUTIONS, default=LAST_REQUEST, help=f"default {LAST_REQUEST}")
    parser.add_argument("--scenario", default=HOMEPAGE, help=f"the target requests' scenario, default {HOMEPAGE}")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("label_target_groups"), arguments.root)
    hours, scenario = arguments.window_hours, arguments.scenario
    store.require(day, requests, retrievals, impressions, conversions)
    first, last = dates_around(day, hours)
    mature = all(store.has_date(conversions, day + timedelta(days=n)) for n in range((last - day).days + 1))
    asked = store.read(requests, first, last).where(F.col("scenario") == scenario)
    asked = asked.select("request_id", "user_id", "request_time", "date").persist()
    events = store.read(conversions, day, last).where(F.col("event_time") < _end(day, hours))
    attributed = attribute(events, asked, hours, arguments.attribution).persist()

    targets = asked.where(F.col("date") == day)
    lists = store.read(retrievals, day).select("request_id", "channel", "item_ids")
    rows = group_items(touched_items(targets, store.read(impressions, day), attributed), lists)
    settings = {"window_hours": hours, "attribution": arguments.attribution, "scenario": scenario, "mature": mature}
    written = store.replace(target_groups, day, rows.select(*target_groups.names), settings)
    counts = {
        "rows_written": written,
        "unlabelable": _unlabelable(targets, lists),
        "unattributed": attributed.where("request_id IS NULL").count(),
        "mature": mature,
    }
    counts |= labels.record(arguments.root, day, targets.count(), counts["unlabelable"])
    for kept in (attributed, asked):
        kept.unpersist()
    return counts


def _end(day: date, window_hours: int) -> Column:
    """The end of the last window that can open on the date."""
    return F.lit(day).cast("timestamp") + F.expr(f"INTERVAL {24 + window_hours} HOURS")


def _unlabelable(targets: DataFrame, lists: DataFrame) -> int:
    return targets.join(lists.select("request_id"), on="request_id", how="left_anti").count()


if __name__ == "__main__":
    command.run("label_target_groups", arg_parser().parse_args(), main)
