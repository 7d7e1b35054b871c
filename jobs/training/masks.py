"""What the channels had returned for the requests learned from: the presets that mask it read it, no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow.compute as pc

from jobs.command.cli import WorkFailedError
from models.batches import Ragged
from models.item_vocabulary import Catalogue
from models.retrieved_lists import retrieved_lists
from schemas.storage import arrow
from schemas.tables.samples import increc_samples


@dataclass(frozen=True)
class Retrieved:
    """Catalogue rows that a channel had returned, of every request with an ITG item, in memory: 4 bytes each.

    rows: int32, a list a request, and an empty one last. places: request_id -> which list.
    """

    rows: Ragged
    places: dict[str, int]

    @classmethod
    def read(cls, root: str, days: Sequence[date], catalogue: Catalogue) -> "Retrieved":
        """Those of these dates; an item that the catalogue lacks is in nobody's pool and is left out.

        Raises:
            MissingDataError: the samples or the retrievals lack a date.
            WorkFailedError: two dates have a request of the same id.
        """
        ids, lists = [], []
        for day in days:
            samples = arrow.read(root, increc_samples, day, ["request_id", "itg_item_ids"])
            there = pc.greater(pc.list_value_length(samples["itg_item_ids"]), 0)
            wanted = samples.filter(there)["request_id"].combine_chunks()
            ids += wanted.to_pylist()
            lists.append(_known(retrieved_lists(root, day, wanted), len(wanted), catalogue))
        places = {name: place for place, name in enumerate(ids)}
        if len(places) < len(ids):
            raise WorkFailedError(
                f"{len(ids) - len(places)} request ids of increc_samples stand in two dates of {days[0]}..{days[-1]}; "
                "what was retrieved can be masked only where an id names one request"
            )
        lengths = np.concatenate([each.lengths for each in lists])
        rows = np.concatenate([each.values for each in lists])
        return cls(Ragged(rows, np.concatenate([[0], np.cumsum(lengths), [len(rows)]])), places)

    def of(self, request_ids: Sequence[str]) -> Ragged:
        """The lists of these requests; an empty one of a request without an ITG item."""
        return self.rows.take(np.array([self.places.get(one, len(self.places)) for one in request_ids], np.int64))


def _known(channels: dict[str, Ragged], requests: int, catalogue: Catalogue) -> Ragged:
    """The lists of all channels joined, as catalogue rows."""
    rows = [np.zeros(0, np.int32), *(catalogue.lookup(each.values) for each in channels.values())]
    owners = [np.zeros(0, np.int64), *(each.owners for each in channels.values())]
    rows, owners = np.concatenate(rows), np.concatenate(owners)
    known = rows >= catalogue.first_row
    rows, owners = rows[known], owners[known]
    lengths = np.bincount(owners, minlength=requests)
    return Ragged(rows[np.argsort(owners, kind="stable")], np.concatenate([[0], np.cumsum(lengths)]))
