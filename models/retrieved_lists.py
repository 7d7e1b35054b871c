"""What each retrieval channel but IncRec's own had returned for chosen requests, from the log."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.batches import Ragged
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import MissingDataError
from schemas.tables.logs import retrievals
from schemas.vocabulary import INCREC


def retrieved_lists(root: str | arrow.Snapshot, day: date, request_ids: pa.Array) -> dict[str, Ragged]:
    """Channel but `increc` -> what it had returned for each of these requests, read a batch at a time; by its name."""
    if not len(request_ids):
        return {}
    if day not in arrow.dates(root, retrievals):
        raise MissingDataError(f"{retrievals.path} has no date {day} below {Root.of(root).path}")
    source = arrow.delta(root, retrievals).to_pyarrow_dataset()
    found: dict[str, list[tuple[np.ndarray, pa.Array]]] = {}
    columns = ["request_id", "channel", "item_ids"]
    ahead = {"batch_size": 4096, "batch_readahead": 2, "fragment_readahead": 1}  # the lists are most of the logs
    others = (pc.field("date") == day) & (pc.field("channel") != INCREC)
    for batch in source.to_batches(columns=columns, filter=others, **ahead):
        places = pc.index_in(batch["request_id"], value_set=request_ids)
        wanted = batch.append_column("row", places).filter(pc.is_valid(places))
        for channel in pc.unique(wanted["channel"]).to_pylist():
            part = wanted.filter(pc.equal(wanted["channel"], channel))
            found.setdefault(channel, []).append((part["row"].to_numpy(), part["item_ids"]))
    return {channel: _lists(found[channel], len(request_ids)) for channel in sorted(found)}


def _lists(parts: list[tuple[np.ndarray, pa.Array]], requests: int) -> Ragged:
    """One list a request, in the requests' order, an empty one where the channel said nothing."""
    rows = np.concatenate([rows for rows, _ in parts])
    lengths = np.concatenate([pc.list_value_length(items).to_numpy() for _, items in parts])
    values = np.concatenate([items.flatten().to_numpy() for _, items in parts])
    logged = Ragged(values, np.concatenate([[0], np.cumsum(lengths)])).take(np.argsort(rows, kind="stable"))
    counts = np.zeros(requests, np.int64)
    counts[rows] = lengths
    return Ragged(logged.values, np.concatenate([[0], np.cumsum(counts)]))
