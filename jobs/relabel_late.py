"""Label again what late rows of the logs touched, up to this date.

Reads:  logs/requests, logs/retrievals, logs/impressions, logs/conversions and
        their changes, labels/target_groups, the manifests of samples
Writes: labels/target_groups, the rows that changed

- The end is the same as labelling everything from scratch.
- `stale_dates` are those whose samples were built from what has changed since:
  build them again.

In detail:

A labelled date's commit says which versions of the logs it was labelled from. Where requests, retrievals, impressions
or conversions that can matter to the date have changed since, the users of the changed rows are labelled again, with
the date's recorded settings. What differs is merged: rows are added, changed, or deleted if they no longer hold. The
end is the same as labelling everything from scratch.

A date whose old files are vacuumed is compared for all of its users.
`stale_dates` are the dates whose labels, or whose samples' other inputs, changed since: build them again.
"""

import argparse
from collections.abc import Mapping
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.command import cli
from jobs.funnel.labelling import Labelling, label
from schemas.storage import delta_log
from schemas.storage.delta_log import FileChange
from schemas.storage.lineage import stale_dates
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store, row_hash
from schemas.table import MissingDataError, Table
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals
from schemas.tables.samples import hccp_samples, increc_samples

SOURCES = (requests, retrievals, impressions, conversions)
BUILT = (user_histories, increc_samples, hccp_samples)


def arg_parser() -> argparse.ArgumentParser:
    return cli.spark_parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    root = Root.of(arguments.root)
    labelled = {each: recorded for each, (_, recorded) in delta_log.newest(root, target_groups).items() if each <= day}
    if not labelled:
        raise MissingDataError(f"no date up to {day} is labelled below {root.path}: run label_target_groups")
    store = Store(session("relabel_late"), arguments.root)
    changes = {log: changes_of(store, log, labelled) for log in SOURCES}
    rows = {each: relabel(store, each, labelled[each], changes) for each in sorted(labelled)}
    stale = stale_dates(arguments.root, rows, made=BUILT)
    return {
        "rows_written": sum(rows.values()),
        "relabelled_dates": [str(each) for each, changed in rows.items() if changed],
        "stale_dates": [str(each) for each in stale],
    }


def changes_of(store: Store, log: Table, labelled: Mapping[date, dict]) -> list[FileChange]:
    """What was done to a log's files since the oldest of the labellings; pins the log first, so that none is missed."""
    store.read_all(log)
    oldest = min(recorded["made_from"].get(log.path, 0) for recorded in labelled.values())
    pinned = store.made_from[log.path]
    changes = delta_log.file_changes(store.root, log, oldest)
    return [change for change in changes if change.changes_rows and change.version <= pinned]


def relabel(store: Store, day: date, recorded: dict, changes: Mapping[Table, list[FileChange]]) -> int:
    """Merge what late rows change of a date's labels; returns how many rows that are.

    Args:
        recorded: what the commit that last wrote the labels of the date says.
        changes: of each log's files, since that commit or longer.
    """
    labelling = Labelling.recorded(recorded["settings"])
    read = dates_read(labelling, day)
    touching = {
        log: [
            each for each in changes[log] if each.version > recorded["made_from"][log.path] and each.date in read[log]
        ]
        for log in SOURCES
    }
    if not any(touching.values()):
        return 0
    labels_before, users = store.read(target_groups, day).select(*target_groups.names), None
    if all(is_readable(store, log, touching[log]) for log in SOURCES):
        users = touched_users(store, day, recorded["made_from"], touching).persist()
        labels_before = labels_before.join(users, on="user_id", how="left_semi").select(*target_groups.names)
    labels = label(store, day, labelling, users)
    wanted = labels.rows.persist()  # for what is to be put, and for what is gone
    rows = store.update(target_groups, day, labels_before, wanted, labelling.settings(store, day))
    cli.log(f"relabel_late: {rows} rows of {day} changed")
    wanted.unpersist()
    labels.unpersist()
    if users:
        users.unpersist()
    return rows


def dates_read(labelling: Labelling, day: date) -> dict[Table, list[date]]:
    """The dates of each log that can matter to the labels of a date."""
    return {
        requests: labelling.request_dates(day),
        retrievals: [day],
        impressions: [day],
        conversions: labelling.conversion_dates(day),
    }


def is_readable(store: Store, log: Table, touching: list[FileChange]) -> bool:
    """Whether the files that were taken away are still there to compare with: vacuum deletes them."""
    return all(store.root.exists(f"{log.path}/{each.path}") for each in touching if each.removed)


def touched_users(
    store: Store, day: date, made_from: Mapping[str, int], touching: Mapping[Table, list[FileChange]]
) -> DataFrame:
    """user_id of those whose labels of a date may be others, because of rows that changed since `made_from`."""
    users = []
    for log in (log for log in SOURCES if touching[log]):
        days = sorted({each.date for each in touching[log]})
        changed = changed_rows(store, log, made_from[log.path], days)
        if "user_id" not in log.names:
            # Of a request whose own row changed, the user is found among the requests.
            changed = store.read(requests, day).join(changed.select("request_id"), on="request_id", how="left_semi")
        users.append(changed.select("user_id"))
    return reduce(DataFrame.unionByName, users).distinct()


def changed_rows(store: Store, log: Table, version: int, days: list[date]) -> DataFrame:
    """The keys, and user_id where there is one, of the rows that a version of a log had on these dates or lacks.

    Rows are compared by a hash of their columns: lists are long.
    """
    columns = [*log.key, *(name for name in ("user_id",) if name in log.names)]
    before, now = (
        rows.where(F.col("date").isin(days)).select(*columns, row_hash(log.names).alias("digest"))
        for rows in (store.read_at(log, version), store.read_all(log))
    )
    return now.exceptAll(before).unionByName(before.exceptAll(now))


if __name__ == "__main__":
    cli.run("relabel_late", arg_parser().parse_args(), main)
