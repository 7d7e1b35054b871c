"""What is known of a request and of its user before it: the columns that samples copy from `requests` and `users`."""

from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.storage import arrow
from schemas.storage.spark import Store
from schemas.table import Table
from schemas.tables.logs import requests, users
from schemas.tables.samples import CONTEXT, PROFILE, PROFILE_DAYS


@dataclass(frozen=True)
class Context:
    """The attributes of a date's requests and of their users, to be joined to samples.

    context: request_id and a column `context_<attribute>` for each attribute of `requests`.
    profiles: user_id and a column `profile_<attribute>` for each attribute of `users`; None if there is no such table.
    snapshot: the date of the profiles; None if no snapshot is of the days before.
    """

    context: DataFrame
    profiles: DataFrame | None
    snapshot: date | None

    @classmethod
    def of(cls, store: Store, root: str, day: date) -> "Context":
        """The context of a date: its requests, and the newest snapshot of the 30 days before it as a whole."""
        context = _prefixed(store.read(requests, day), requests, "request_id", CONTEXT)
        if not store.has(users):
            return cls(context, None, None)
        snapshot = arrow.newest_date(root, users, day - timedelta(days=1), PROFILE_DAYS - 1)
        rows = store.read(users, snapshot) if snapshot else store.read_all(users).where(F.lit(False))
        return cls(context, _prefixed(rows, users, "user_id", PROFILE), snapshot)

    @property
    def settings(self) -> dict:
        """What a manifest says of the profiles."""
        return {"profiles_of": str(self.snapshot) if self.snapshot else None}

    def join(self, samples: DataFrame) -> DataFrame:
        """Add the columns to rows that have request_id and user_id; a user whom the snapshot lacks has nulls."""
        if len(self.context.columns) > 1:
            samples = samples.join(self.context, on="request_id", how="left")
        if self.profiles is not None and len(self.profiles.columns) > 1:
            samples = samples.join(self.profiles, on="user_id", how="left")
        return samples


def _prefixed(rows: DataFrame, table: Table, key: str, prefix: str) -> DataFrame:
    """The key and every attribute beyond the contract's columns, under its prefixed name."""
    attributes = sorted(set(rows.columns) - {*table.names, "date"})
    return rows.select(key, *(F.col(f"`{name}`").alias(f"{prefix}{name}") for name in attributes))
