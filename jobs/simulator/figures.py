"""What a date's simulated logs look like, to compare with what the world was asked for."""

from dataclasses import dataclass

import numpy as np

from jobs.simulator.actions import Acted
from jobs.simulator.demand import Visits
from jobs.simulator.settings import World
from jobs.simulator.stages import Served


@dataclass(frozen=True)
class Figures:
    """Counts that add up over chunks and dates.

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

    @classmethod
    def none(cls, items: int) -> "Figures":
        return cls(0, 0, 0, 0, 0, 0.0, 0, 0, np.zeros(items, bool))

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


def measured(world: World, served: Served, acted: Acted, visits: Visits, answering: np.ndarray, start: int) -> Figures:
    """The figures of one chunk of requests; `answering` is each visit's latest request, `start` the chunk's first."""
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
