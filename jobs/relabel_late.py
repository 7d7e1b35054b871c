"""Label again what late conversions touched, over every labelled date up to this one.

A labelled date's commit says which version of conversions it was labelled from. Where the conversions of the dates in
its windows have changed since, the users of the rows that changed are labelled again, with the date's own window,
attribution and scenario, and what differs is merged: rows are added, changed, or deleted if they no longer hold. The
end is the same as labelling everything from scratch. A date whose old conversions are vacuumed is compared for all of
its users. `stale_dates` are the dates whose samples were built from labels that have changed since: build them again.
Late requests, retrievals or impressions need label_target_groups run again.

Reads:  logs/conversions and its changes, logs/requests, logs/retrievals, logs/impressions, labels/target_groups,
        the manifests of samples
Writes: labels/target_groups, the rows that changed
"""

import argparse
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.command import cli
from jobs.funnel.attribution import dates_around
from jobs.funnel.labelling import Labelling, label
from schemas.storage import delta_log
from schemas.storage.delta_log import FileChange
from schemas.storage.lineage import stale_dates
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions
from schemas.tables.samples import hccp_samples, increc_samples


def arg_parser() -> argparse.ArgumentParser:
    return cli.parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    root = Root.of(arguments.root)
    labelled = {one: recorded for one, (_, recorded) in delta_log.newest(root, target_groups).items() if one <= day}
    if not labelled:
        raise MissingDataError(f"no date up to {day} is labelled below {root.path}: run label_target_groups")
    store = Store(session("relabel_late"), arguments.root)
    now = store.read_all(conversions)  # pinned before its changes are read: none is missed
    oldest = min(recorded["made_from"][conversions.path] for recorded in labelled.values())
    changes = delta_log.file_changes(root, conversions, oldest)
    changed = {one: relabel(store, one, labelled[one], now, changes) for one in sorted(labelled)}
    stale = stale_dates(arguments.root, changed, made=(increc_samples, hccp_samples), source=target_groups)
    return {
        "rows_written": sum(changed.values()),
        "relabelled_dates": [str(one) for one, rows in changed.items() if rows],
        "stale_dates": [str(one) for one in stale],
    }


def relabel(store: Store, day: date, recorded: dict, now: DataFrame, changes: list[FileChange]) -> int:
    """Merge what late conversions change of a date's labels; returns how many rows that are.

    Args:
        recorded: what the commit that last wrote the labels of the date says.
        now: all conversions.
        changes: of the conversions' files, since that commit or longer.
    """
    labelling = Labelling(*(recorded["settings"][name] for name in ("window_hours", "attribution", "scenario")))
    since = recorded["made_from"][conversions.path]
    _, last = dates_around(day, labelling.window_hours)
    touching = [one for one in changes if one.version > since and day <= one.date <= last]
    if not any(one.changes_rows for one in touching):
        return 0
    there, users = store.read(target_groups, day).select(*target_groups.names), None
    if all(store.root.exists(f"{conversions.path}/{one.path}") for one in touching if one.removed):
        before = store.read_at(conversions, since)
        users = changed_users(before, now, sorted({one.date for one in touching})).persist()
        there = there.join(users, on="user_id", how="left_semi").select(*target_groups.names)
    labels = label(store, day, labelling, users)
    wanted = labels.rows.persist()  # for what is to be put, and for what is gone
    rows = store.update(target_groups, day, there, wanted, labelling.settings(store, day))
    cli.log(f"relabel_late: {rows} rows of {day} changed")
    wanted.unpersist()
    labels.unpersist()
    if users:
        users.unpersist()
    return rows


def changed_users(before: DataFrame, now: DataFrame, days: list[date]) -> DataFrame:
    """user_id of those whose conversions on these dates are no longer what they were."""
    before, now = (rows.where(F.col("date").isin(days)).select(*conversions.names) for rows in (before, now))
    return now.exceptAll(before).unionByName(before.exceptAll(now)).select("user_id").distinct()


if __name__ == "__main__":
    cli.run("relabel_late", arg_parser().parse_args(), main)
