"""Retrieve for the date's requests with the newest IncRec model published before it, as one channel more, `increc`.

Each request gets the channel's first items, by its history as logged and whatever the other channels returned, as
beside them in serving. The rows land as a producer's do: ingest_logs, run again for the date, takes them into
`retrievals`, and label_target_groups, run again, says what the channel found: of the ITG of before what became RTG.
Run again the job replaces its own rows alone.

IncRec goes on learning and being judged by what the other channels miss: build_increc_samples and evaluate_increc leave
the channel `increc` out.

Reads:  models/increc published before the date, logs/requests, features/user_histories
Writes: landing/retrievals/date=D/increc/
"""

import argparse
from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from jobs import command
from jobs.command import WorkFailedError
from models import inputs, published
from models.published import Published
from schemas import arrow, storage
from schemas.features import user_histories
from schemas.labels import HOMEPAGE, INCREC
from schemas.logs import requests, retrievals
from schemas.storage import Root
from schemas.table import FLOATS, IDS, MissingDataError, landing, partition

_AT_ONCE = 4096  # requests


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument("--variant", default="full", help="of the model, <preset> or <preset>-<size>; default full")
    parser.add_argument("--seed", type=command.at_least(0), default=1, help="of the model, default 1")
    parser.add_argument("--items", type=command.at_least(1), default=100, help="returned a request, default 100")
    parser.add_argument("--scenario", default=HOMEPAGE, help=f"of the requests, default {HOMEPAGE}")
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, place = arguments.root, Root.of(arguments.root)
    directory = published.newest(root, "increc", arguments.variant, arguments.seed, day)
    command.log(f"retrieving with {directory.place}")
    made_from = {
        directory.place: directory.manifest()["exported"]["checkpoint"],
        requests.path: arrow.delta(root, requests).version(),
        partition(user_histories, day): storage.identity(place, user_histories, day),
    }
    settings = {"items": arguments.items, "scenario": arguments.scenario}
    folder = f"{landing(retrievals, day)}/{INCREC}"
    require_others(place, day, folder)
    model, asked = Published.load(directory), 0
    with arrow.Writer(root, retrievals, day, folder, made_from, settings) as writer:
        for rows in batches(root, day, arguments.scenario):
            writer.write(retrieved(model, rows, arguments.items))
            asked += len(rows)
    return {"rows_written": asked, "model": directory.place}


def require_others(place: Root, day: date, folder: str) -> None:
    """Raise a MissingDataError unless other channels are landed for the date: without them ingest_logs would take this
    one for all that were."""
    there = [info.path for info in place.files(landing(retrievals, day), ".parquet")]
    if all(path.startswith(f"{place.at(folder)}/") for path in there):
        raise MissingDataError(
            f"{landing(retrievals, day)} has no other channel below {place.path}: land again what was retrieved on the "
            "date, or ingest_logs would replace it by this channel alone"
        )


def batches(root: str, day: date, scenario: str) -> Iterator[pa.Table]:
    """request_id, user_id and history of the scenario's requests, in the order of user_histories.

    Raises:
        WorkFailedError: a request has no row in user_histories.
    """
    known = arrow.read(root, requests, day, ["request_id", "user_id", "scenario"])
    known = known.filter(pc.field("scenario") == scenario).combine_chunks()
    found = 0
    source = dataset.dataset(arrow.files(root, user_histories, day), filesystem=Root.of(root).filesystem)
    columns = ["request_id", "history_item_ids", "history_actions"]
    for batch in source.to_batches(columns=columns, **arrow.SCAN | {"batch_size": _AT_ONCE}):
        at = pc.index_in(batch["request_id"], known["request_id"].combine_chunks())
        rows = pa.Table.from_batches([batch]).append_column("user_id", known["user_id"].take(at))
        rows = rows.filter(pc.is_valid(at))
        found += len(rows)
        yield rows
    if found < len(known):
        raise WorkFailedError(
            f"{len(known) - found} of {len(known)} {scenario} requests of {day} have no row in user_histories: it was "
            "made from other logs; run build_user_histories for the date, then this again"
        )


def retrieved(model: Published, rows: pa.Table, most: int) -> pa.Table:
    """A row of `retrievals` a request."""
    positions_BK, scores_BK = model.retrieve(inputs.decode(rows.drop_columns(["request_id"])), most)
    there_BK = positions_BK >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(there_BK.sum(axis=1))]), pa.int32())
    item_ids = pa.array(model.item_ids[positions_BK[there_BK]])
    columns = [
        rows["request_id"],
        pa.array([INCREC] * len(rows), pa.string()),
        pa.ListArray.from_arrays(offsets, item_ids, type=IDS),
        pa.ListArray.from_arrays(offsets, pa.array(scores_BK[there_BK], pa.float32()), type=FLOATS),
    ]
    return pa.table(columns, schema=retrievals.schema)


if __name__ == "__main__":
    command.run("retrieve_increc", arg_parser().parse_args(), main)
