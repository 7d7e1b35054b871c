"""Whether a date is like the days before it: what quality measured then, and how far this date may be from it.

A measure is compared if each of the three newest of the 7 days before has it and it is about at least 50 rows on a
usual day; usual is the median. A day without any row of a table does not say how many rows are usual. Rows kept may
halve or double. A share of rows that are as they should be (a channel's coverage, values that are not null, requests
with retrievals, acted items that some channel found) may fall by 20 points, and to a tenth. What is no longer there at
all, a channel, a table or an attribute, counts as nothing.

A day that was stopped is not compared with. A change that was accepted is the new usual: the days before it no
longer count, and it is enough alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

import pyarrow as pa

from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError, partition
from schemas.tables.labels import target_groups
from schemas.tables.reports import quality

ROWS = "rows_kept"
REFUSED_SHARE = "refused_share"
COVERAGE = "coverage: "  # of a channel: the share of requests for which it returned an item
NULL_SHARE = "null share: "  # of a nullable column
WITHOUT_RETRIEVALS = "share without retrievals"  # of requests
UNLABELABLE_SHARE, TARGET_REQUESTS = "unlabelable share", "target requests"
ITG_SHARE, ACTED_ITEMS = "ITG share", "acted items"
ACCEPTED = "accepted_changes"  # the setting that names the bounds which the date may be beyond

_DAYS, _ENOUGH_DAYS, _ENOUGH_ROWS = 7, 3, 50
_TIMES, _POINTS, _LEFT = 2.0, 0.2, 0.1
_BAD_SHARES = (NULL_SHARE, WITHOUT_RETRIEVALS, UNLABELABLE_SHARE, ITG_SHARE)

Measures = dict[tuple[str, str], float]  # (table, check) -> value


@dataclass(frozen=True)
class Bound:
    """How far one measure of a date may be from its usual value, to one side."""

    table: str
    check: str
    value: float
    usual: float
    least: float | None = None
    most: float | None = None

    @property
    def passed(self) -> bool:
        return self.value <= self.most if self.least is None else self.value >= self.least

    @property
    def name(self) -> str:
        """It, whatever the values: what is accepted once is accepted whenever the date is ingested."""
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
        value, usual, may = (shown.format(each) for each in (self.value, self.usual, threshold))
        return f"{self.table}: {self.check} is {value}, usually {usual}, {side} {may} would pass"


@dataclass(frozen=True)
class Before:
    """What was measured on the days before a date, newest first, and whether that is enough to compare with."""

    days: tuple[Measures, ...]
    enough: bool

    def bounds(self, today: Measures) -> list[Bound]:
        """Each measure of the date that is compared, with its bounds; none if the days are not enough."""
        newest = self.days[:_ENOUGH_DAYS] if self.enough else ()
        keys = set.intersection(*map(set, newest)) if newest else set()
        values = {key: today.get(key, _of_nothing(key, today)) for key in sorted(keys)}
        return [bound for key, value in values.items() if value is not None for bound in self._bounds(key, value)]

    def _bounds(self, key: tuple[str, str], value: float) -> Iterator[Bound]:
        table, check = key
        usual, rows = self._usual(key), self._usual(_counted(key))
        share = 1 - usual if check.startswith(_BAD_SHARES) else usual
        if check == ROWS:
            if rows >= _ENOUGH_ROWS:
                yield Bound(table, check, value, usual, least=usual / _TIMES)
                yield Bound(table, check, value, usual, most=usual * _TIMES)
        elif check.startswith((COVERAGE, *_BAD_SHARES)) and share * rows >= _ENOUGH_ROWS:
            least = max(share - _POINTS, share * _LEFT)
            if check.startswith(COVERAGE):
                yield Bound(table, check, value, usual, least=least)
            else:
                yield Bound(table, check, value, usual, most=1 - least)

    def _usual(self, key: tuple[str, str]) -> float:
        return median([day[key] for day in self.days if key in day] or [0.0])


def row(table: str, check: str, value: float, threshold: float | None = None, passed: bool = True) -> dict:
    """A row of `quality`."""
    return {"table": table, "check": check, "value": value, "threshold": threshold, "passed": passed}


def rows(measures: Measures) -> list[dict]:
    """Measures as rows of `quality`."""
    return [row(table, check, value) for (table, check), value in measures.items()]


def before(root: str, day: date, tables: set[str]) -> Before:
    """The days to compare these tables' measures with."""
    place, found, accepted = Root.of(root), [], False
    for earlier in (day - timedelta(n) for n in range(1, _DAYS + 1)):
        if accepted or not place.exists(f"{partition(quality, earlier)}/{partitions.MANIFEST}"):
            continue
        every = arrow.read(root, quality, earlier).to_pylist()
        checks = [one for one in every if one["table"] in tables]
        failed = [one for one in checks if not one["passed"]]
        known = set(partitions.manifest(place, quality, earlier)["settings"].get(ACCEPTED, ()))
        # What labels fail follows from what their logs were let through with, if with anything.
        logs = (one for one in every if not one["passed"] and one["table"] != target_groups.name)
        of_logs = {f"{one['table']}: {one['check']}" for one in logs}
        if checks and (not failed or (of_logs and of_logs <= known)):
            found.append({(one["table"], one["check"]): one["value"] for one in checks if _is_measure(one)})
            accepted = bool(failed)
    return Before(tuple(found), accepted or len(found) >= _ENOUGH_DAYS)


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
        return 0.0
    if not today.get(_counted(key)):
        return None
    return 0.0 if check.startswith(COVERAGE) else 1.0 if check.startswith(NULL_SHARE) else None
