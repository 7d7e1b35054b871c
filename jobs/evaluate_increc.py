"""Measure the IncRec models of the day before on the date's requests, which they have never seen.

Each request orders the model's whole catalogue; its ITG, RTG and ETG items are looked up in that order (inc, base,
exposure, order), once more after what the channels had retrieved is left out (inc_filtered, what the channel would
really add), and the share of the top K that the channels had retrieved is counted (overlap). Popularity of an item
is that of the days before; a user with fewer than five known conversions is cold_start. The same is measured of
retrievals that need no training: random (with its exact expectation beside it), hot_items, item_cf_twice, and
<channel>_deeper, which estimates what a channel would have returned further down. Without any model of the day
before only those are written.

Reads:  samples/increc_samples, features/item_stats, logs/retrievals, logs/conversions of the days before,
        models/increc of the day before
Writes: reports/evaluations, the date's increc rows anew
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import command
from models import baselines, checkpoint, evaluations, increc, inputs, keyed_choice, retrieval_metrics
from models.baselines import ItemNeighbours
from models.checkpoint import ModelDirectory
from models.increc import IncRec
from models.inputs import Batch, Ragged
from models.retrieval_metrics import Measured, Scorer, Targets
from schemas import arrow, storage
from schemas.features import item_stats
from schemas.labels import Action, Popularity
from schemas.logs import conversions, retrievals
from schemas.samples import increc_samples
from schemas.storage import Root
from schemas.table import MissingDataError, partition

MODEL = "increc"
_COLUMNS = tuple(name for name in increc_samples.names if name not in ("scenario", "request_time"))


@dataclass(frozen=True)
class Settings:
    """What the figures depend on beside the data."""

    requests: int = 20_000  # at most so many of the date, those whose keyed hash is smallest
    seed: int = 0  # of that hash and of the random row
    cold_start_below: int = 5  # known conversions
    neighbour_days: int = 14  # item-CF counts the conversions of so many days before the date
    neighbour_events: int = 5_000_000  # of about so many conversions, by a hash of the user
    neighbours: int = 20  # kept for each item
    longest_user: int = 50  # items of one user that item-CF counts


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--requests", type=command.at_least(1), default=Settings.requests, help="at most so many, default 20000"
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, settings = arguments.root, Settings(requests=arguments.requests)
    stats = arrow.read(root, item_stats, day, ["item_id", "conversions", "popularity"]).sort_by("item_id")
    samples = inputs.chosen_samples(root, increc_samples, day, _COLUMNS, settings.seed, settings.requests)
    request_ids, requests = samples["request_id"].combine_chunks(), inputs.decode(samples.drop_columns(["request_id"]))
    targets = targets_of(requests)
    retrieved = retrieved_lists(root, day, request_ids)
    command.log(f"{len(request_ids)} requests, {len(targets.rows)} targets, channels {', '.join(retrieved) or 'none'}")
    popularity = popularity_of(stats, targets.item_ids)
    cold = requests["history_item_ids"].lengths < settings.cold_start_below

    def rows_of(variant: str, seed: int, measured: Measured) -> Iterator[dict]:
        values = [*retrieval_metrics.summarise(targets, measured, popularity, cold)]
        if variant == "random":
            values += retrieval_metrics.expected_at_random(targets, measured)
        for metric, segment, k, value, support in values:
            row = {"metric": metric, "segment": segment, "k": k, "value": value, "support": support}
            yield {"variant": variant, "seed": seed, **row}

    catalogue = stats["item_id"].to_numpy()
    untrained = untrained_scorers(root, day, settings, request_ids, requests, retrieved, stats)
    measured = retrieval_metrics.measure(targets, retrieved, catalogue, untrained, len(request_ids))
    rows = [row for variant, found in measured.items() for row in rows_of(variant, 0, found)]
    before = day - timedelta(1)
    models = checkpoint.found(root, MODEL, before)
    if not models:
        command.log(f"there is no model in models/{MODEL}/date={before}: only the rows that need no training")
    for model in models:
        command.log(f"measuring {model.place}")
        catalogue, scorer = trained_scorer(increc.load(model), requests)
        found = retrieval_metrics.measure(targets, retrieved, catalogue, {model.variant: scorer}, len(request_ids))
        rows += rows_of(model.variant, model.seed, found[model.variant])
    written = evaluations.replace_rows(root, day, MODEL, rows, made_from(root, day, models), asdict(settings))
    return {
        "rows_written": written,
        "requests": len(request_ids),
        "targets": len(targets.rows),
        "models": [model.place for model in models],
    }


def targets_of(requests: Batch) -> Targets:
    """Every ITG, RTG and ETG item of every request."""
    groups = {name: requests[f"{name}_item_ids"] for name in ("itg", "rtg", "etg")}
    rows = np.concatenate([items.owners for items in groups.values()])
    item_ids = np.concatenate([items.values for items in groups.values()])
    strengths = np.concatenate([requests[f"{name}_actions"].values for name in groups])
    group = np.repeat(list(groups), [len(items.values) for items in groups.values()])
    order = np.argsort(rows, kind="stable")
    rows, item_ids, strengths, group = rows[order], item_ids[order], strengths[order], group[order]
    purchased = strengths == Action.PURCHASE.strength
    return Targets(rows, item_ids, group == "itg", group == "rtg", group == "etg", purchased)


def retrieved_lists(root: str, day: date, request_ids: pa.Array) -> dict[str, Ragged]:
    """Channel -> what it had returned for each of these requests, read a batch at a time; by channel's name."""
    if not len(request_ids):
        return {}
    if day not in arrow.dates(root, retrievals):
        raise MissingDataError(f"{retrievals.path} has no date {day} below {Root.of(root).path}")
    source = arrow.delta(root, retrievals).to_pyarrow_dataset()
    found: dict[str, list[tuple[np.ndarray, pa.Array]]] = {}
    columns = ["request_id", "channel", "item_ids"]
    ahead = {"batch_size": 4096, "batch_readahead": 2, "fragment_readahead": 1}  # the lists are most of the logs
    for batch in source.to_batches(columns=columns, filter=pc.field("date") == day, **ahead):
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


