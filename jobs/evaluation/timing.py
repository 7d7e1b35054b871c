"""Timing on one core: what a model costs where a request gets no more than that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_THREADS = "/proc/self/task"


@contextmanager
def one_core() -> Iterator[bool]:
    """Keep every thread of this process on one core; whether the system could is what the block is told.

    TensorFlow's and NumPy's threads are there already, and each has a mask of its own: all of them are moved, and
    moved back afterwards. Only Linux can.
    """
    if not hasattr(os, "sched_setaffinity") or not os.path.isdir(_THREADS):
        yield False
        return
    allowed, before = os.sched_getaffinity(0), _masks()
    _move({thread: {min(allowed)} for thread in before})
    try:
        yield True
    finally:
        _move({thread: before.get(thread, allowed) for thread in _masks()})


def _masks() -> dict[int, set[int]]:
    found = {}
    for thread in map(int, os.listdir(_THREADS)):
        with suppress(ProcessLookupError):  # it ended meanwhile
            found[thread] = os.sched_getaffinity(thread)
    return found


def _move(masks: dict[int, set[int]]) -> None:
    for thread, mask in masks.items():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, mask)
