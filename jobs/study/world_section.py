"""What a simulated world was like on the last judged date: what its users did, what each stage kept of what they like.

The test is fair only where clicks are as rare as they are, and where a stage loses much of what is truly good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from jobs.report.counts import Breakdown
from jobs.report.page.sections import Below
from jobs.simulator import truth
from models.hashing import request_keys
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import Table
from schemas.tables.features import item_stats
from schemas.tables.logs import impressions, stages
from schemas.vocabulary import FUNNEL, Action, Popularity

BEST = 10  # items a request that its user would most probably click
_REQUESTS = 1000
_ANSWERS = Breakdown(
    "Conversions that name a request, by action",
    ("action", "request_id"),
    "SELECT action, count(*) AS rows FROM rows WHERE request_id IS NOT NULL GROUP BY 1",
)
Lists = Mapping[str, np.ndarray]  # request_id -> item ids


@dataclass(frozen=True)
class Step:
    """What is left of a request: items, the share of its best still there, the share of `top` items in what is left."""

    name: str
    items: float
    best: float
    top: float


@dataclass(frozen=True)
class World:
    """Rates are None where there was nothing to count; steps are of `requests` requests whose truth was written."""

    clicks_an_impression: float | None
    purchases_a_click: float | None
    requests: int
    steps: list[Step]


def read(below: Below) -> World | None:
    """The world's figures of the date; None where the logs are no simulated world's.

    A root whose landing has its truth is one: a replay's truth is the real log.
    """
    root, day = below.root, below.day
    if not Root.of(root).exists("landing/_truth"):
        return None
    counts = {row["action"]: row["rows"] for row in below.count("logs/conversions", _ANSWERS)}
    clicks, purchases = (counts.get(str(action), 0) for action in (Action.CLICK, Action.PURCHASE))
    shown = below.rows(impressions.path) or 0
    best, candidates = _truth(root, day)
    kept = {str(stage): _lists(root, stages, day, [*best], stage) for stage in FUNNEL}
    kept["exposed"] = _lists(root, impressions, day, [*best])
    return World(
        clicks / shown if shown else None,
        purchases / clicks if clicks else None,
        len(best),
        steps(best, {"retrieved": candidates, **kept}, _top(root, day)) if best else [],
    )


def steps(best: Lists, kept: Mapping[str, Lists], top: np.ndarray) -> list[Step]:
    """One of each step that was logged, means over requests of items and of best ones, and last the best themselves.

    Args:
        best: the best items of each request. kept: step -> what it let through of each. top: ids of `top` items.
    """
    found = []
    for name, lists in {**{name: lists for name, lists in kept.items() if lists}, f"the {BEST} best": best}.items():
        there = [lists.get(request, np.empty(0, np.int64)) for request in best]
        items = np.concatenate(there)
        shares = [np.isin(wanted, each).mean() for wanted, each in zip(best.values(), there, strict=True)]
        of_top = float(np.isin(items, top).mean()) if len(items) else 0.0
        found.append(Step(name, len(items) / len(best), float(np.mean(shares)), of_top))
    return found


def best_of(item_ids: np.ndarray, probabilities: np.ndarray, most: int = BEST) -> np.ndarray:
    """The items most probably clicked, of equal ones the smaller id first."""
    return item_ids[np.lexsort((item_ids, -probabilities))[:most]]


def _truth(root: str, day: date) -> tuple[Lists, Lists]:
    """The best and all candidates of some of the requests whose truth was written, by a keyed hash of the request."""
    place = Root.of(root)
    files = [info.path for info in place.files(truth.folder(truth.candidates, day), ".parquet")]
    if not files:
        return {}, {}
    source = dataset.dataset(files, filesystem=place.filesystem)
    ids = source.to_table(columns=["request_id"])["request_id"].to_numpy()
    chosen = ids[np.argsort(request_keys(ids, 0), kind="stable")[:_REQUESTS]]
    rows = source.to_table(
        columns=["request_id", "item_ids", "click_probabilities"],
        filter=pc.field("request_id").isin(pa.array(chosen, pa.string())),
    ).sort_by("request_id")
    requests = rows["request_id"].to_pylist()
    items, probabilities = (
        [each.values.to_numpy() for each in rows[name]] for name in ("item_ids", "click_probabilities")
    )
    best = map(best_of, items, probabilities)
    return dict(zip(requests, best, strict=True)), dict(zip(requests, items, strict=True))


def _lists(root: str, table: Table, day: date, requests: Sequence[str], stage: str | None = None) -> Lists:
    """The items that these requests have in a log; of impressions each item once."""
    if day not in arrow.dates(root, table):
        return {}
    wanted = (pc.field("date") == day) & pc.field("request_id").isin(pa.array(requests, pa.string()))
    source = arrow.delta(root, table).to_pyarrow_dataset()
    if stage is not None:
        rows = source.to_table(columns=["request_id", "item_ids"], filter=wanted & (pc.field("stage") == str(stage)))
        items = (each.values.to_numpy() for each in rows["item_ids"])
        return dict(zip(rows["request_id"].to_pylist(), items, strict=True))
    rows = source.to_table(columns=["request_id", "item_id"], filter=wanted)
    once = rows.group_by("request_id").aggregate([("item_id", "distinct")])
    items = (each.values.to_numpy() for each in once["item_id_distinct"])
    return dict(zip(once["request_id"].to_pylist(), items, strict=True))


def _top(root: str, day: date) -> np.ndarray:
    stats = arrow.read(root, item_stats, day, ["item_id", "popularity"])
    return stats.filter(pc.field("popularity") == str(Popularity.TOP))["item_id"].to_numpy()
