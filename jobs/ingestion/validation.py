"""A date's landed logs, from files to what became of each row; `ingest_logs` publishes it, `check_landing` shows it."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, timedelta

from jobs.ingestion import landing, recorded_ids
from jobs.ingestion.known_requests import known_requests
from jobs.ingestion.landing import Landed
from jobs.ingestion.plain_copies import Copies
from jobs.ingestion.recorded_ids import IdTexts
from jobs.ingestion.result import Outcome, validate
from jobs.ingestion.rules import Collisions
from schemas.storage.days import dates_between
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.table import SettingsError, Table
from schemas.tables.logs import LOGS, requests

# Tables at a time: planning and committing small ones leaves Spark's cores idle.
AT_ONCE = 3


def find_all(root: str, day: date, settings: RootSettings, reset: Collection[str] = ()) -> dict[Table, Landed | None]:
    """What was landed of each log for a date; raises as `landing.find`.

    Args:
        reset: attributes, as `items.price`, that take the landed type, whatever the log has.
    """
    names = {table: [name.split(".", 1)[1] for name in reset if name.split(".", 1)[0] == table.name] for table in LOGS}
    return {table: landing.find(root, table, day, settings, names[table]) for table in LOGS}


def recorded(settings: RootSettings) -> dict:
    """The settings that logs depend on, as their commits have them; empty for the defaults."""
    defaults = RootSettings()
    parts = {
        "time_zone": settings.time_zone,
        "arrives_within_days": settings.arrives_within_days,
        "ids": dict(settings.ids),
    }
    changed = {name: part for name, part in parts.items() if part != asdict(defaults)[name]}
    logs = {name: log.recorded for name, log in settings.logs.items() if log.recorded}
    return changed | ({"logs": logs} if logs else {})


def validate_all(
    store: Store, root: str, landed: Collection[Landed], day: date, copies: Copies
) -> tuple[dict[str, Outcome], IdTexts]:
    """Table name -> what became of its rows, and the texts of their ids.

    Where ids are text, rows are looked at again until no two kept ones have the same id and other texts.
    """
    landed = [copies.of(each) for each in landed]
    earlier = _earlier_requests(root, day, landed[0].settings)
    earlier = copies.of(earlier) if earlier else None
    outcomes = _validate(store, root, landed, earlier, day, {})
    refused: Collisions = {}
    id_texts = recorded_ids.all_texts(outcomes.values())
    while more := recorded_ids.collisions(store, id_texts):
        refused = recorded_ids.joined(refused, more)
        outcomes = _validate(store, root, landed, earlier, day, refused)
        id_texts = recorded_ids.all_texts(outcomes.values())
    return outcomes, id_texts


def _validate(
    store: Store, root: str, landed: Collection[Landed], earlier: Landed | None, day: date, collisions: Collisions
) -> dict[str, Outcome]:
    """The requests first, since others must name a valid one."""
    first, *others = landed
    found = {first.contract.name: validate(store, first, day, None, collisions)}
    known = known_requests(store, root, found[first.contract.name], earlier, day)

    def of_one(each: Landed) -> Outcome:
        return validate(store, each, day, known, collisions)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(of_one, others)
        return found | {each.contract.name: outcome for each, outcome in zip(others, outcomes, strict=True)}


def _earlier_requests(root: str, day: date, settings: RootSettings) -> Landed | None:
    """The requests in the folders before a date that rows of its folder may name."""
    late = settings.arrives_within_days
    try:
        return landing.find_in(root, requests, dates_between(day - timedelta(late), day - timedelta(1)), settings)
    except SettingsError:  # columns that the date's own files have
        return None
