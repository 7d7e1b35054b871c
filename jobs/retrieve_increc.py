"""Retrieve for the date's requests with the IncRec model that serves.

Reads:  models/increc, logs/requests, logs/retrievals (which requests have any),
        features/user_histories, logs/items (or, without, logs/impressions and
        logs/conversions: which items are alive), ids/item_id where ids are text
Writes: landing/retrievals/date=D/increc/, lists of the channel `increc`

- Run ingest_logs and label_target_groups again for the date afterwards.
- Where the lists were not served, do this in a copy of the root.

In detail:

The model is that of serving.json where it is of a date before this one, else the newest published one before it.

Each labelable request, one with a list of another channel, gets the channel's first items by its history as logged,
whatever the others returned, as beside them in serving. Items that are dead by the date are left out. The rows land
as a producer's do, in the producer's names of columns and channels and text ids: ingest_logs, run again for the date,
takes them into `retrievals`, and label_target_groups, run again, says what the channel found: of the ITG of before
what became RTG. IncRec goes on learning and being judged by what the others miss: build_increc_samples and
evaluate_increc leave the channel out. Every other job takes the lists for served ones, and HCCP learns that pre-
ranking dropped them. As in evaluate_increc, labels of the model's last date may reach into this one. Run again the
job replaces its own rows alone.
"""

import argparse
from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.ingestion.producer_language import ProducerLanguage
from models import batches
from models.serving import load
from models.serving.alive_items import AliveItems
from models.serving.load import Published
from schemas.storage import arrow, id_texts, partitions
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.table import FLOATS, IDS, MissingDataError, landing, partition
from schemas.tables.features import user_histories
from schemas.tables.logs import requests, retrievals
from schemas.vocabulary import HOMEPAGE, INCREC

_AT_ONCE = 32_768  # requests, whose ids are looked up among all of the date's


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--variant", help="take the newest of this <preset> or <preset>-<size>, not what serves")
    parser.add_argument("--seed", type=cli.at_least(0), help="take the newest of this seed, not what serves")
    parser.add_argument("--items", type=cli.at_least(1), default=100, help="returned a request, default 100")
    parser.add_argument(
        "--scenario", action="append", help=f"of the requests, repeatable; default {HOMEPAGE} or settings.toml's"
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, place = arguments.root, Root.of(arguments.root)
    language = ProducerLanguage.of(root, INCREC)
    folder = f"{landing(retrievals, day)}/{INCREC}"
    require_others(place, day, folder, language)
    directory = load.chosen(root, "increc", arguments.variant, arguments.seed, day)
    cli.log(f"retrieving with {directory.place}")
    snapshot = arrow.Snapshot(root)
    scenarios = arguments.scenario or list(RootSettings.of(arguments.root).scenarios)
    asked, made_from = requests_of(snapshot, day, scenarios)
    made_from |= {
        directory.place: directory.manifest()["exported"]["checkpoint"],
        partition(user_histories, day): partitions.identity(place, user_histories, day),
    }
    settings = {"items": arguments.items, "scenarios": scenarios}
    model, alive = Published.load(directory), AliveItems.of(snapshot, day)
    made_from |= snapshot.versions
    allowed = None if alive is None else alive.among(model.item_ids)
    texts = id_texts.texts(root, "item_id", model.item_ids)
    with arrow.Writer(root, language.table, day, folder + language.folder, made_from, settings) as writer:
        for rows in with_histories(root, day, asked):
            writer.write(language.spoken(retrieved(model, rows, arguments.items, allowed), model.item_ids, texts))
    return {"rows_written": writer.manifest["rows"], "model": directory.place}


def require_others(place: Root, day: date, folder: str, language: ProducerLanguage) -> None:
    """Raise unless other channels are landed for the date, and no `increc` of a producer among them.

    Raises:
        MissingDataError: without them ingest_logs would take this channel for all that were.
        WorkFailedError: a producer landed this channel: each request would have two lists of it.
    """
    there = [info.path for info in place.files(landing(retrievals, day), ".parquet")]
    others = [path for path in there if not path.startswith(f"{place.at(folder)}/")]
    if not others:
        raise MissingDataError(
            f"{landing(retrievals, day)} has no other channel below {place.path}: land again what was retrieved on the "
            "date, or ingest_logs would replace it by this channel alone"
        )
    for path in others:
        if language.channel in language.channels_of(place, path):
            raise WorkFailedError(f"{path} has the channel {INCREC} already, as a producer served it; nothing to add")


def requests_of(root: str | arrow.Snapshot, day: date, scenarios: list[str]) -> tuple[pa.Table, dict]:
    """request_id and user_id of the scenarios' labelable requests, and the versions of the logs that say so."""
    lists, lists_version = arrow.stream(root, retrievals, day, ["request_id", "channel"])
    others = [batch.filter(pc.field("channel") != INCREC)["request_id"] for batch in lists]
    labelable = pc.unique(pa.chunked_array(others, pa.string()))
    rows, version = arrow.stream(root, requests, day, ["request_id", "user_id", "scenario"])
    asked = rows.read_all().filter(pc.field("scenario").isin(scenarios))
    asked = asked.filter(pc.is_in(asked["request_id"], labelable))
    return asked.drop_columns(["scenario"]), {requests.path: version, retrievals.path: lists_version}


def with_histories(root: str, day: date, asked: pa.Table) -> Iterator[pa.Table]:
    """request_id, user_id and history of the requests, in the order of user_histories.

    Raises:
        WorkFailedError: a request has no row in user_histories.
    """
    request_ids, found = asked["request_id"].combine_chunks(), 0
    source = dataset.dataset(arrow.files(root, user_histories, day), filesystem=Root.of(root).filesystem)
    columns = ["request_id", "history_item_ids", "history_actions"]
    for batch in source.to_batches(columns=columns, **arrow.SCAN | {"batch_size": _AT_ONCE}):
        at = pc.index_in(batch["request_id"], request_ids)
        rows = pa.Table.from_batches([batch]).append_column("user_id", asked["user_id"].take(at))
        rows = rows.filter(pc.is_valid(at))
        found += len(rows)
        yield rows
    if found < len(asked):
        raise WorkFailedError(
            f"{len(asked) - found} of {len(asked)} requests of {day} have no row in user_histories: it was made from "
            "other logs; run build_user_histories for the date, then this again"
        )


def retrieved(model: Published, rows: pa.Table, most: int, allowed: np.ndarray | None = None) -> pa.Table:
    """A row of `retrievals` a request, of allowed items (bool [C]) alone."""
    positions_BK, scores_BK = model.retrieve(batches.decode(rows.drop_columns(["request_id"])), most, allowed)
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
    cli.run("retrieve_increc", arg_parser().parse_args(), main)
