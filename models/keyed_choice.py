"""Choices that are the same everywhere: hashes of a seed and keys stand in for a random generator."""

import hashlib
from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from schemas import arrow
from schemas.storage import Root
from schemas.table import Table


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


def chosen_samples(root: str, table: Table, day: date, columns: Sequence[str], seed: int, most: int) -> pa.Table:
    """Columns of a date's samples by rising request_id; of more than `most`, those whose keys are smallest.

    Raises:
        MissingDataError: the date has no samples.
        ContractError: a column of the contract is missing or has another type.
    """
    files = dataset.dataset(arrow.files(root, table, day), filesystem=Root.of(root).filesystem)
    arrow.check(table, files.schema)
    ids = files.to_table(columns=["request_id"])["request_id"].to_numpy()
    smallest = np.argsort(request_keys(ids, seed), kind="stable")[:most]
    chosen = pc.field("request_id").isin(pa.array(ids[smallest], pa.string()))
    return files.to_table(columns=list(columns), filter=chosen).sort_by("request_id")
