"""How far the measures of a date may be from those of the 28 days before: the drift bounds.

Three or more of the same weekday: their median is usual. Rows kept may halve or double. A share of rows that are as
they should be (a channel's coverage, values that are not null, requests with retrievals, acted items that some channel
found) may fall by 20 points, and to a tenth.

Fewer, but at least six known days: their range is usual. Its lowest may halve, its highest may double.

Fewer still: no bound. A measure of fewer than 50 usual rows has none either. A day that was stopped is not known; a day
whose change was accepted is known, as one day among the others. A day without any row of a table does not say how many
rows are usual. A channel, a table or an attribute that is not there counts as nothing; a snapshot of users or items
that is missing stops nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

import pyarrow as pa

from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError, partition
from schemas.tables.labels import target_groups
from schemas.tables.logs import SNAPSHOTS
from schemas.tables.reports import quality

ROWS = "rows_kept"
REFUSED_SHARE = "refused_share"
SET_ASIDE = "set_aside"  # the share of a date's rows that are no fault but no input either
COVERAGE = "coverage: "  # of a channel: the share of requests for which it returned an item
NULL_SHARE = "null share: "  # of a nullable column
WITHOUT_RETRIEVALS = "share without retrievals"  # of requests
UNLABELABLE_SHARE, TARGET_REQUESTS = "unlabelable share", "target requests"
ITG_SHARE, ACTED_ITEMS = "ITG share", "acted items"
ACCEPTED = "accepted_changes"  # the setting that names the bounds which the date may be beyond

DAYS = 28
_SAME_WEEKDAYS, _KNOWN_DAYS, _ENOUGH_ROWS = 3, 6, 50
_TIMES, _POINTS, _LEFT = 2.0, 0.2, 0.1
_BAD_SHARES = (SET_ASIDE, NULL_SHARE, WITHOUT_RETRIEVALS, UNLABELABLE_SHARE, ITG_SHARE)

Measures = dict[tuple[str, str], float]  # (table, check) -> value


@dataclass(frozen=True)
class Bound:
    """How far one measure of a date may be from its usual values, to one side."""

    table: str
    check: str
    value: float
    usual: tuple[float, float]
    least: float | None = None
    most: float | None = None

    @property
    def passed(self) -> bool:
        return self.value <= self.most if self.least is None else self.value >= self.least

    @property
    def name(self) -> str:
        """Identifies this bound regardless of its values, so one --accept-changes covers later re-ingestions."""
        return f"{self.table}: {self.row['check']}"

    @property
    def row(self) -> dict:
        """Its row of `quality`."""
        side, threshold = self._side
        return row(self.table, f"{self.check}, {side}", self.value, threshold, self.passed)

    @property
    def _side(self) -> tuple[str, float]:
        return ("at most", self.most) if self.least is None else ("at least", self.least)

    def __str__(self) -> str:
        side, threshold = self._side
        shown = "{:.0f}" if self.check == ROWS else "{:.1%}"
        value, lowest, highest, limit = map(shown.format, (self.value, *self.usual, threshold))
        usual = lowest if lowest == highest else f"{lowest} to {highest}"
        return f"{self.table}: {self.check} is {value}, usually {usual}, {side} {limit} would pass"


@dataclass(frozen=True)
class Before:
    """What was measured on the known days among the 28 before a date."""

    day: date
    days: Mapping[date, Measures]

    @property
    def enough(self) -> bool:
        """Whether any measure can be compared."""
        return len(self.days) >= _KNOWN_DAYS or len(self._same_weekday(self.days)) >= _SAME_WEEKDAYS

    def bounds(self, today: Measures) -> list[Bound]:
        """The bounds of each measure of the date that can be compared."""
        keys = sorted({key for measures in self.days.values() for key in measures})
        values = {key: today.get(key, _of_nothing(key, today)) for key in keys}
        return [bound for key, value in values.items() if value is not None for bound in self._bounds(key, value)]

    def _bounds(self, key: tuple[str, str], value: float) -> Iterator[Bound]:
        table, check = key
        usual, (rows, _) = self._usual(key), self._usual(_counted(key)) or (0.0, 0.0)
        if usual is None:
            return
        lowest, highest = usual
        of_weekday = self._compares_weekdays(key)
        if check == ROWS and rows >= _ENOUGH_ROWS:
            yield Bound(table, check, value, usual, least=lowest / _TIMES)
            yield Bound(table, check, value, usual, most=highest * _TIMES)
        elif check.startswith((COVERAGE, *_BAD_SHARES)):
            share = 1 - highest if check.startswith(_BAD_SHARES) else lowest
            if share * rows < _ENOUGH_ROWS:
                return
            least = max(share - _POINTS, share * _LEFT) if of_weekday else share / _TIMES
            if check.startswith(COVERAGE):
                yield Bound(table, check, value, usual, least=least)
            else:
                yield Bound(table, check, value, usual, most=1 - least)

    def _usual(self, key: tuple[str, str]) -> tuple[float, float] | None:
        """The lowest and the highest usual value, equal where a median is usual; None if too few days are known."""
        known = self._known(key)
        if self._compares_weekdays(key):
            middle = median(self._same_weekday(known).values())
            return middle, middle
        return (min(known.values()), max(known.values())) if len(known) >= _KNOWN_DAYS else None

    def _compares_weekdays(self, key: tuple[str, str]) -> bool:
        return len(self._same_weekday(self._known(key))) >= _SAME_WEEKDAYS

    def _known(self, key: tuple[str, str]) -> dict[date, float]:
        """Day -> the measure; a channel that returned nothing on a day with requests covered none of them."""
        covers = key[1].startswith(COVERAGE)
        values = {day: day_measures.get(key) for day, day_measures in self.days.items()}
        absent = {day: 0.0 for day, value in values.items() if value is None and covers and self._has_requests(day)}
        return {day: value for day, value in values.items() if value is not None} | absent

    def _has_requests(self, day: date) -> bool:
        return self.days[day].get(("requests", ROWS), 0.0) > 0

    def _same_weekday(self, days: Mapping[date, object]) -> dict:
        return {day: value for day, value in days.items() if day.weekday() == self.day.weekday()}


def row(table: str, check: str, value: float, threshold: float | None = None, passed: bool = True) -> dict:
    """A row of `quality`."""
    return {"table": table, "check": check, "value": value, "threshold": threshold, "passed": passed}


def rows(measures: Measures) -> list[dict]:
    """Measures as rows of `quality`."""
    return [row(table, check, value) for (table, check), value in measures.items()]


def before(root: str, day: date, tables: set[str]) -> Before:
    """The known days to compare these tables' measures with, newest first."""
    place, days = Root.of(root), {}
    for earlier in (day - timedelta(n) for n in range(1, DAYS + 1)):
        if not place.exists(f"{partition(quality, earlier)}/{partitions.MANIFEST}"):
            continue
        checks = arrow.read(root, quality, earlier).to_pylist()
        of_tables = [check for check in checks if check["table"] in tables]
        failed = [check for check in of_tables if not check["passed"]]
        accepted = set(partitions.manifest(place, quality, earlier)["settings"].get(ACCEPTED, ()))
        # Labels fail as a consequence of what their logs were let through with, if with anything.
        failed_logs = (check for check in checks if not check["passed"] and check["table"] != target_groups.name)
        changes = {f"{check['table']}: {check['check']}" for check in failed_logs}
        if of_tables and (not failed or (changes and changes <= accepted)):
            days[earlier] = {
                (check["table"], check["check"]): check["value"] for check in of_tables if _is_measure(check)
            }
    return Before(day, days)


