"""Arrays of the world as rows of the logs and of the truth. Ids begin at 1."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from jobs.simulator import truth
from jobs.simulator.actions import Acted
from jobs.simulator.population import click_logits, items_of, purchase_logits, users_of
from jobs.simulator.settings import World
from jobs.simulator.stages import Served, intercepts, probability
from schemas.table import FLOATS, ID, TIME, Table
from schemas.tables import logs
from schemas.vocabulary import Stage


def conversions(
    acted: Acted,
    event_ids: list[str],
    users: np.ndarray,
    scenarios: pa.Array,
    request_ids: pa.Array,
    logged_times: np.ndarray,
) -> pa.Table:
    """A row for each action, everything parallel."""
    return table_of(
        logs.conversions,
        pa.array(event_ids, pa.string()),
        ids_of(users),
        ids_of(acted.items),
        pa.array(acted.names(), pa.string()),
        times_of(acted.times),
        scenarios,
        request_ids,
        times_of(logged_times),
    )


def with_faults(world: World, rows: pa.Table, draws: np.random.Generator) -> pa.Table:
    """The rows, then the identical and the conflicting duplicates that the world asks for."""
    twice = np.flatnonzero(draws.random(len(rows)) < world.duplicates)
    changed = rows.take(np.flatnonzero(draws.random(len(rows)) < world.conflicts))
    other = pa.array(changed["item_id"].to_numpy() % world.items + 1)
    changed = changed.set_column(changed.schema.get_field_index("item_id"), changed.schema.field("item_id"), other)
    return pa.concat_tables([rows, rows.take(twice), changed])


def retrievals(ids: pa.Array, served: Served) -> pa.Table:
    """A row for each request and channel that returned anything, the requests together."""
    lengths = np.stack([(items >= 0).sum(axis=1) for items in served.lists.values()], axis=1)
    items = np.concatenate([items[items >= 0] for items in served.lists.values()])
    starts = np.cumsum(lengths.T.ravel())
    rows = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], starts]), pa.int32()), ids_of(items))
    number, channel = np.nonzero(lengths)
    item_ids = rows.take(pa.array(channel * len(lengths) + number))
    names = pa.array(list(served.lists)).take(pa.array(channel))
    return table_of(logs.retrievals, ids.take(pa.array(number)), names, item_ids, _empty_lists(len(number), FLOATS))


def stages(ids: pa.Array, served: Served, shadow: tuple[np.ndarray, np.ndarray] | None) -> pa.Table:
    """A row for each request and stage, stage after stage; `shadow` has the items and scores of a shadow ranking."""
    scored = [
        (Stage.PRE_RANKING, served.pre_ranked, served.pre_ranked_scores),
        (Stage.RANKING, served.ranked, served.ranked_scores),
        (Stage.RE_RANKING, served.shown, None),
        *([] if shadow is None else [(Stage.SHADOW_RANKING, *shadow)]),
    ]
    tables = []
    for stage, items, scores in scored:
        there = items >= 0
        offsets = _offsets(there)
        lists = pa.ListArray.from_arrays(offsets, ids_of(items[there]))
        score_lists = (
            _empty_lists(len(ids), FLOATS)
            if scores is None
            else pa.ListArray.from_arrays(offsets, pa.array(scores[there], pa.float32()))
        )
        tables.append(table_of(logs.stages, ids, pa.array([stage.value] * len(ids)), lists, score_lists))
    return pa.concat_tables(tables)


def impressions(ids: pa.Array, served: Served, shown_times: np.ndarray) -> pa.Table:
    """A row for each item shown; `shown_times` (n, exposed) in microseconds."""
    rows, columns = np.nonzero(served.shown >= 0)
    return table_of(
        logs.impressions,
        ids.take(pa.array(rows)),
        ids_of(served.shown[rows, columns]),
        pa.array(columns + 1, pa.int32()),
        times_of(shown_times[rows, columns]),
    )


def candidates(world: World, ids: pa.Array, served: Served, requests: int, draws: np.random.Generator) -> pa.Table:
    """The true probabilities of everything retrieved, for the share of the requests that the world asks for."""
    chosen = np.flatnonzero(draws.random(len(ids)) < world.truth_requests / max(1, requests))
    items, logits = served.candidates[chosen], served.candidate_clicks[chosen]
    there = items >= 0
    clicks, purchases = _probabilities(world, logits[there], items[there])
    lists = (ids_of(items[there]), pa.array(clicks, pa.float32()), pa.array(purchases, pa.float32()))
    return table_of(
        truth.candidates, ids.take(pa.array(chosen)), *(pa.ListArray.from_arrays(_offsets(there), v) for v in lists)
    )


def events(world: World, event_ids: list[str], users: np.ndarray, items: np.ndarray) -> pa.Table:
    """The truth of each conversion, everything parallel."""
    clicks, purchases = _probabilities(world, click_logits(world, users, items), items)
    return table_of(
        truth.events,
        pa.array(event_ids, pa.string()),
        pa.array(items_of(world).planted[items]),
        pa.array(clicks, pa.float32()),
        pa.array(purchases, pa.float32()),
    )


def _probabilities(world: World, logits: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a click when looked at, and of a click with a purchase."""
    click, purchase = intercepts(world)
    clicks = probability(logits + click)
    return clicks, clicks * probability(purchase_logits(world, logits, items) + purchase)


@lru_cache(maxsize=2)
def snapshots(world: World) -> dict[str, pa.Table]:
    """Users and items, as producers land them and as they are."""
    people, catalogue = users_of(world), items_of(world)
    user_ids, item_ids = ids_of(np.arange(world.users)), ids_of(np.arange(world.items))
    return {
        "users": pa.table({"user_id": user_ids, "age_group": pa.array(people.age_group, pa.string())}),
        "items": pa.table(
            {
                "item_id": item_ids,
                "category_id": pa.array(catalogue.category + 1, ID),
                "brand_id": pa.array(catalogue.brand, ID),
                "price": pa.array(catalogue.price, pa.float64()),
            }
        ),
        "_truth/users": table_of(
            truth.users,
            user_ids,
            _vectors(people.taste_Ud),
            pa.array(people.activity, pa.float64()),
            pa.array(people.planted_interest, pa.float64()),
        ),
        "_truth/items": table_of(
            truth.items,
            item_ids,
            _vectors(catalogue.taste_Id),
            pa.array(catalogue.log_popularity),
            pa.array(catalogue.quality),
            pa.array(catalogue.value),
            pa.array(catalogue.planted),
        ),
    }


def table_of(table: Table, *columns: pa.Array) -> pa.Table:
    return pa.Table.from_arrays(list(columns), schema=table.schema)


def ids_of(indices: np.ndarray) -> pa.Array:
    """Ids of indices: they begin at 1."""
    return pa.array(indices.astype(np.int64) + 1, ID)


def times_of(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(TIME)


def _offsets(there: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())


def _vectors(vectors: np.ndarray) -> pa.Array:
    offsets = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32()))


def _empty_lists(size: int, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(size + 1), pa.int32()), pa.array([], kind.value_type))
