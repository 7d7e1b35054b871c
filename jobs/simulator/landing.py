"""Land a date of the world: all seven logs and the truth beside them, chunk by chunk.

Everything homepage requests cause is made and written a chunk of requests at a time; only what is one
number a request, a visit or a user is held for the whole date.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial

import numpy as np
import pyarrow as pa

from jobs.simulator import actions, rows, truth
from jobs.simulator.channels import recent_items
from jobs.simulator.demand import Requests, Visits, homepage_requests, other_requests, visits_elsewhere
from jobs.simulator.deployed import Deployed, serve_deployed
from jobs.simulator.figures import Figures, measured
from jobs.simulator.settings import World
from jobs.simulator.shadow import shadow_ranked
from jobs.simulator.stages import Served, intercepts, serve
from jobs.simulator.streams import ELSEWHERE, REQUESTS_AT_ONCE, Purpose, stream
from schemas.storage import arrow
from schemas.table import Table, landing
from schemas.tables import logs
from schemas.vocabulary import HOMEPAGE

_AHEAD = 4  # chunks made before they are written; they bound the memory

Pieces = dict[str, pa.Table]
Funnel = Callable[[np.ndarray, date, int], Served]  # users, day, chunk


@dataclass(frozen=True)
class _Arrived:
    """A date's homepage requests, visits elsewhere, and for each visit its user's latest request before it, or -1."""

    requests: Requests
    visits: Visits
    answering: np.ndarray


def land(
    root: str,
    world: World,
    day: date,
    progress: Callable[[str], None] = lambda _: None,
    deployed: Deployed | None = None,
) -> tuple[dict, Figures]:
    """Write landing/<table>/date=<day> of all seven logs and their truth; returns rows by table and the figures.

    The same world and date give the same bytes, whatever other dates are made before it.

    Args:
        deployed: the pre-ranker that serves the date, the incumbent if None. Stages, impressions and what users do on
            the homepage follow from it; requests, retrievals and visits elsewhere do not.
    """
    settings = asdict(world) | ({"pre_ranker": deployed.name} if deployed else {})
    total = Figures.none(world.items)
    with ExitStack() as stack:
        writers = {
            _name(table): stack.enter_context(arrow.Writer(root, table, day, folder, {}, settings))
            for table, folder in (
                *((table, landing(table, day)) for table in logs.LOGS),
                *((table, truth.folder(table, day)) for table in truth.TRUTHS),
            )
        }
        for name, piece in rows.snapshots(world).items():
            writers[name].write(piece)
        for done, (pieces, figures) in enumerate(_chunks(world, day, deployed)):
            for name, piece in pieces.items():
                writers[name].write(piece)
            total = total + figures
            if done % 20 == 19:
                progress(f"{total.requests} homepage requests of {day} are written")
    return {name: writer.manifest["rows"] for name, writer in writers.items()}, total


def request_ids_of(day: date, numbers: Iterable[int]) -> list[str]:
    """The ids of the date's homepage requests, by their numbers in the order of their times."""
    return [f"{day:%Y%m%d}-{number:07d}" for number in numbers]


def _name(table: Table) -> str:
    return f"_truth/{table.name}" if table.layer == "truth" else table.name


def _chunks(world: World, day: date, deployed: Deployed | None) -> Iterator[tuple[Pieces, Figures]]:
    """Chunks of homepage requests in their order, made on every core, then what happened elsewhere."""
    requests, visits = homepage_requests(world, day), visits_elsewhere(world, day)
    arrived = _Arrived(requests, visits, _latest_request(requests, visits))
    funnel = partial(serve_deployed, world, deployed) if deployed else partial(serve, world)
    intercepts(world)
    recent_items(world, day)
    starts = range(0, len(requests.users), REQUESTS_AT_ONCE)
    with ThreadPoolExecutor(1 if deployed else min(4, os.cpu_count() or 1)) as pool:
        waiting: deque = deque()
        for start in starts:
            waiting.append(pool.submit(_homepage, world, day, arrived, funnel, start))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield elsewhere(world, day), Figures.none(world.items)


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