def locked(root: str) -> AbstractContextManager[None]:
    """Let one run at a time read and replace `quality`: ingestion and labelling each keep the other's rows.

    An object store has no locks: there a scheduler must not ingest and label one date at the same time.
    """
    return Root.of(root).locked("quality")


def recorded(root: str, day: date) -> tuple[pa.Table, dict]:
    """The date's rows of `quality` and its manifest; without any, no rows and one that says nothing."""
    try:
        return arrow.read(root, quality, day, quality.names), partitions.manifest(Root.of(root), quality, day)
    except MissingDataError:
        return quality.schema.empty_table(), {"made_from": {}, "settings": {}}


def _is_measure(check: dict) -> bool:
    """Whether a row of `quality` says what is usual: no bound, and no rows on a day on which nothing happened."""
    return check["threshold"] is None and (check["check"] != ROWS or check["value"] > 0)


def _counted(key: tuple[str, str]) -> tuple[str, str]:
    """The measure that says of how many rows a share is."""
    table, check = key
    if check.startswith(COVERAGE):
        return "requests", ROWS
    return table, {UNLABELABLE_SHARE: TARGET_REQUESTS, ITG_SHARE: ACTED_ITEMS}.get(check, ROWS)


def _of_nothing(key: tuple[str, str], today: Measures) -> float | None:
    """The value of a measure that the date does not have; None if nothing can be said."""
    check = key[1]
    if check == ROWS:
        return None if key[0] in SNAPSHOTS else 0.0
    if not today.get(_counted(key)):
        return None
    return 0.0 if check.startswith(COVERAGE) else 1.0 if check.startswith(NULL_SHARE) else None
