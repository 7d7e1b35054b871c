"""The labels of a date, of all of its target requests or of some users' alone."""

from dataclasses import asdict, dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.funnel.attribution import attribute, dates_around, of_date
from jobs.funnel.groups import group_items, touches
from schemas.storage.spark import Store
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals


@dataclass(frozen=True)
class Labelling:
    """How a date is labelled: the attribution window, whose a conversion is, the target requests' scenario."""

    window_hours: int
    attribution: str
    scenario: str

    def settings(self, store: Store, day: date) -> dict:
        """What the date's commit says: these settings, and whether conversions reach to the last window's end."""
        _, last = dates_around(day, self.window_hours)
        days = [day + timedelta(days=n) for n in range((last - day).days + 1)]
        return {**asdict(self), "mature": all(store.has_date(conversions, one) for one in days)}


@dataclass(frozen=True)
class Labels:
    """rows: those of `target_groups`. targets: request_id, user_id of the date's target requests; labelable: of those
    that have a retrieval. attributed: what `attribute` returns of the conversions in the date's windows.
    """

    rows: DataFrame
    targets: DataFrame
    labelable: DataFrame
    attributed: DataFrame
    asked: DataFrame  # target requests of the dates around

    def unpersist(self) -> None:
        for kept in (self.labelable, self.attributed, self.asked):
            kept.unpersist()


def label(store: Store, day: date, labelling: Labelling, users: DataFrame | None = None) -> Labels:
    """Label a date.

    Args:
        users: user_id of those whose requests are labelled; all if None. Nobody's labels depend on others' logs.
    """
    hours = labelling.window_hours
    first, last = dates_around(day, hours)
    asked = store.read(requests, first, last).where(F.col("scenario") == labelling.scenario)
    events = store.read(conversions, day, last).where(F.col("event_time") < _end(day, hours))
    if users is not None:
        asked, events = (frame.join(F.broadcast(users), on="user_id", how="left_semi") for frame in (asked, events))
    asked = asked.select("request_id", "user_id", "request_time", "date").persist()
    attributed = attribute(events, asked, hours, labelling.attribution).persist()
    lists = store.read(retrievals, day).select("request_id", "channel", "item_ids")
    targets = asked.where(F.col("date") == day).select("request_id", "user_id")
    labelable = targets.join(lists.select("request_id"), on="request_id", how="left_semi").persist()
    rows = group_items(touches(labelable, store.read(impressions, day), of_date(attributed, day)), lists)
    return Labels(rows.select(*target_groups.names), targets, labelable, attributed, asked)


def _end(day: date, window_hours: int) -> Column:
    """The end of the last window that can open on the date."""
    return F.lit(day).cast("timestamp") + F.expr(f"INTERVAL {24 + window_hours} HOURS")
