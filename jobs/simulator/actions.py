"""What users do: actions on what the homepage showed them, and on what they visited elsewhere.

All arrays are parallel, one entry an action.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from jobs.simulator.demand import SECOND, Visits, within_day
from jobs.simulator.population import purchase_logits
from jobs.simulator.settings import World
from jobs.simulator.stages import Served, intercepts, looked_at, probability
from jobs.simulator.streams import Purpose, stream
from schemas.vocabulary import Action

_ACTIONS = tuple(Action)


@dataclass(frozen=True)
class Acted:
    """Actions in no order: `sources` is the row they come from (a request of a chunk, or a visit of a date)."""

    sources: np.ndarray
    positions: np.ndarray
    items: np.ndarray
    strengths: np.ndarray
    times: np.ndarray

    def names(self) -> list[str]:
        return [_ACTIONS[strength - 1].value for strength in self.strengths]


def shown_times(request_times: np.ndarray, width: int, day: date, draws: np.random.Generator) -> np.ndarray:
    """When each position of each request came into view: (n, width) microseconds."""
    delays = SECOND // 5 + np.arange(width) * SECOND * 2
    flat = np.repeat(request_times, width)
    return within_day(flat, np.tile(delays, len(request_times)), day, draws).reshape(-1, width)


def on_homepage(world: World, served: Served, times: np.ndarray, day: date, draws: np.random.Generator) -> Acted:
    """Clicks by position and true probability, then what follows a click; `times` are those of `shown_times`."""
    click, purchase = intercepts(world)
    chances = looked_at(world, served.shown.shape[1]) * probability(served.shown_clicks + click)
    rows, columns = np.nonzero((draws.random(chances.shape) < chances) & (served.shown >= 0))
    items = served.shown[rows, columns]
    bought = probability(purchase_logits(world, served.shown_clicks[rows, columns], items) + purchase)
    clicked = within_day(times[rows, columns], _seconds(draws, len(rows), 8), day, draws)
    return _with_followers(world, (rows, columns + 1, items, clicked), bought, day, draws)


def elsewhere(world: World, visits: Visits, day: date) -> Acted:
    """Every visit is a click; some are followed by more."""
    draws = stream(world, Purpose.ELSEWHERE, day, 2)
    rows = np.arange(len(visits.users))
    bought = np.full(len(rows), world.purchase_elsewhere)
    return _with_followers(world, (rows, np.zeros_like(rows), visits.items, visits.times), bought, day, draws)


def _with_followers(world: World, clicks: tuple, bought: np.ndarray, day: date, draws: np.random.Generator) -> Acted:
    """The clicks, and for each with its probability a favorite, a cart and a purchase minutes after it."""
    sources, positions, items, times = clicks
    parts = [(sources, positions, items, np.full(len(sources), Action.CLICK.strength), times)]
    for action, chance in ((Action.FAVORITE, world.favorite), (Action.CART, world.cart), (Action.PURCHASE, bought)):
        chosen = np.flatnonzero(draws.random(len(sources)) < chance)
        later = _seconds(draws, len(chosen), 60 * 4 ** (action.strength - 2))
        strengths = np.full(len(chosen), action.strength)
        after = within_day(times[chosen], later, day, draws)
        parts.append((sources[chosen], positions[chosen], items[chosen], strengths, after))
    return Acted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def logged_times(world: World, times: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """When events of these times become known: most within minutes, the late share hours or days later."""
    late = draws.random(len(times)) < world.late_share
    hours = np.minimum(draws.exponential(world.late_hours, size=len(times)), 72.0)
    soon = _seconds(draws, len(times), 30)
    return times + np.where(late, (hours * 3600 * SECOND).astype(np.int64), soon)


def _seconds(draws: np.random.Generator, size: int, mean: float) -> np.ndarray:
    """Exponential delays in microseconds, at least one millisecond."""
    return 1000 + (draws.exponential(mean, size=size) * SECOND).astype(np.int64)
