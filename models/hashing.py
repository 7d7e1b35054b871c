"""Choices that are the same everywhere: hashes of a seed and keys stand in for a random generator."""

import hashlib
from collections.abc import Sequence

import numpy as np


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output for each state (Steele, Lea, Flood 2014), uint64: any bit moves half of the output's."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keyed_hash(seed: int, *keys: np.ndarray) -> np.ndarray:
    """uint64 [N] of a seed and parallel integer keys, each [N]."""
    state = np.full(len(keys[0]), seed, np.int64).view(np.uint64)
    for key in keys:
        state = mix(state ^ np.asarray(key, np.int64).view(np.uint64))
    return state


def request_keys(request_ids: Sequence[str], seed: int) -> np.ndarray:
    """uint64 [N]: a hash of the seed and each request's id."""
    digests = (hashlib.blake2b(f"{seed}:{one}".encode(), digest_size=8).digest() for one in request_ids)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
