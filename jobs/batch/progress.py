"""Whether a date of a table is what its job would make of today's inputs and settings."""

from argparse import Namespace
from datetime import date, timedelta

from jobs.batch.steps import Step
from schemas.storage import arrow, delta_log, partitions
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.table import MissingDataError, Table
from schemas.tables.labels import recorded_scenarios, target_groups
from schemas.tables.logs import LOGS
from schemas.tables.registry import TABLES

_BY_PATH = {table.path: table for table in TABLES.values()}
_FLAGS = ("window_hours", "attribution", "seed")


def is_ingested(root: str, step: Step, day: date) -> bool:
    """Whether every log that has to be there was written for the date, from the files that are landed now."""
    place = Root.of(root)
    required = [log for log in LOGS if not log.optional]
    return all(day in delta_log.newest(place, log) for log in required) and not step.module.stale(root, [day])


def lacks(root: str, step: Step, day: date) -> bool:
    """Whether the date is without the log that the job needs and a root may lack."""
    if step.needs is None:
        return False
    return day not in delta_log.newest(Root.of(root), step.needs) and day not in arrow.dates(root, step.needs)


def is_made(root: str, step: Step, day: date, arguments: Namespace) -> bool:
    """Whether a date was made with these arguments, and no input within reach has changed since.

    Of Delta inputs the changed rows count by date, of Parquet inputs and labels any new state of the date.
    """
    place = Root.of(root)
    recorded = _recorded(place, step.table, day)
    if recorded is None or not _agrees(recorded["settings"], arguments, RootSettings.of(place)):
        return False
    hours = recorded["settings"].get("labelling", recorded["settings"]).get("window_hours", 0)
    later = hours // 24 + 2 if step.takes_later_days else 0
    reach = day - timedelta(days=step.days_before), day + timedelta(days=later)
    inputs = {path: state for path, state in recorded["made_from"].items() if path != step.table.path}
    return not any(_has_changed(place, path, state, day, reach) for path, state in inputs.items())


def _recorded(place: Root, table: Table, day: date) -> dict | None:
    """What the date's manifest, or the commit that wrote it last, says; None if the date is not there."""
    if table.storage == "delta":
        return delta_log.newest(place, table).get(day, (0, None))[1]
    try:
        manifest = partitions.manifest(place, table, day)
    except MissingDataError:
        return None
    return manifest if manifest["contract"] == table.fingerprint else None


def _agrees(settings: dict, arguments: Namespace, root_settings: RootSettings) -> bool:
    """Whether the settings that a run would record are those recorded; older records lack some."""
    given = vars(arguments)
    flags = {name: given[name] for name in _FLAGS if name in given}
    if any(settings.get(name) != value for name, value in flags.items()):
        return False
    if "scenario" in given and recorded_scenarios(settings) != tuple(given["scenario"] or root_settings.scenarios):
        return False
    return settings.get("time_zone", root_settings.time_zone) == root_settings.time_zone


def _has_changed(place: Root, path: str, state: int | str, day: date, reach: tuple[date, date]) -> bool:
    if isinstance(state, str):
        return partitions.identity_at(place, path) != state
    if path == target_groups.path:
        return delta_log.newest(place, target_groups).get(day, (0,))[0] > state
    table = _BY_PATH[path]
    changes = delta_log.file_changes(place, table, state) if table.dated else ()
    return any(change.changes_rows and reach[0] <= change.date <= reach[1] for change in changes)
