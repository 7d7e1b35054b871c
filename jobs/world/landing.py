"""Land a date of the world: all seven logs and the truth beside them, chunk by chunk.

Everything homepage requests cause is made and written a chunk of requests at a time; only what is one
number a request, a visit or a user is held for the whole date.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import pyarrow as pa

from jobs.world import actions, truth
from jobs.world.channels import recent_items
from jobs.world.demand import Requests, Visits, homepage_requests, other_requests, visits_elsewhere
from jobs.world.population import click_logits, items_of, purchase_logits, users_of
from jobs.world.settings import World
from jobs.world.stages import Served, intercepts, probability, serve
from jobs.world.streams import ELSEWHERE, Purpose, stream
from schemas import arrow, logs
from schemas.labels import HOMEPAGE, Stage
from schemas.table import FLOATS, ID, TIME, Table, landing

_REQUESTS_AT_ONCE = 512
_AHEAD = 4  # chunks made before they are written; they bound the memory

Pieces = dict[str, pa.Table]


@dataclass(frozen=True)
class Figures:
    """What a date's logs look like, to compare with what the world was asked for.

    `answerable` visits elsewhere have a homepage request of their user before them on the same date; `covered`
    are those whose latest such request had retrieved the item. `exposed` marks the items shown at least once.
    """

    impressions: int
    clicks: int
    purchases: int
    answerable: int
    covered: int
    correlations: float
    requests: int
    retrieved: int
    exposed: np.ndarray

    def __add__(self, other: "Figures") -> "Figures":
        parts = (self, other)
        summed = {name: sum(getattr(part, name) for part in parts) for name in vars(self) if name != "exposed"}
        return Figures(**summed, exposed=self.exposed | other.exposed)

    def shares(self) -> dict[str, float]:
        return {
            "ctr": _share(self.clicks, self.impressions),
            "cvr": _share(self.purchases, self.clicks),
            "coverage": _share(self.covered, self.answerable),
            "items_never_exposed": _share(int((~self.exposed).sum()), len(self.exposed)),
            "items_retrieved_per_request": _share(self.retrieved, self.requests),
            "pre_ranking_correlation": _share(self.correlations, self.requests),
        }


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def land(root: str, world: World, day: date, progress: Callable[[str], None] = lambda _: None) -> tuple[dict, Figures]:
    """Write landing/<table>/date=<day> of all seven logs and their truth; returns rows by table and the figures.

    The same world and date give the same bytes, whatever other dates are made before it.
    """
    settings = asdict(world)
    total = Figures(0, 0, 0, 0, 0, 0.0, 0, 0, np.zeros(world.items, bool))
    with ExitStack() as stack:
        writers = {
            _name(table): stack.enter_context(arrow.Writer(root, table, day, folder, {}, settings))
            for table, folder in (
                *((table, landing(table, day)) for table in logs.LOGS),
                *((table, truth.folder(table, day)) for table in truth.TRUTHS),
            )
        }
        for name, rows in _snapshots(world).items():
            writers[name].write(rows)
        for done, (pieces, figures) in enumerate(_chunks(world, day)):
            for name, rows in pieces.items():
                writers[name].write(rows)
            total = total + figures
            if done % 20 == 19:
                progress(f"{total.requests} homepage requests of {day} are written")
    return {name: writer.manifest["rows"] for name, writer in writers.items()}, total


def _name(table: Table) -> str:
    return f"_truth/{table.name}" if table.layer == "truth" else table.name


def _chunks(world: World, day: date) -> Iterator[tuple[Pieces, Figures]]:
    """Chunks of homepage requests in their order, made on every core, then what happened elsewhere."""
    requests, visits = homepage_requests(world, day), visits_elsewhere(world, day)
    answering = _latest_request(requests, visits)
    intercepts(world)
    recent_items(world, day)
    starts = range(0, len(requests.users), _REQUESTS_AT_ONCE)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        waiting: deque = deque()
        for start in starts:
            waiting.append(pool.submit(_homepage, world, day, requests, visits, answering, start))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield _elsewhere(world, day, visits), Figures(0, 0, 0, 0, 0, 0.0, 0, 0, np.zeros(world.items, bool))


def _latest_request(requests: Requests, visits: Visits) -> np.ndarray:
    """For each visit its user's latest request at or before it on the date, as an index, or -1."""
    users, times = np.concatenate([requests.users, visits.users]), np.concatenate([requests.times, visits.times])
    is_visit = np.arange(len(users)) >= len(requests.users)
    order = np.lexsort((is_visit, times, users))
    place = np.where(is_visit[order], -1, np.arange(len(order)))
    latest = order[np.maximum.accumulate(place)] if len(order) else order
    same = (np.maximum.accumulate(place) >= 0) & (users[latest] == users[order])
    found = np.full(len(users), -1)
    found[order] = np.where(same, latest, -1)
    return found[len(requests.users) :]


