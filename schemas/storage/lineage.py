"""Whether a date of a Parquet table is out of step with the tables that it was made from."""

from collections.abc import Collection
from datetime import date, timedelta

from schemas.storage import delta_log, partitions
from schemas.storage.root import Root
from schemas.table import Table
from schemas.tables.labels import target_groups
from schemas.tables.logs import impressions, requests, retrievals, stages, users
from schemas.tables.samples import PROFILE_DAYS

# A changed row of the same date makes what was built of the date stale. Conversions count through the labels: they
# reach over several dates, and relabel_late tells which.
_LOGS = (requests, retrievals, stages, impressions, users)


def stale_dates(root: str, days: Collection[date], made: Collection[Table]) -> list[date]:
    """Which of the dates some table of `made` has, though an input of that date was changed afterwards.

    A commit of the labels that changed no row counts too: `relabel_late` makes it where conversions changed, and
    samples hold more of these than labels do. A commit of a log counts only if it changed rows of the date. A Parquet
    input counts if its partition is another than was read. Of `users`, the snapshot that was read and later ones count.
    """
    place = Root.of(root)
    manifests = [
        (day, partitions.manifest(place, table, day))
        for table in made
        for day in set(days) & set(partitions.dates(place, table))
    ]
    changes = _changes(place, [manifest["made_from"] for _, manifest in manifests])
    return sorted({day for day, manifest in manifests if _is_stale(place, day, manifest, changes)})


def _changes(place: Root, manifests: list[dict]) -> dict[str, dict[date, int]]:
    """Path of a Delta input -> date -> the newest version that changed the date."""
    changes = {target_groups.path: {day: each[0] for day, each in delta_log.newest(place, target_groups).items()}}
    for log in _LOGS:
        versions = [inputs[log.path] for inputs in manifests if log.path in inputs]
        changes[log.path] = {}
        for change in delta_log.file_changes(place, log, min(versions)) if versions else ():
            if change.changes_rows:
                changes[log.path][change.date] = max(change.version, changes[log.path].get(change.date, 0))
    return changes


def _is_stale(place: Root, day: date, manifest: dict, changes: dict[str, dict[date, int]]) -> bool:
    """Whether an input is no longer in the state that the manifest names."""
    for path, state in manifest["made_from"].items():
        if isinstance(state, str):
            if partitions.identity_at(place, path) != state:
                return True
        elif path == users.path:
            snapshot = manifest["settings"]["profiles_of"]
            first = date.fromisoformat(snapshot) if snapshot else day - timedelta(days=PROFILE_DAYS)
            if any(first <= changed < day and version > state for changed, version in changes[path].items()):
                return True
        elif state < changes.get(path, {}).get(day, 0):
            return True
    return False
