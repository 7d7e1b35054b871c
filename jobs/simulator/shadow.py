"""The simulated `shadow_ranking`: some candidates that pre-ranking dropped, scored by the ranker, exposed by nothing.

Shapes: n requests; S shadow candidates of a request, -1 where there are fewer.
"""

from datetime import date

import numpy as np

from jobs.simulator.channels import top
from jobs.simulator.settings import World
from jobs.simulator.stages import Served, ranker_scores
from jobs.simulator.streams import Purpose, stream


def shadow_ranked(world: World, served: Served, day: date, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Items (n, S) and the ranker's scores of them, best first: the world's `shadow_ranked`, uniformly of the dropped.

    The draws are of a stream of their own: whatever else the world lands does not depend on them.
    """
    draws = stream(world, Purpose.SHADOW, day, chunk)
    dropped = np.ones((len(served.candidates), served.candidates.shape[1] + 1), bool)
    np.put_along_axis(dropped, served.kept, False, axis=1)  # -1 is the last column, which is no candidate
    dropped = dropped[:, :-1]
    chances = np.where(dropped & (served.candidates >= 0), draws.random(dropped.shape, np.float32), -1)
    chosen = top(chances, min(world.shadow_ranked, dropped.shape[1]))
    there = np.take_along_axis(chances, chosen, axis=1) >= 0
    items = np.where(there, np.take_along_axis(served.candidates, chosen, axis=1), -1)
    clicks = np.take_along_axis(served.candidate_clicks, chosen, axis=1)
    noise = draws.standard_normal(clicks.shape, np.float32)
    scores = np.where(there, ranker_scores(world, served, clicks, noise), -np.inf)
    order = top(scores, scores.shape[1])
    return tuple(np.take_along_axis(values, order, axis=1) for values in (items, scores))