def _homepage(
    world: World, day: date, requests: Requests, visits: Visits, answering: np.ndarray, start: int
) -> tuple[Pieces, Figures]:
    """Everything a chunk of requests causes, as rows of the tables, and its figures."""
    rows = slice(start, min(start + _REQUESTS_AT_ONCE, len(requests.users)))
    users, times, chunk = requests.users[rows], requests.times[rows], start // _REQUESTS_AT_ONCE
    served = serve(world, users, day, chunk)
    draws = stream(world, Purpose.RESPONSE, day, chunk)
    shown_times = actions.shown_times(times, served.shown.shape[1], day, draws)
    acted = actions.on_homepage(world, served, shown_times, day, draws)
    names = acted.names()
    request_ids = [f"{day:%Y%m%d}-{number:07d}" for number in range(rows.start, rows.stop)]
    event_ids = [
        f"{request_ids[row]}-{position:02d}-{name}"
        for row, position, name in zip(acted.sources, acted.positions, names, strict=True)
    ]
    ids = pa.array(request_ids, pa.string())
    delays = stream(world, Purpose.DELAYS, day, chunk)
    conversions = _conversions(
        world, event_ids, users[acted.sources], acted, names, [HOMEPAGE] * len(names), ids.take(acted.sources), delays
    )
    pieces = {
        "requests": _table(logs.requests, ids, _ids(users), pa.array([HOMEPAGE] * len(users)), _times(times)),
        "retrievals": _retrievals(ids, served),
        "stages": _stages(ids, served),
        "impressions": _impressions(ids, served, shown_times),
        "conversions": _with_faults(world, conversions, stream(world, Purpose.FAULTS, day, chunk)),
        "_truth/conversions": _events(world, event_ids, users[acted.sources], acted.items),
        "_truth/candidates": _candidates(
            world, ids, served, len(requests.users), stream(world, Purpose.TRUTH, day, chunk)
        ),
    }
    return pieces, _figures(world, served, acted, visits, answering, start)


def _elsewhere(world: World, day: date, visits: Visits) -> Pieces:
    """The conversions outside the homepage, and the requests for which nothing was retrieved."""
    acted = actions.elsewhere(world, visits, day)
    draws = stream(world, Purpose.OTHER_REQUESTS, day, 1)
    scenario_of_visit = draws.choice(len(world.scenarios), size=len(visits.users), p=world.scenario_shares)
    names, users = acted.names(), visits.users[acted.sources]
    event_ids = [f"{day:%Y%m%d}-e{row:07d}-{name}" for row, name in zip(acted.sources, names, strict=True)]
    scenarios = pa.array(world.scenarios).take(pa.array(scenario_of_visit[acted.sources]))
    nobody = pa.nulls(len(names), pa.string())
    delays = stream(world, Purpose.DELAYS, day, ELSEWHERE)
    conversions = _conversions(world, event_ids, users, acted, names, scenarios, nobody, delays)
    others = other_requests(world, day)
    other_ids = pa.array([f"{day:%Y%m%d}-s{row:07d}" for row in range(len(others.users))], pa.string())
    chosen = draws.choice(len(world.scenarios), size=len(others.users), p=world.scenario_shares)
    return {
        "requests": _table(
            logs.requests,
            other_ids,
            _ids(others.users),
            pa.array(world.scenarios).take(pa.array(chosen)),
            _times(others.times),
        ),
        "conversions": _with_faults(world, conversions, stream(world, Purpose.FAULTS, day, ELSEWHERE)),
        "_truth/conversions": _events(world, event_ids, users, acted.items),
    }


def _conversions(world, event_ids, users, acted: actions.Acted, names, scenarios, request_ids, delays) -> pa.Table:
    logged = actions.logged_times(world, acted.times, delays)
    return _table(
        logs.conversions,
        pa.array(event_ids, pa.string()),
        _ids(users),
        _ids(acted.items),
        pa.array(names, pa.string()),
        _times(acted.times),
        pa.array(scenarios, pa.string()),
        request_ids,
        _times(logged),
    )


def _with_faults(world: World, rows: pa.Table, draws: np.random.Generator) -> pa.Table:
    """The rows, then the identical and the conflicting duplicates that the world asks for."""
    twice = np.flatnonzero(draws.random(len(rows)) < world.duplicates)
    changed = rows.take(np.flatnonzero(draws.random(len(rows)) < world.conflicts))
    other = pa.array(changed["item_id"].to_numpy() % world.items + 1)
    changed = changed.set_column(changed.schema.get_field_index("item_id"), changed.schema.field("item_id"), other)
    return pa.concat_tables([rows, rows.take(twice), changed])


def _retrievals(ids: pa.Array, served: Served) -> pa.Table:
    """A row for each request and channel that returned anything, the requests together."""
    lengths = np.stack([(items >= 0).sum(axis=1) for items in served.lists.values()], axis=1)
    items = np.concatenate([items[items >= 0] for items in served.lists.values()])
    starts = np.cumsum(lengths.T.ravel())
    rows = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], starts]), pa.int32()), _ids(items))
    number, channel = np.nonzero(lengths)
    item_ids = rows.take(pa.array(channel * len(lengths) + number))
    names = pa.array(list(served.lists)).take(pa.array(channel))
    return _table(logs.retrievals, ids.take(pa.array(number)), names, item_ids, _empty_lists(len(number), FLOATS))


