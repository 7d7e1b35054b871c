"""Which items are alive on a date: those that an index may hold and a channel may return."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.storage import arrow
from schemas.tables.logs import conversions, impressions, items

DAYS = 60  # of impressions and conversions, where no items are logged


@dataclass(frozen=True)
class AliveItems:
    """item_ids: int64 [C], ascending. source: where they are from, in words."""

    item_ids: np.ndarray
    source: str

    @classmethod
    def of(cls, root: str | arrow.Snapshot, day: date) -> "AliveItems | None":
        """Those of the newest `items` snapshot at or before the date, or else of the logs of the 60 days up to it.

        None where neither is logged: then nothing is known of any item.
        """
        if (snapshot := arrow.newest_date(root, items, day)) is not None:
            ids = arrow.read(root, items, snapshot, ["item_id"])["item_id"]
            return cls(np.unique(ids.to_numpy()), f"{items.path} of {snapshot}")
        first = day - timedelta(days=DAYS - 1)
        found = [_logged(root, log, first, day) for log in (impressions, conversions)]
        ids = np.unique(np.concatenate(found))
        source = f"{impressions.path} and {conversions.path} of {first}..{day}"
        return cls(ids, source) if len(ids) else None

    def among(self, item_ids: np.ndarray) -> np.ndarray:
        """bool [N]: whether each of these ids is alive."""
        return np.isin(item_ids, self.item_ids)


def _logged(root: str | arrow.Snapshot, log, first: date, last: date) -> np.ndarray:
    if not arrow.dates(root, log):
        return np.empty(0, np.int64)
    source, ids = arrow.delta(root, log).to_pyarrow_dataset(), pa.array([], pa.int64())
    within = (pc.field("date") >= first) & (pc.field("date") <= last)
    for batch in source.to_batches(columns=["item_id"], filter=within, **arrow.SCAN | {"batch_size": 262_144}):
        ids = pc.unique(pa.concat_arrays([ids, batch["item_id"]]))  # memory holds the distinct ids and one batch
    return ids.to_numpy()
