"""One event log, opened once for all dates: its events with their requests, and the channels fitted for a date."""

import functools
import hashlib
import posixpath
from dataclasses import dataclass, field
from datetime import date, timedelta

from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.command.cli import WorkFailedError
from jobs.replay import sources
from jobs.replay.events import channels, ranker
from jobs.replay.events.answers import examples
from jobs.replay.events.ranker import Ranker
from jobs.replay.events.sessions import requests_of, with_requests
from jobs.replay.settings import Settings
from schemas.table import MissingDataError

_DAY = timedelta(1)
_ROWS_PER_PARTITION = 250_000


@dataclass(frozen=True, eq=False)
class EventLog:
    """The events as with_requests gives them, the dates they span, and what the file held.

    `partitions` is how many the log's size asks for; a small log in many costs more in tasks than in work.
    """

    events: DataFrame
    settings: Settings
    first: date
    last: date
    counts: dict
    partitions: int
    _fitted: dict[date, channels.Channels] = field(default_factory=dict)

    def on(self, day: date) -> DataFrame:
        return self.events.where(F.col("date") == F.lit(day))

    def before(self, day: date) -> DataFrame:
        return self.events.where(F.col("date") < F.lit(day))

    @property
    def first_asked(self) -> date:
        """The first date with requests."""
        return self.first + timedelta(self.settings.warm_up_days)

    def requests(self, day: date) -> DataFrame:
        """The date's requests; none while the channels have too little to learn from."""
        return self.sessions(day).where(F.lit(day >= self.first_asked))

    def sessions(self, day: date) -> DataFrame:
        """What would be the date's requests, warm-up or not."""
        return requests_of(self.events).where(F.col("date") == F.lit(day)).drop("date")

    def channels(self, day: date) -> channels.Channels:
        """Fitted on the days before `day`; the day before's are kept too, older ones are forgotten."""
        if day not in self._fitted:
            for older in [known for known in self._fitted if known < day - _DAY]:
                self._fitted.pop(older).forget()
            self._fitted[day] = channels.fit(self.before(day), self.settings)
        return self._fitted[day]

    @functools.cached_property
    def ranker(self) -> Ranker:
        """Fitted once, on what some users did on the last date without requests, as that day's channels saw them."""
        eve = self.first_asked - _DAY
        if eve <= self.first:
            return Ranker()
        users = self.sessions(eve).select("user_id").distinct()
        users = users.orderBy(ranker.chance(self.settings.seed, "user_id"), "user_id")
        seen = examples(self.channels(eve), users.limit(self.settings.ranker_users), self.settings)
        return ranker.fit(seen, self.on(eve), self.settings)


def fingerprint(path: str) -> str:
    """Names the content of a file.

    Raises:
        MissingDataError: there is no such file.
    """
    filesystem, place = _place(path)
    info = filesystem.get_file_info(place)
    if info.type != fs.FileType.File:
        raise MissingDataError(f"there is no file {place}; --events names one file of events")
    return _fingerprint(path, info.size, info.mtime_ns)


@functools.lru_cache(maxsize=8)
def _fingerprint(path: str, size: int, changed: int) -> str:
    """Size and time of change are there so that a changed file is read again."""
    filesystem, place = _place(path)
    digest = hashlib.blake2b(digest_size=16)
    with filesystem.open_input_stream(place, compression=None) as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def _place(path: str) -> tuple[fs.FileSystem, str]:
    if "://" in path:
        return fs.FileSystem.from_uri(path)
    return fs.LocalFileSystem(), posixpath.abspath(path)


@functools.lru_cache(maxsize=1)
def open_log(spark: SparkSession, path: str, identity: str, settings: Settings) -> EventLog:
    """Read, check and sessionise the log; kept for the next date. `identity` is the file's fingerprint.

    Raises:
        WorkFailedError: rows that do not read as the source's, or no row in the time the log covers.
    """
    found = read_checked(spark, path, settings.source)
    events = with_requests(found.rows, settings).persist()
    return EventLog(events, settings, found.first, found.last, found.counts, found.partitions)


@dataclass(frozen=True, eq=False)
class Checked:
    """A log's rows inside the time that it covers, by user; the dates they span, and what the file held."""

    rows: DataFrame
    first: date
    last: date
    counts: dict
    partitions: int


def read_checked(spark: SparkSession, path: str, name: str) -> Checked:
    """The rows of a source's file.

    Raises:
        WorkFailedError: rows that do not read as the source's, or no row in the time the log covers.
    """
    source = sources.SOURCES[name]
    rows = sources.read(spark, path, name)
    bad, inside = sources.unreadable(source.needed), sources.inside(source)
    seen = rows.agg(
        F.count("*").alias("rows"),
        F.count_if(bad).alias("bad"),
        F.min(F.when(bad, F.col("line"))).alias("line"),
        F.count_if(~bad & ~inside).alias("outside"),
        F.to_date(F.min(F.when(inside, F.col("event_time")))).alias("first"),
        F.to_date(F.max(F.when(inside, F.col("event_time")))).alias("last"),
    ).first()
    if seen["bad"]:
        raise WorkFailedError(
            f"{path}: {seen['bad']} of {seen['rows']} rows do not read as {name}'s {source.rows}; "
            f"one of them: {seen['line']!r}"
        )
    if seen["first"] is None:
        raise WorkFailedError(f"{path} has no event from {source.first} to {source.end} among {seen['rows']} rows")
    partitions = 2 + seen["rows"] // _ROWS_PER_PARTITION
    kept = rows.where(inside).drop("line").repartition(partitions, "user_id")
    counts = {"events": seen["rows"] - seen["outside"], "outside_time_range": seen["outside"]}
    return Checked(kept, seen["first"], seen["last"], counts, partitions)