def _stages(ids: pa.Array, served: Served) -> pa.Table:
    """A row for each request and stage, stage after stage."""
    scored = (
        (Stage.PRE_RANKING, served.pre_ranked, served.pre_ranked_scores),
        (Stage.RANKING, served.ranked, served.ranked_scores),
        (Stage.RE_RANKING, served.shown, None),
    )
    tables = []
    for stage, items, scores in scored:
        there = items >= 0
        offsets = _offsets(there)
        lists = pa.ListArray.from_arrays(offsets, _ids(items[there]))
        score_lists = (
            _empty_lists(len(ids), FLOATS)
            if scores is None
            else pa.ListArray.from_arrays(offsets, pa.array(scores[there], pa.float32()))
        )
        tables.append(_table(logs.stages, ids, pa.array([stage.value] * len(ids)), lists, score_lists))
    return pa.concat_tables(tables)


def _impressions(ids: pa.Array, served: Served, shown_times: np.ndarray) -> pa.Table:
    rows, columns = np.nonzero(served.shown >= 0)
    return _table(
        logs.impressions,
        ids.take(pa.array(rows)),
        _ids(served.shown[rows, columns]),
        pa.array(columns + 1, pa.int32()),
        _times(shown_times[rows, columns]),
    )


def _candidates(world: World, ids: pa.Array, served: Served, requests: int, draws: np.random.Generator) -> pa.Table:
    """The true probabilities of everything retrieved, for the share of the requests that the world asks for."""
    chosen = np.flatnonzero(draws.random(len(ids)) < world.truth_requests / max(1, requests))
    items, logits = served.candidates[chosen], served.candidate_clicks[chosen]
    there = items >= 0
    clicks, purchases = _probabilities(world, logits[there], items[there])
    lists = (_ids(items[there]), pa.array(clicks, pa.float32()), pa.array(purchases, pa.float32()))
    return _table(
        truth.candidates, ids.take(pa.array(chosen)), *(pa.ListArray.from_arrays(_offsets(there), v) for v in lists)
    )


def _events(world: World, event_ids: list[str], users: np.ndarray, items: np.ndarray) -> pa.Table:
    clicks, purchases = _probabilities(world, click_logits(world, users, items), items)
    return _table(
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


def _figures(
    world: World, served: Served, acted: actions.Acted, visits: Visits, answering: np.ndarray, start: int
) -> Figures:
    answered = np.flatnonzero((answering >= start) & (answering < start + len(served.users)))
    retrieved = served.candidates[answering[answered] - start] == visits.items[answered][:, None]
    there = served.candidates >= 0
    truths = np.where(there, served.candidate_clicks, np.nan)
    scores = np.where(there, served.pre_ranking_scores, np.nan)
    truths, scores = (x - np.nanmean(x, axis=1, keepdims=True) for x in (truths, scores))
    spread = np.sqrt(np.nansum(truths**2, axis=1) * np.nansum(scores**2, axis=1))
    exposed = np.zeros(world.items, bool)
    exposed[served.shown[served.shown >= 0]] = True
    return Figures(
        impressions=int((served.shown >= 0).sum()),
        clicks=int((acted.strengths == 1).sum()),
        purchases=int((acted.strengths == 4).sum()),
        answerable=len(answered),
        covered=int(retrieved.any(axis=1).sum()),
        correlations=float((np.nansum(truths * scores, axis=1) / np.maximum(spread, 1e-9)).sum()),
        requests=len(served.users),
        retrieved=int(there.sum()),
        exposed=exposed,
    )


@lru_cache(maxsize=2)
def _snapshots(world: World) -> Pieces:
    """Users and items, as producers land them and as they are."""
    people, catalogue = users_of(world), items_of(world)
    user_ids, item_ids = _ids(np.arange(world.users)), _ids(np.arange(world.items))
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
        "_truth/users": _table(
            truth.users,
            user_ids,
            _vectors(people.taste_Ud),
            pa.array(people.activity, pa.float64()),
            pa.array(people.planted_interest, pa.float64()),
        ),
        "_truth/items": _table(
            truth.items,
            item_ids,
            _vectors(catalogue.taste_Id),
            pa.array(catalogue.log_popularity),
            pa.array(catalogue.quality),
            pa.array(catalogue.value),
            pa.array(catalogue.planted),
        ),
    }


def _table(table: Table, *columns: pa.Array) -> pa.Table:
    return pa.Table.from_arrays(list(columns), schema=table.schema)


def _ids(indices: np.ndarray) -> pa.Array:
    """Ids of indices: they begin at 1."""
    return pa.array(indices.astype(np.int64) + 1, ID)


def _times(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(TIME)


def _offsets(there: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())


def _vectors(vectors: np.ndarray) -> pa.Array:
    offsets = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32()))


def _empty_lists(size: int, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(size + 1), pa.int32()), pa.array([], kind.value_type))
