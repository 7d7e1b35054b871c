"""Paired bootstrap intervals: how much of a difference is the requests that happened to be measured.

Requests are drawn anew, whole and with replacement, as many as there were; every variant is averaged over the same
draw, so that what makes a request easy or hard for all cancels. The percentile interval of Efron and Tibshirani (1993,
"An Introduction to the Bootstrap", section 13.3), paired over test items after Koehn (2004, "Statistical significance
tests for machine translation evaluation") and, for retrieval, Sakai (2006, "Evaluating evaluation metrics based on the
bootstrap"). The seeds are averaged and not drawn: their spread is another uncertainty, shown beside this one. A user's
requests count as independent of one another, so that where few users make many, intervals are too narrow [D].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

_COUNTS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Sums:
    """One variant: what it earned in each of N requests, a column for each of its S seeds.

    Its value is the mean over seeds of sum(numerators) / sum(denominators), not a number if a sum below is 0.
    """

    numerators: np.ndarray  # float64 [N, S]
    denominators: np.ndarray  # float64 [N, S]

    def values(self, counts_DN: np.ndarray) -> np.ndarray:
        """The value of each draw, float64 [D], from how often it has each request."""
        sums = [counts_DN @ each for each in (self.numerators, self.denominators)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.mean(sums[0] / sums[1], axis=1)


@dataclass(frozen=True)
class Interval:
    """A difference and its percentile interval; all three are not a number where there is nothing to divide by."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def differences(
    variants: Mapping[str, Sums], reference: str, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Each variant's value less the reference's, over the same requests.

    Args:
        variants: by name, all of the same N requests in the same order; the reference is one of them.
        draws: how many samples of N requests. level: the share of them inside the interval.
    """
    requests = len(variants[reference].numerators)
    whole = {name: float(sums.values(np.ones((1, requests)))[0]) for name, sums in variants.items()}
    drawn = {name: [] for name in variants}
    for counts_DN in resampled(requests, draws, seed):
        for name, sums in variants.items():
            drawn[name].append(sums.values(counts_DN))
    ends, found = [(1 - level) / 2, (1 + level) / 2], {}
    base = np.concatenate(drawn[reference])
    for name, parts in drawn.items():
        apart = np.concatenate(parts) - base
        known = apart[~np.isnan(apart)]  # a draw may hold none of a rare segment's requests
        low, high = np.quantile(known, ends) if len(known) else (np.nan, np.nan)
        found[name] = Interval(whole[name] - whole[reference], float(low), float(high))
    return found


def resampled(requests: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of N requests is in each draw of N: multinomial counts, float64 [D, N], some draws at a time."""
    random, at_once = np.random.default_rng(seed), max(1, _COUNTS_AT_ONCE // max(requests, 1))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        places = random.integers(0, max(requests, 1), (size, requests)) + requests * np.arange(size)[:, None]
        yield np.bincount(places.ravel(), minlength=size * requests).reshape(size, requests).astype(np.float64)
