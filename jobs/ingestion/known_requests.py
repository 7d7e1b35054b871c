"""Which requests the other logs of a date may name, and what became of each."""

from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.ingestion import landing, rules
from jobs.ingestion.landing import FOLDER, Landed
from jobs.ingestion.result import Outcome
from jobs.ingestion.rules import KEPT, OTHER_DATE, REQUEST_STATUS, SET_ASIDE
from schemas.storage import arrow
from schemas.storage.days import dates_between
from schemas.storage.spark import Store
from schemas.tables.logs import requests


def known_requests(store: Store, root: str, outcome: Outcome, earlier: Landed | None, day: date) -> DataFrame:
    """request_id and status of every request in reach, once. Cached: three tables ask for it, several times each.

    Args:
        earlier: the landed requests of the folders before the date that a row of its folder may name.
    """
    found = [outcome.kept.select("request_id", F.lit(KEPT).alias(REQUEST_STATUS))]
    if outcome.set_aside:
        found.append(outcome.aside.select("request_id", F.lit(SET_ASIDE).alias(REQUEST_STATUS)))
    late = outcome.landed.settings.arrives_within_days
    if late:
        landed = [each for each in (outcome.landed, earlier) if each and each.row_count]
        found += [_of_other_dates(landing.rows(store, each), each, day, late) for each in landed]
        found += _ingested(store, root, earlier, day, late)
    if len(found) == 1:
        return found[0].cache()
    whole = reduce(DataFrame.unionByName, found)
    return whole.groupBy("request_id").agg(F.min(REQUEST_STATUS).alias(REQUEST_STATUS)).cache()


def _of_other_dates(rows: DataFrame, landed: Landed, day: date, late: int) -> DataFrame:
    """The requests without a fault of the dates before, as far as their folders reach."""
    zone = landed.settings.time_zone
    folders = sorted({file.day for file in landed.files if file.rows})
    reaches = [_reach(folder, day, late, zone) for folder in folders]
    faulty = rules.first_that_holds(list(rules.faults(landed).values())).isNotNull()
    fine = rows.where(~faulty & reduce(Column.__or__, reaches))
    return fine.select("request_id", F.lit(OTHER_DATE).alias(REQUEST_STATUS))


def _reach(folder: date, day: date, late: int, zone: str) -> Column:
    first = max(folder, day) - timedelta(late)
    last = min(folder, day - timedelta(1))
    if last < first:
        return F.lit(False)
    return (F.col(FOLDER) == F.lit(folder)) & rules.within(F.col("request_time"), first, last, zone)


def _ingested(store: Store, root: str, earlier: Landed | None, day: date, late: int) -> list[DataFrame]:
    """The requests of dates before whose landing folder was cleared away once they were ingested."""
    landed = {file.day for file in earlier.files} if earlier else set()
    before = dates_between(day - timedelta(late), day - timedelta(1))
    present = set(arrow.dates(root, requests)) if len(landed) < len(before) else set()
    gone = [each for each in before if each in present - landed]
    return [store.read(requests, each).select("request_id", F.lit(OTHER_DATE).alias(REQUEST_STATUS)) for each in gone]
