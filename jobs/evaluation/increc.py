"""One date's requests as IncRec is judged on them, whatever orders the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import cli
from jobs.evaluation import segments as scenarios
from jobs.evaluation.evaluate import Measured, partition_states
from models import batches, hashing
from models.batches import Batch
from models.checkpoint import ModelDirectory
from models.evaluation import retrieval_metrics, untrained_baselines
from models.evaluation.retrieval_metrics import Scorer, Targets
from models.evaluation.untrained_baselines import ItemNeighbours
from models.increc import model as increc
from models.retrieved_lists import retrieved_lists
from schemas.storage import arrow
from schemas.tables.features import item_stats
from schemas.tables.labels import target_groups
from schemas.tables.logs import conversions, retrievals
from schemas.tables.samples import increc_samples
from schemas.vocabulary import Action, Popularity

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


class Judge:
    """The date's requests, their targets, and the one catalogue that every retrieval orders: the items of item_stats.

    An item that was first acted on during the date is in nobody's catalogue: it counts as missed by all.

    Raises:
        MissingDataError: the samples, item_stats or the retrievals of the date are not there.
    """

    sources = (increc_samples, item_stats, retrievals, conversions, target_groups)

    def __init__(self, root: str, day: date, settings: Settings):
        self.root, self.day, self.settings = root, day, settings
        self.snapshot = arrow.Snapshot(root)
        self.states = partition_states(root, day, self.sources)
        columns = ["item_id", "conversions", "popularity"]
        self._stats = arrow.read(root, item_stats, day, columns).sort_by("item_id")
        self._catalogue = self._stats["item_id"].to_numpy()
        samples = batches.chosen_samples(root, increc_samples, day, _COLUMNS, settings.seed, settings.requests)
        self.request_ids = samples["request_id"].combine_chunks()
        self._rows = batches.decode(samples.drop_columns(["request_id"]))
        self._targets = targets_of(self._rows)
        self._retrieved = retrieved_lists(self.snapshot, day, self.request_ids)
        self._popularity = popularity_of(self._stats, self._targets.item_ids)
        self._cold = self._rows["history_item_ids"].lengths < settings.cold_start_below
        self._scenarios = self._acted_in()
        self.counts = {"requests": self.requests, "targets": len(self._targets.rows)}
        said = ", ".join(self._retrieved) or "none"
        cli.log(f"{self.requests} requests, {len(self._targets.rows)} targets, channels {said}")

    @property
    def requests(self) -> int:
        return len(self.request_ids)

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured:
        """What each model's inner products earn and, if `untrained`, every row that needs no training."""
        scorers = {(name, 0): scorer for name, scorer in self._untrained.items()} if untrained else {}
        scorers |= {(each.variant, each.seed): self._trained(each) for each in models}
        found = retrieval_metrics.measure(self._targets, self._retrieved, self._catalogue, scorers, self.requests)
        segments = self._popularity, self._cold, self._scenarios
        values = {
            name: [*retrieval_metrics.summarise(self._targets, measured, *segments)] for name, measured in found.items()
        }
        if untrained:
            values["random", 0] += retrieval_metrics.expected_at_random(self._targets, found["random", 0])
        return values

    def cost(self, model: ModelDirectory) -> list[dict]:
        """Nothing: what a channel costs is its index's to say."""
        return []

    def _acted_in(self) -> dict[str, np.ndarray]:
        """The targets by the scenario in which they were acted on; what was exposed and no more is in none."""
        targets = self._targets
        found = scenarios.of_targets(self.snapshot, self.day, self.request_ids, targets.rows, targets.item_ids)
        return scenarios.segments(np.where(targets.itg | targets.rtg, found, ""))

    @cached_property
    def _untrained(self) -> dict[str, Scorer]:
        settings, counts = self.settings, self._stats["conversions"].to_numpy()
        users, item_ids = known_conversions(self.snapshot, self.day, settings)
        columns = retrieval_metrics.locate(self._catalogue, item_ids)
        users, columns = users[columns >= 0], columns[columns >= 0]
        near = ItemNeighbours.fit(users, columns, len(counts), settings.neighbours, settings.longest_user)
        keys = hashing.request_keys(self.request_ids.to_numpy(zero_copy_only=False), settings.seed)
        histories = self._rows["history_item_ids"]
        return untrained_baselines.scorers(keys, histories, self._retrieved, self._catalogue, counts, near)

    def _trained(self, directory: ModelDirectory) -> Scorer:
        """An item that the model has not learned yet is scored as its bucket is."""
        cli.log(f"measuring {directory.place}")
        model = increc.load(directory)
        users_ND, items_CD = model.user_vectors(self._rows), model.item_vectors(self._catalogue)
        share = model.settings.item_cf_share

        def towers(start: int, stop: int) -> np.ndarray:
            return users_ND[start:stop] @ items_CD.T

        return untrained_baselines.fused(towers, self._untrained["item_cf_twice"], share) if share else towers


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


def popularity_of(stats: pa.Table, item_ids: np.ndarray) -> np.ndarray:
    """`top`, `middle` or `tail` of each item; an item without a row is `tail`."""
    places = pc.index_in(pa.array(item_ids), value_set=stats["item_id"].combine_chunks())
    return pc.fill_null(stats["popularity"].combine_chunks().take(places), str(Popularity.TAIL)).to_numpy(
        zero_copy_only=False
    )


def known_conversions(root: str | arrow.Snapshot, day: date, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """(user_id, item_id) of the conversions of the days before that were logged before the date, oldest first.

    Of more than `neighbour_events` those of a share of the users, by a hash of the user, so that memory is bounded.
    """
    first, midnight = day - timedelta(settings.neighbour_days), datetime(day.year, day.month, day.day, tzinfo=UTC)
    source = arrow.delta(root, conversions).to_pyarrow_dataset()
    known = (pc.field("date") >= first) & (pc.field("date") < day) & (pc.field("logged_time") < midnight)
    share = min(1.0, settings.neighbour_events / max(source.count_rows(filter=known), 1))
    parts = []
    for batch in source.to_batches(columns=["user_id", "item_id", "event_time", "event_id"], filter=known):
        draw = hashing.mix(batch["user_id"].to_numpy().astype(np.uint64)) / 2.0**64
        parts.append(batch.filter(pa.array(draw < share)))
    events = pa.Table.from_batches(parts) if parts else None
    if events is None or events.num_rows == 0:
        cli.log(f"{conversions.path} knows nothing of the {settings.neighbour_days} days before {day}: no item-CF")
        return np.empty(0, np.int64), np.empty(0, np.int64)
    events = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    return events["user_id"].to_numpy(), events["item_id"].to_numpy()
