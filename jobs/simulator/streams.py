"""Randomness by key: what is drawn for one purpose, date and chunk depends on nothing that was drawn before."""

from datetime import date
from enum import IntEnum

import numpy as np

from jobs.simulator.settings import World


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of the bytes of every world: never renumber."""

    CATEGORIES = 1
    ITEMS = 2
    USERS = 3
    CHANNELS = 4
    REQUESTS = 5
    OTHER_REQUESTS = 6
    ELSEWHERE = 7
    RETRIEVAL = 8
    STAGES = 9
    RESPONSE = 10
    DELAYS = 11
    TRUTH = 12
    FAULTS = 13
    HOT = 14
    SHADOW = 15
    EXPLORATION = 16


ELSEWHERE = 2**31 - 1  # the chunk of everything that no homepage request causes; pilots count on from here
PILOT = 2**31
REQUESTS_AT_ONCE = 512  # a chunk has its own streams, so this is part of the bytes of every world


def stream(world: World, purpose: Purpose, day: date | None = None, chunk: int = 0) -> np.random.Generator:
    """The stream of one purpose, date and chunk of a world."""
    key = [world.seed, int(purpose), day.toordinal() if day else 0, chunk]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
