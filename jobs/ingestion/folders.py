"""The landing folders that a date reads, and whether their files are those that it was ingested from."""

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta

from schemas.storage.days import dates_between
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.table import Table, landing
from schemas.tables.logs import LOGS, SNAPSHOTS, requests


def folder_dates(table: Table, day: date, settings: RootSettings) -> list[date]:
    """The dates of the landing folders that may hold rows of a date."""
    return dates_between(day, day + timedelta(0 if table.name in SNAPSHOTS else settings.arrives_within_days))


def fingerprint(root: str, day: date, settings: RootSettings) -> str | dict[str, str] | None:
    """Names the files that a date reads: another name once one is added, taken away or written again.

    None if a table that is not optional has none of the date: raw logs may be cleared away once they are ingested.
    Where rows may arrive later, each folder has a name of its own.
    """
    place = Root.of(root)
    if any(not table.optional and not place.files(landing(table, day)) for table in LOGS):
        return None
    late = settings.arrives_within_days
    if not late:
        return _named(place, LOGS, day)
    after = dates_between(day + timedelta(1), day + timedelta(late))
    before = dates_between(day - timedelta(late), day - timedelta(1))
    dated = [table for table in LOGS if table.name not in SNAPSHOTS]
    named = {str(day): _named(place, LOGS, day)}
    named |= {str(folder): _named(place, dated, folder) for folder in after}
    named |= {f"{requests.name} {folder}": _named(place, [requests], folder) for folder in before}
    return {folder: name for folder, name in named.items() if name}


def changed(recorded: str | dict[str, str] | None, named: str | dict[str, str] | None) -> bool:
    """Whether files that a date reads are others than those recorded; files that were cleared away are no news."""
    if not (isinstance(recorded, dict) and isinstance(named, dict)):
        return named is not None and recorded != named
    return any(recorded.get(folder) != name for folder, name in named.items())


def _named(place: Root, tables: Sequence[Table], day: date) -> str | None:
    told = [
        f"{info.path.removeprefix(place.path)} {info.size} {info.mtime_ns}"
        for table in tables
        for info in place.files(landing(table, day))
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] if told else None