def _homepage(world: World, day: date, arrived: _Arrived, funnel: Funnel, start: int) -> tuple[Pieces, Figures]:
    """Everything a chunk of requests causes, as rows of the tables, and its figures."""
    requests = arrived.requests
    end = min(start + REQUESTS_AT_ONCE, len(requests.users))
    users, times, chunk = requests.users[start:end], requests.times[start:end], start // REQUESTS_AT_ONCE
    served = funnel(users, day, chunk)
    shadow = shadow_ranked(world, served, day, chunk) if world.shadow_ranked else None
    draws = stream(world, Purpose.RESPONSE, day, chunk)
    shown_times = actions.shown_times(times, served.shown.shape[1], day, draws)
    acted = actions.on_homepage(world, served, shown_times, day, draws)
    actors = users[acted.sources]
    request_ids = request_ids_of(day, range(start, end))
    event_ids = [
        f"{request_ids[row]}-{position:02d}-{action}"
        for row, position, action in zip(acted.sources, acted.positions, acted.names(), strict=True)
    ]
    ids, homepage = pa.array(request_ids, pa.string()), pa.array([HOMEPAGE] * max(len(users), len(actors)))
    logged = actions.logged_times(world, acted.times, stream(world, Purpose.DELAYS, day, chunk))
    named = ids.take(pa.array(acted.sources))
    conversions = rows.conversions(acted, event_ids, actors, homepage[: len(actors)], named, logged)
    pieces = {
        "requests": rows.table_of(logs.requests, ids, rows.ids_of(users), homepage[: len(users)], rows.times_of(times)),
        "retrievals": rows.retrievals(ids, served),
        "stages": rows.stages(ids, served, shadow),
        "impressions": rows.impressions(ids, served, shown_times),
        "conversions": rows.with_faults(world, conversions, stream(world, Purpose.FAULTS, day, chunk)),
        "_truth/conversions": rows.events(world, event_ids, actors, acted.items),
        "_truth/candidates": rows.candidates(
            world, ids, served, len(requests.users), stream(world, Purpose.TRUTH, day, chunk)
        ),
    }
    return pieces, measured(world, served, acted, arrived.visits, arrived.answering, start)


def elsewhere(world: World, day: date) -> Pieces:
    """The conversions outside the homepage, and the requests for which nothing was retrieved."""
    visits = visits_elsewhere(world, day)
    acted = actions.elsewhere(world, visits, day)
    draws = stream(world, Purpose.OTHER_REQUESTS, day, 1)
    scenario_of_visit = draws.choice(len(world.scenarios), size=len(visits.users), p=world.scenario_shares)
    users = visits.users[acted.sources]
    event_ids = [f"{day:%Y%m%d}-e{row:07d}-{action}" for row, action in zip(acted.sources, acted.names(), strict=True)]
    scenarios = pa.array(world.scenarios).take(pa.array(scenario_of_visit[acted.sources]))
    logged = actions.logged_times(world, acted.times, stream(world, Purpose.DELAYS, day, ELSEWHERE))
    unnamed = pa.nulls(len(users), pa.string())
    conversions = rows.conversions(acted, event_ids, users, scenarios, unnamed, logged)
    others = other_requests(world, day)
    other_ids = pa.array([f"{day:%Y%m%d}-s{row:07d}" for row in range(len(others.users))], pa.string())
    chosen = draws.choice(len(world.scenarios), size=len(others.users), p=world.scenario_shares)
    return {
        "requests": rows.table_of(
            logs.requests,
            other_ids,
            rows.ids_of(others.users),
            pa.array(world.scenarios).take(pa.array(chosen)),
            rows.times_of(others.times),
        ),
        "conversions": rows.with_faults(world, conversions, stream(world, Purpose.FAULTS, day, ELSEWHERE)),
        "_truth/conversions": rows.events(world, event_ids, users, acted.items),
    }
