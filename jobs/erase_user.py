"""Erase a user: take the user's rows, and those of the user's requests, away.

Reads:  settings.toml, ids/user_id
Writes: landing, logs, quarantine, labels, features/user_histories, samples and
        ids/user_id without these rows

- Run it while no other job writes. A second run finds nothing; after a kill,
  run it again.
- Old versions of Delta tables hold the rows for `old_versions_days`, until
  maintain_tables deletes their files. --vacuum deletes them at once: a job that
  reads an old version meanwhile fails.
- Counts (features/item_stats, reports) and models stay: train models again.

In detail:

Only files that hold such rows are rewritten, and manifests count what is left. A conversion of another user stays, even
if it names one of the requests. No table becomes stale. The landing dates do: ingesting them again changes no row.
After --vacuum, relabel_late compares whole dates where it would compare versions.

The log of a Delta table keeps the smallest and largest id of each old file. What a killed job left in _staging may hold
rows too, until maintain_tables clears it.
"""

import argparse

from jobs.command import cli
from jobs.erasure import landed, published, versioned
from jobs.erasure.landed import Erased
from jobs.erasure.user import User
from schemas.table import Table
from schemas.tables.features import user_histories
from schemas.tables.ids import user_id
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals, stages, users
from schemas.tables.samples import hccp_samples, increc_samples

# The requests last: by these a run that goes on after a kill knows the rows of the others.
LOGS = (retrievals, stages, impressions, conversions, users, requests)
SAMPLES = (increc_samples, hccp_samples)
QUARANTINE = tuple(Table(log.name, published.QUARANTINE, log.doc, log.key, log.columns) for log in LOGS)
DELTA = (target_groups, *LOGS, user_id)


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__, dated=False)
    parser.add_argument("--user-id", required=True, metavar="ID", help="the user's id, as the producer writes it")
    parser.add_argument("--vacuum", action="store_true", help="delete the Delta tables' old versions")
    return parser


def main(arguments: argparse.Namespace) -> dict:
    root = arguments.root
    user = User.of(root, arguments.user_id)
    find_requests(root, user)
    erased = {f"landing/{log.name}": landed.erase(root, log, user) for log in LOGS}
    histories, identities = published.erase(root, user_histories, user)
    published.follow(root, SAMPLES, identities)
    erased |= {table.path: published.erase(root, table, user)[0] for table in SAMPLES}
    erased |= {user_histories.path: histories}
    erased |= {target_groups.path: versioned.erase(root, target_groups, user)}
    erased |= {table.path: published.erase(root, table, user)[0] for table in QUARANTINE}
    erased |= {table.path: versioned.erase(root, table, user) for table in (*LOGS, user_id)}
    return summary(erased) | old_versions(root, arguments.vacuum)


def find_requests(root: str, user: User) -> None:
    """Add the user's requests, wherever they are known."""
    landed.find_requests(root, user)
    for table in (*SAMPLES, QUARANTINE[-1]):
        published.find_requests(root, table, user)
    for table in (target_groups, requests):
        versioned.find_requests(root, table, user)


def summary(erased: dict[str, Erased]) -> dict:
    """Rows by table, 0 where there was none, and the totals."""
    unreadable = [line for each in erased.values() for line in each.unreadable]
    for line in unreadable:
        cli.log(f"erase_user: {line}; it may hold rows of the user")
    return {
        "rows_erased": sum(each.rows for each in erased.values()),
        "files_rewritten": sum(each.files for each in erased.values()),
        "tables": {path: each.rows for path, each in erased.items()},
        "failed_files": unreadable,
    }


def old_versions(root: str, vacuum: bool) -> dict:
    """For how many days old versions still hold rows that are erased; 0 if their files are deleted."""
    tables = [table for table in DELTA if versioned.exists(root, table)]
    if vacuum:
        return {"old_versions_days": 0, "old_files_deleted": sum(versioned.vacuum(root, table) for table in tables)}
    days = max((versioned.retention_days(root, table) for table in tables), default=0)
    if days:
        cli.log(
            f"erase_user: old versions of the Delta tables hold erased rows until maintain_tables deletes files older "
            f"than {days} days; --vacuum deletes them at once"
        )
    return {"old_versions_days": days, "old_files_deleted": 0}


if __name__ == "__main__":
    ARGUMENTS = arg_parser().parse_args()
    cli.run_once("erase_user", lambda: main(ARGUMENTS))