def popularity_of(stats: pa.Table, item_ids: np.ndarray) -> np.ndarray:
    """`top`, `middle` or `tail` of each item; an item without a row is `tail`."""
    places = pc.index_in(pa.array(item_ids), value_set=stats["item_id"].combine_chunks())
    return pc.fill_null(stats["popularity"].combine_chunks().take(places), str(Popularity.TAIL)).to_numpy(
        zero_copy_only=False
    )


def untrained_scorers(
    root: str,
    day: date,
    settings: Settings,
    request_ids: pa.Array,
    requests: Batch,
    retrieved: dict[str, Ragged],
    stats: pa.Table,
) -> dict[str, Scorer]:
    """Every row that needs no training; its catalogue is that of item_stats."""
    catalogue, counts = stats["item_id"].to_numpy(), stats["conversions"].to_numpy()
    users, item_ids = known_conversions(root, day, settings)
    columns = retrieval_metrics.locate(catalogue, item_ids)
    users, columns = users[columns >= 0], columns[columns >= 0]
    near = ItemNeighbours.fit(users, columns, len(catalogue), settings.neighbours, settings.longest_user)
    keys = keyed_choice.request_keys(request_ids.to_numpy(zero_copy_only=False), settings.seed)
    return baselines.scorers(keys, requests["history_item_ids"], retrieved, catalogue, counts, near)


def known_conversions(root: str, day: date, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """(user_id, item_id) of the conversions of the days before that were logged before the date, oldest first.

    Of more than `neighbour_events` those of a share of the users, by a hash of the user, so that memory is bounded.
    """
    first, midnight = day - timedelta(settings.neighbour_days), datetime(day.year, day.month, day.day, tzinfo=UTC)
    source = arrow.delta(root, conversions).to_pyarrow_dataset()
    known = (pc.field("date") >= first) & (pc.field("date") < day) & (pc.field("logged_time") < midnight)
    share = min(1.0, settings.neighbour_events / max(source.count_rows(filter=known), 1))
    parts = []
    for batch in source.to_batches(columns=["user_id", "item_id", "event_time", "event_id"], filter=known):
        draw = keyed_choice.mix(batch["user_id"].to_numpy().astype(np.uint64)) / 2.0**64
        parts.append(batch.filter(pa.array(draw < share)))
    events = pa.Table.from_batches(parts) if parts else None
    if events is None or events.num_rows == 0:
        command.log(f"{conversions.path} knows nothing of the {settings.neighbour_days} days before {day}: no item-CF")
        return np.empty(0, np.int64), np.empty(0, np.int64)
    events = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    return events["user_id"].to_numpy(), events["item_id"].to_numpy()


def trained_scorer(model: IncRec, requests: Batch) -> tuple[np.ndarray, Scorer]:
    """The model's catalogue, ascending, and its inner products."""
    catalogue = np.sort(model.item_vocabulary)
    users_ND, items_CD = model.user_vectors(requests), model.item_vectors(catalogue)
    return catalogue, lambda start, stop: users_ND[start:stop] @ items_CD.T


def made_from(root: str, day: date, models: list[ModelDirectory]) -> dict:
    """The state of every input that the figures come from."""
    place = Root.of(root)
    tables = {partition(table, day): storage.identity(place, table, day) for table in (increc_samples, item_stats)}
    tables |= {table.path: arrow.delta(root, table).version() for table in (retrievals, conversions)}
    return tables | {model.place: model.manifest().get("made_from") for model in models}


if __name__ == "__main__":
    command.run("evaluate_increc", arg_parser().parse_args(), main)
