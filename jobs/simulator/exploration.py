"""Exploration slots: places of pre-ranking that go to candidates drawn evenly from what it would have dropped.

Of a request's places the world's `exploration_slots` are drawn, the others have its best candidates as ever. Each of
the candidates that have no such place has the same chance of a drawn one, its propensity: slots / candidates without a
place, and so none has 0. What was drawn is ranked, re-ranked, shown and acted on like everything else.

`stages` lists it among what passed, with the score that pre-ranking gave it. That score is below those of what passed
by its score, so in a row of pre_ranking what was drawn comes last: who knows the dial knows the propensities, 1 and
then slots / (candidates - other places). No table has them, and no training here uses them.

Users click as they would without: the intercepts' pilot does not explore, so that what exploring costs can be seen.
The draws are of a stream of their own.
"""

from datetime import date

import numpy as np

from jobs.simulator.channels import top
from jobs.simulator.settings import World
from jobs.simulator.streams import Purpose, stream


def chances_of(world: World, shape: tuple[int, ...], day: date, chunk: int) -> np.ndarray:
    """For each candidate of a chunk's requests a uniform number: of those without a place the greatest are drawn."""
    return stream(world, Purpose.EXPLORATION, day, chunk).random(shape, np.float32)


def passing(world: World, scores: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Columns (n, keep) of the candidates that pass pre-ranking, by falling score.

    Args:
        scores: (n, W), -inf where there is no candidate; these come last if others are too few.
        chances: (n, W), as `chances_of` gives them.
    """
    keep = min(world.kept_by_pre_ranking(), scores.shape[1])
    best = top(scores, keep)
    drawn = min(world.exploration_slots, keep)
    if not drawn:
        return best
    placed = best[:, : keep - drawn]
    left = np.where(scores > -np.inf, chances, -1)
    np.put_along_axis(left, placed, -2, axis=1)
    columns = np.concatenate([placed, top(left, drawn)], axis=1)
    return np.take_along_axis(columns, top(np.take_along_axis(scores, columns, axis=1), keep), axis=1)
