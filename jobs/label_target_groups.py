"""Label what happened to each item after each target request of a date.

ETG: the item was exposed. RTG: it was acted on and some channel had retrieved it. ITG: it was acted on and no
channel had. A conversion belongs to the request it names, otherwise to the user's latest target request (or to
every one) whose window it falls in; windows cross midnight. A request without any retrieval cannot be labelled
and is counted as `unlabelable`; a conversion inside no window is counted as `unattributed`. The labels are `mature`
if the conversions log reaches to the end of the last window.

Reads:  logs/requests, logs/retrievals, logs/impressions, logs/conversions
Writes: labels/target_groups, the whole date anew; rows of reports/quality: the shares of unlabelable requests and of
        ITG among acted items, against the days before
"""

import argparse
from datetime import date

from jobs.command import cli
from jobs.funnel.labelling import Labelling, label
from jobs.quality.labels import record
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals
from schemas.vocabulary import HOMEPAGE, Attribution


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--window-hours", type=cli.at_least(1), default=24, help="default 24")
    usual = str(Attribution.LAST_REQUEST)
    parser.add_argument("--attribution", choices=[*map(str, Attribution)], default=usual, help=f"default {usual}")
    parser.add_argument("--scenario", default=HOMEPAGE, help=f"the target requests' scenario, default {HOMEPAGE}")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("label_target_groups"), arguments.root)
    labelling = Labelling(arguments.window_hours, arguments.attribution, arguments.scenario)
    store.require(day, requests, retrievals, impressions, conversions)
    settings = labelling.settings(store, day)
    labels = label(store, day, labelling)
    rows_written = store.replace(target_groups, day, labels.rows, settings)
    requests_of_day = labels.targets.count()
    unlabelable = requests_of_day - labels.labelable.count()
    unattributed = labels.attributed.where("request_id IS NULL").count()
    labels.unpersist()
    return {
        "rows_written": rows_written,
        "unlabelable": unlabelable,
        "unattributed": unattributed,
        "mature": settings["mature"],
        **record(arguments.root, day, requests_of_day, unlabelable),
    }


if __name__ == "__main__":
    cli.run("label_target_groups", arg_parser().parse_args(), main)
