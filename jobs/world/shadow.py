"""The simulated `shadow_ranking`: some candidates that pre-ranking dropped, scored by the ranker, exposed by nothing.

Shapes: n requests; S shadow candidates of a request, -1 where there are fewer.
"""

from datetime import date

import numpy as np

from jobs.world.channels import top
from jobs.world.population import click_logits
from jobs.world.settings import World
from jobs.world.stages import Served
from jobs.world.streams import Purpose, stream


def shadow_ranked(world: World, served: Served, day: date, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Items (n, S) and the ranker's scores of them, best first: the world's `shadow_ranked`, uniformly of the dropped.

    The draws are of a stream of their own: whatever else the world lands does not depend on them.
    """
    draws = stream(world, Purpose.SHADOW, day, chunk)
    # Of a request that keeps all of its candidates the last kept score is -inf: nothing is below it.
    dropped = served.pre_ranking_scores < served.pre_ranked_scores[:, -1:]
    chances = np.where(dropped & (served.candidates >= 0), draws.random(dropped.shape, np.float32), -1)
    chosen = top(chances, min(world.shadow_ranked, dropped.shape[1]))
    there = np.take_along_axis(chances, chosen, axis=1) >= 0
    items = np.where(there, np.take_along_axis(served.candidates, chosen, axis=1), -1)
    clicks = np.take_along_axis(served.candidate_clicks, chosen, axis=1)
    scores = np.where(there, as_ranked(world, served, clicks, draws), -np.inf)
    order = top(scores, scores.shape[1])
    return tuple(np.take_along_axis(values, order, axis=1) for values in (items, scores))


def as_ranked(world: World, served: Served, clicks: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """What the ranker would say of items (n, S) with these true click logits: the line it scores the kept ones by.

    That line is standardised over what pre-ranking kept, so that the scores compare; the noise is as large as there.
    """
    kept = served.pre_ranked >= 0
    truth = np.where(kept, click_logits(world, served.users, np.maximum(served.pre_ranked, 0)), 0)
    count = np.maximum(kept.sum(axis=1, keepdims=True), 1)
    mean = truth.sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(kept, truth - mean, 0) ** 2).sum(axis=1, keepdims=True) / count)
    standard = (clicks - mean) / np.maximum(deviation, 1e-6)
    noise = draws.standard_normal(clicks.shape, np.float32)
    return world.ranking_correlation * standard + np.sqrt(1 - world.ranking_correlation**2) * noise
