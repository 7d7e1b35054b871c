"""The labels of a date, of all of its target requests or of some users' alone."""

from dataclasses import asdict, dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.funnel.attribution import attribute, conversion_dates, of_date, request_dates, window_end
from jobs.funnel.groups import group_items, touches
from schemas.storage.days import bounds, dates_between
from schemas.storage.spark import Store
from schemas.tables.labels import recorded_scenarios, target_groups
from schemas.tables.logs import conversions, impressions, requests, retrievals


@dataclass(frozen=True)
class Labelling:
    """How a date is labelled: the window, whose a conversion is, the target scenarios, the zone of its midnights."""

    window_hours: int
    attribution: str
    scenarios: tuple[str, ...]
    time_zone: str = "UTC"

    @classmethod
    def recorded(cls, settings: dict) -> "Labelling":
        """The labelling that a commit's settings hold; older commits know one `scenario` and UTC alone."""
        time_zone = settings.get("time_zone", "UTC")
        return cls(settings["window_hours"], settings["attribution"], recorded_scenarios(settings), time_zone)

    def settings(self, store: Store, day: date) -> dict:
        """What the date's commit says: these settings, and whether conversions reach to the last window's end."""
        last = self.conversion_dates(day)[-1]
        mature = all(store.has_date(conversions, each) for each in dates_between(day, last))
        return {**asdict(self), "scenarios": list(self.scenarios), "mature": mature}

    def conversion_dates(self, day: date) -> list[date]:
        """The dates whose conversions can belong to a request of `day`."""
        return conversion_dates(day, self.window_hours, self.time_zone)

    def request_dates(self, day: date) -> list[date]:
        """The dates whose requests can have a conversion that could otherwise belong to a request of `day`."""
        return request_dates(day, self.window_hours, self.time_zone)

    def attributed(self, store: Store, day: date, users: DataFrame | None = None) -> tuple[DataFrame, DataFrame]:
        """The target requests around a date, and what `attribute` gives them of the conversions around it.

        Args:
            users: user_id of those whose rows are read; all if None.

        Returns:
            targets: request_id, user_id, request_time, request_scenario, date; cached.
            attributed: the rows that belong to a request of the date, or happened since the date began.
        """
        days, event_days = self.request_dates(day), self.conversion_dates(day)
        targets = store.read(requests, days[0], days[-1]).where(F.col("scenario").isin(*self.scenarios))
        events = store.read(conversions, event_days[0], event_days[-1])
        events = events.where(F.col("event_time") < F.lit(window_end(day, self.window_hours, self.time_zone)))
        if users is not None:
            targets, events = (
                rows.join(F.broadcast(users), on="user_id", how="left_semi") for rows in (targets, events)
            )
        targets = targets.select(
            "request_id", "user_id", "request_time", F.col("scenario").alias("request_scenario"), "date"
        ).persist()
        begin = F.lit(bounds(day, self.time_zone)[0])
        since = (F.col("event_time") >= begin) | F.coalesce(F.col("request_time") >= begin, F.lit(False))
        return targets, attribute(events, targets, self.window_hours, self.attribution).where(since)


@dataclass(frozen=True)
class Labels:
    """rows: those of `target_groups`. targets: request_id, user_id, request_scenario of the date's target requests;
    labelable: of those that have a retrieval. attributed: what `attribute` returns of the conversions in the date's
    windows. around: the target requests of the dates around.
    """

    rows: DataFrame
    targets: DataFrame
    labelable: DataFrame
    attributed: DataFrame
    around: DataFrame

    def unpersist(self) -> None:
        for cached in (self.labelable, self.attributed, self.around):
            cached.unpersist()


def label(store: Store, day: date, labelling: Labelling, users: DataFrame | None = None) -> Labels:
    """Label a date.

    Args:
        users: user_id of those whose requests are labelled; all if None. Nobody's labels depend on others' logs.
    """
    around, attributed = labelling.attributed(store, day, users)
    attributed = attributed.persist()
    lists = store.read(retrievals, day).select("request_id", "channel", "item_ids")
    targets = around.where(F.col("date") == day).select("request_id", "user_id", "request_scenario")
    labelable = targets.join(lists.select("request_id"), on="request_id", how="left_semi").persist()
    of_day = of_date(attributed, day, labelling.time_zone)
    rows = group_items(touches(labelable, store.read(impressions, day), of_day), lists)
    return Labels(rows.select(*target_groups.names), targets, labelable, attributed, around)
