"""The candidates of a date's requests, flat: every retrieved item with what became of it.

One entry a (request, item), by rising request and item_id. Only the asked requests' rows are ever in memory: the
logs are scanned a batch at a time.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import batches
from schemas.storage import arrow
from schemas.table import MissingDataError, Table
from schemas.tables.features import item_stats
from schemas.tables.labels import target_groups
from schemas.tables.logs import retrievals, stages
from schemas.vocabulary import Action, Level, Popularity, Stage, TargetGroup

_ROWS_AT_ONCE = 4096
_EXPOSED_LEVELS = list(Level).index(Level.EXPOSED) + 1
# The stage whose order the teacher's is, and the one that stands in for it, as in build_hccp_samples.
_TEACHERS = (Stage.RANKING, Stage.RE_RANKING)


@dataclass(frozen=True)
class Candidates:
    """Parallel arrays [N]; `requests` index the requests in the order in which they were asked for.

    An order's value is the item's place in that stage's output, 1 for the best, 0 for an item not in it.
    Actions are `Action.strength`, 0 for none: the strongest attributed to the request, and in its scenario. The latter
    are of exposed items alone: of the others the samples hold a draw, and a figure must not depend on it [D].
    """

    requests: np.ndarray
    item_ids: np.ndarray
    exposed: np.ndarray
    in_scenario_actions: np.ndarray
    actions: np.ndarray
    pre_ranking_order: np.ndarray
    teacher_order: np.ndarray
    popularity: np.ndarray
    conversions: np.ndarray


def read(root: str | arrow.Snapshot, day: date, samples: pa.Table) -> Candidates:
    """The candidates of these requests of a date.

    A request's candidates are the items of its retrievals over all channels and what it exposed, which is
    what its labels call retrieved.

    Args:
        samples: rows of `hccp_samples` of the date: request_id, item_ids, levels, in_scenario_actions.

    Raises:
        MissingDataError: a table, or the date of it, is not there. The stages may be absent.
    """
    wanted = samples["request_id"].combine_chunks()
    sampled = _sampled(samples)
    requests, item_ids = _listed(_scan(root, retrievals, day, wanted, ["request_id", "item_ids"]), wanted)[:2]
    shown = sampled["exposed"]
    index = _Index(
        np.concatenate([requests, sampled["requests"][shown]]), np.concatenate([item_ids, sampled["item_ids"][shown]])
    )
    pre_ranking, teacher = _orders(root, day, wanted, index)
    conversions, popularity = _popularity(root, day, index.item_ids)
    return Candidates(
        requests=index.requests,
        item_ids=index.item_ids,
        exposed=index.placed(sampled["requests"], sampled["item_ids"], sampled["exposed"]),
        in_scenario_actions=index.placed(
            sampled["requests"][shown], sampled["item_ids"][shown], sampled["in_scenario_actions"][shown]
        ),
        actions=_attributed(root, day, wanted, index),
        pre_ranking_order=pre_ranking,
        teacher_order=teacher,
        popularity=popularity,
        conversions=conversions,
    )


class _Index:
    """The distinct (request, item) pairs, sorted, and where any pair stands among them."""

    def __init__(self, requests: np.ndarray, item_ids: np.ndarray):
        self._items = np.unique(item_ids)
        self._keys = np.unique(self._key(requests, item_ids))
        self.requests, codes = np.divmod(self._keys, max(len(self._items), 1))
        self.item_ids = self._items[codes]

    def placed(self, requests: np.ndarray, item_ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        """`values` of these pairs, [N] in the index's order; 0 for every other pair, pairs not in it left out."""
        made = np.zeros(len(self._keys), values.dtype)
        known = np.isin(item_ids, self._items)
        keys = self._key(requests[known], item_ids[known])
        place = np.searchsorted(self._keys, keys)
        there = np.isin(keys, self._keys)
        made[place[there]] = values[known][there]
        return made

    def _key(self, requests: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
        return requests * max(len(self._items), 1) + np.searchsorted(self._items, item_ids)


def _scan(root: str | arrow.Snapshot, table: Table, day: date, wanted: pa.Array, columns: list[str]) -> pa.Table:
    """These columns of the wanted requests' rows of a Delta table, read a few thousand rows at a time."""
    if day not in arrow.dates(root, table):
        raise MissingDataError(f"{table.path} has no date {day} below {root}; evaluating needs the logs of the day")
    scanner = arrow.delta(root, table).to_pyarrow_dataset().scanner(
        columns=columns,
        filter=(pc.field("date") == day) & pc.field("request_id").isin(wanted),
        batch_size=_ROWS_AT_ONCE,
        batch_readahead=2,
        fragment_readahead=1,
    )  # fmt: skip
    return scanner.to_table()


def _listed(rows: pa.Table, wanted: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Request index, item_id and place in its list (from 1) of every listed item."""
    lists = batches.decode(rows.select(["item_ids"]))["item_ids"]
    requests = pc.index_in(rows["request_id"], value_set=wanted).to_numpy().astype(np.int64)
    places = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths) + 1
    return requests[lists.owners], lists.values, places


def _sampled(samples: pa.Table) -> dict[str, np.ndarray]:
    """The items of the samples, flat: whose, which, whether exposed, the strongest in-scenario action."""
    decoded = batches.decode(samples.select(["item_ids", "levels", "in_scenario_actions"]))
    return {
        "requests": decoded["item_ids"].owners,
        "item_ids": decoded["item_ids"].values,
        "exposed": decoded["levels"].values <= _EXPOSED_LEVELS,
        "in_scenario_actions": decoded["in_scenario_actions"].values,
    }


def _orders(root: str | arrow.Snapshot, day: date, wanted: pa.Array, index: _Index) -> tuple[np.ndarray, np.ndarray]:
    """Places in the output of pre-ranking and of the teacher's stage, each [N].

    A stage that let nothing through was logged all the same: nothing stands in for it.
    """
    none = np.zeros(len(index.requests), np.int64)
    if day not in arrow.dates(root, stages):
        return none, none
    rows = _scan(root, stages, day, wanted, ["request_id", "stage", "item_ids"])
    found = {stage: _listed(rows.filter(pc.field("stage") == str(stage)), wanted) for stage in Stage}
    orders = {stage: index.placed(*listed) for stage, listed in found.items()}
    first, second = _TEACHERS
    logged = rows.filter(pc.field("stage") == str(first))["request_id"]
    has_first = np.isin(index.requests, pc.index_in(logged, value_set=wanted).to_numpy())
    return orders[Stage.PRE_RANKING], np.where(has_first, orders[first], orders[second])


def _attributed(root: str | arrow.Snapshot, day: date, wanted: pa.Array, index: _Index) -> np.ndarray:
    """Strength of the strongest action attributed to the request, from its RTG rows, [N]."""
    rows = _scan(root, target_groups, day, wanted, ["request_id", "item_id", "group", "action"])
    rows = rows.filter(pc.field("group") == str(TargetGroup.RTG))
    strengths = pc.index_in(rows["action"], value_set=pa.array([str(action) for action in Action])).to_numpy() + 1
    requests = pc.index_in(rows["request_id"], value_set=wanted).to_numpy().astype(np.int64)
    return index.placed(requests, rows["item_id"].to_numpy(), strengths)


def _popularity(root: str | arrow.Snapshot, day: date, item_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trailing conversions and the popularity segment of each; an item without a row has none and is `tail`."""
    stats = arrow.read(root, item_stats, day, ["item_id", "conversions", "popularity"]).sort_by("item_id")
    known = stats["item_id"].to_numpy()
    place = np.searchsorted(known, item_ids)
    there = np.isin(item_ids, known)
    conversions = np.zeros(len(item_ids), np.int64)
    popularity = np.full(len(item_ids), str(Popularity.TAIL), object)
    conversions[there] = stats["conversions"].to_numpy()[place[there]]
    popularity[there] = np.asarray(stats["popularity"].to_pylist(), object)[place[there]]
    return conversions, popularity
