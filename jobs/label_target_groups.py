"""Label what happened to each item after each target request of a date.

Reads:  logs/requests, logs/retrievals, logs/impressions, logs/conversions
Writes: labels/target_groups, the whole date; rows of reports/quality: the
        shares of unlabelable requests and of ITG among acted items

- ETG: exposed. RTG: acted on, and a channel had retrieved it. ITG: acted on,
  and no channel had.
- A request without any retrieval is counted as `unlabelable`.
- A conversion inside no window is counted as `unattributed`.
- Labels are `mature` once conversions reach the end of the last window.

In detail:

ETG: the item was exposed. RTG: it was acted on and some channel had retrieved it. ITG: it was acted on and no
channel had. A conversion belongs to the request it names, otherwise to the user's latest target request (or to
every one) whose window it falls in; windows cross midnight. A request without any retrieval cannot be labelled
and is counted as `unlabelable`; a conversion inside no window is counted as `unattributed`. The labels are `mature`
if the conversions log reaches to the end of the last window. Target requests are those of --scenario, else of the
scenarios that settings.toml names.
"""

import argparse
from datetime import date

from jobs.command import cli
from jobs.funnel.labelling import Labelling, label
from jobs.quality.labels import record
from schemas.storage.session import session
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals
from schemas.vocabulary import HOMEPAGE, Attribution


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument("--window-hours", type=cli.at_least(1), default=24, help="default 24")
    usual = str(Attribution.LAST_REQUEST)
    parser.add_argument("--attribution", choices=[*map(str, Attribution)], default=usual, help=f"default {usual}")
    parser.add_argument(
        "--scenario", action="append", help=f"target scenario, repeatable; default {HOMEPAGE} or settings.toml's"
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    store = Store(session("label_target_groups"), arguments.root)
    root_settings = RootSettings.of(store.root)
    given = [name for name in arguments.scenario or () if name]  # a DAG's parameter that is not set is empty
    scenarios = tuple(given or root_settings.scenarios)
    labelling = Labelling(arguments.window_hours, arguments.attribution, scenarios, root_settings.time_zone)
    store.require(day, requests, retrievals, impressions, conversions)
    settings = labelling.settings(store, day)
    labels = label(store, day, labelling)
    rows_written = store.replace(target_groups, day, labels.rows, settings)
    requests_by_scenario = dict(labels.targets.groupBy("request_scenario").count().collect())
    requests_of_day = sum(requests_by_scenario.values())
    for scenario in scenarios:
        if scenario not in requests_by_scenario:
            cli.log(f"label_target_groups {day}: {without_requests(store, day, scenario)}")
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


def without_requests(store: Store, day: date, scenario: str) -> str:
    """One line about a target scenario that no request of the date has."""
    present = sorted(row.scenario for row in store.read(requests, day).select("scenario").distinct().collect())
    known = f"the requests' scenarios are {', '.join(present)}" if present else "the date has no request at all"
    return f"no request has the target scenario {scenario!r}; {known}"


if __name__ == "__main__":
    cli.run("label_target_groups", arg_parser().parse_args(), main)
