"""What an order of items earned in each request: the numbers that averages and their intervals are both made from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from schemas.tables.reports import study_values

Key = tuple[str, str, int]  # metric, segment, k

# The columns of study_values: alike in all rows of one PerRequest, and its arrays.
_SAME = ("variant", "metric", "segment", "k", "by_request")
_OF_A_REQUEST = ("request", "numerator", "denominator", "support")


@dataclass(frozen=True)
class PerRequest:
    """One metric in one segment at one cut-off: parallel arrays [R], a request that it says nothing of left out.

    The metric is sum(numerators) / sum(denominators). Where `by_request` is set, the mean over requests of each one's
    own ratio is a figure too.
    """

    metric: str
    segment: str
    k: int
    requests: np.ndarray  # int64, rising: the place of the request among those that are measured
    numerators: np.ndarray  # float64
    denominators: np.ndarray  # float64, above 0 where `by_request` is set
    supports: np.ndarray  # int64: how many targets or items of the request were looked at
    by_request: bool = False

    @classmethod
    def summed(
        cls, key: Key, owners: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None, by_request=False
    ) -> "PerRequest":
        """The weighted sums by request.

        Args:
            owners: int64 [T], the request of each value. values: [T]. weights: [T], all 1 if None.
        """
        supports = np.bincount(owners)
        requests = np.flatnonzero(supports)
        weights = np.ones(len(owners)) if weights is None else weights
        sums = [np.bincount(owners, each)[requests] for each in (values * weights, weights)]
        return cls(*key, requests, *sums, supports[requests], by_request)

    @classmethod
    def joined(cls, parts: Sequence["PerRequest"]) -> "PerRequest":
        """One of parts that differ in their requests alone, which rise from part to part."""
        names = ("requests", "numerators", "denominators", "supports")
        return replace(parts[0], **{name: np.concatenate([getattr(one, name) for one in parts]) for name in names})

    def moved(self, places: int) -> "PerRequest":
        """The same of requests that stand so many places further on."""
        return replace(self, requests=self.requests + places)

    @property
    def key(self) -> Key:
        return self.metric, self.segment, self.k

    def each_alike(self) -> "PerRequest":
        """The same with every request's ratio counted once: its metric is the mean over requests."""
        ones = np.ones(len(self.requests))
        ratios = self.numerators / self.denominators
        return PerRequest(
            f"{self.metric}_per_request", self.segment, self.k, self.requests, ratios, ones, ones.astype(np.int64)
        )


def averages(found: Iterable[PerRequest]) -> Iterator[dict]:
    """metric, segment, k, value and support, as `evaluations` has them; the value is None where nothing supports it."""
    for each in found:
        for one in (each, each.each_alike()) if each.by_request else (each,):
            total = one.denominators.sum()
            value = float(one.numerators.sum() / total) if total else None
            about = dict(zip(("metric", "segment", "k"), one.key, strict=True))
            yield about | {"value": value, "support": int(one.supports.sum())}


def to_table(variant: str, found: Iterable[PerRequest]) -> pa.Table:
    """Rows of `study_values`; what nothing supports has one row of zeros, whose request is -1."""
    parts = [_rows(variant, each) for each in found]
    return pa.concat_tables(parts) if parts else study_values.schema.empty_table()


def from_table(rows: pa.Table) -> dict[str, list[PerRequest]]:
    """Variant -> what `to_table` was given, in its order."""
    columns = {name: rows[name].combine_chunks() for name in study_values.names}
    changed = np.zeros(rows.num_rows, bool)
    for name in _SAME:
        codes = columns[name].dictionary_encode().indices.to_numpy()
        changed[1:] |= codes[1:] != codes[:-1]
    starts = np.flatnonzero(changed).tolist()
    arrays = {name: columns[name].to_numpy() for name in _OF_A_REQUEST}
    found: dict[str, list[PerRequest]] = {}
    for start, stop in zip([0, *starts], [*starts, rows.num_rows], strict=True) if rows.num_rows else ():
        variant, *key, by_request = (columns[name][start].as_py() for name in _SAME)
        at = slice(start + (arrays["request"][start] < 0), stop)
        one = PerRequest(*key, *(arrays[name][at] for name in _OF_A_REQUEST), by_request)
        found.setdefault(variant, []).append(one)
    return found


def _rows(variant: str, each: PerRequest) -> pa.Table:
    arrays = (each.requests, each.numerators, each.denominators, each.supports)
    if not len(each.requests):
        arrays = (np.array([-1]), np.zeros(1), np.zeros(1), np.zeros(1, np.int64))
    size, schema = len(arrays[0]), study_values.schema
    same = dict(zip(_SAME, (variant, *each.key, each.by_request), strict=True))
    columns = {name: pa.repeat(pa.scalar(value, schema.field(name).type), size) for name, value in same.items()}
    columns |= dict(zip(_OF_A_REQUEST, map(pa.array, arrays), strict=True))
    return pa.table([columns[name] for name in schema.names], schema=schema)
