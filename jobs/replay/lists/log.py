"""One log of lists, opened once for all dates: its requests, what was shown, what was done."""

import functools
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.replay.events.log import read_checked
from jobs.replay.lists import channels
from jobs.replay.lists.shown import ASKING, conversions_of, requests_of, with_requests
from jobs.replay.settings import ListSettings
from schemas.table import Table
from schemas.tables import logs


@dataclass(frozen=True, eq=False)
class ListLog:
    """The rows as lists_shown.with_requests gives them, the dates they span, and what the file held."""

    rows: DataFrame
    settings: ListSettings
    first: date
    last: date
    counts: dict
    partitions: int

    def tables(self, day: date) -> dict[Table, DataFrame]:
        """What is landed of a date: its requests, what they were answered with, what happened on it, the items."""
        asked = requests_of(self.rows).where(F.to_date("request_time") == F.lit(day))
        done = conversions_of(self.rows)
        retrieved = channels.retrievals(asked, requests_of(self.rows), done, day, self.settings).persist()
        return {
            logs.requests: asked,
            logs.retrievals: retrieved,
            logs.stages: channels.stages(asked, retrieved, self.settings),
            logs.impressions: asked.select(
                "request_id",
                F.posexplode("shown").alias("place", "item_id"),
                (F.col("place") + 1).alias("position"),
                F.col("request_time").alias("impression_time"),
            ),
            logs.items: self._items(day),
            logs.conversions: done.where(F.to_date("event_time") == F.lit(day)),
        }

    def _items(self, day: date) -> DataFrame:
        """The items that were shown or acted on before the date; the category is the city of the first time.

        With the date's own it would tell what will be shown.
        """
        listed = requests_of(self.rows).select(F.explode("shown").alias("item_id"), "logged_time", "city_id")
        known = listed.unionByName(conversions_of(self.rows).select("item_id", "logged_time", "city_id"))
        first = F.min(F.struct("logged_time", "city_id"))
        known = known.where(F.to_date("logged_time") < F.lit(day)).groupBy("item_id").agg(first.alias("first"))
        return known.select("item_id", F.col("first.city_id").alias("category_id"))


@functools.lru_cache(maxsize=1)
def open_lists(spark: SparkSession, path: str, identity: str, settings: ListSettings) -> ListLog:
    """Read and check the log, and tell its requests; kept for the next date. `identity` is the file's fingerprint.

    Raises:
        WorkFailedError: rows that do not read as the source's, or no row in the time the log covers.
    """
    found = read_checked(spark, path, settings.source)
    rows = with_requests(found.rows, settings).persist()
    left_out = rows.agg(
        F.count_if((F.col("kind") != ASKING) & F.col("item_id").isNull()).alias("without_item"),
        F.count_if("again").alias("with_the_same_item_again"),
    )
    counts = found.counts | left_out.first().asDict()
    return ListLog(rows, settings, found.first, found.last, counts, found.partitions)
