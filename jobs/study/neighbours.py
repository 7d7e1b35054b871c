"""How far groups of points are apart: how often a point's neighbours are of its own group, against chance."""

import numpy as np

NEAREST = 10
_DRAWS, _LEVEL = 200, 0.95


def nearest(points_ND: np.ndarray, most: int = NEAREST) -> np.ndarray:
    """Each point's nearest others, int64 [N, K] with K = min(most, N - 1): Euclidean, equal ones in their order."""
    points_ND = np.asarray(points_ND, np.float64)
    squares_N = (points_ND**2).sum(axis=1)
    distances_NN = squares_N[:, None] + squares_N - 2 * points_ND @ points_ND.T
    np.fill_diagonal(distances_NN, np.inf)
    return np.argsort(distances_NN, axis=1, kind="stable")[:, : min(most, len(points_ND) - 1)]


def own_share(nearest_NK: np.ndarray, groups_N: np.ndarray) -> float:
    """The share of a point's neighbours that are of its group: the mean over each group's points, then over groups.

    So a large group counts no more than a small one. 1 where the groups lie apart, `by_chance` where nothing does.
    """
    own_N = (groups_N[nearest_NK] == groups_N[:, None]).mean(axis=1)
    return float(np.mean([own_N[groups_N == group].mean() for group in np.unique(groups_N)]))


def by_chance(groups_N: np.ndarray) -> float:
    """What `own_share` is on average where groups are dealt at random: (N - G) / (G (N - 1)), whatever their sizes.

    Of the N - 1 others of a point n_g - 1 are of its group; the mean of (n_g - 1) / (N - 1) over the G groups.
    """
    points, groups = len(groups_N), len(np.unique(groups_N))
    return (points - groups) / (groups * (points - 1))


def dealt_anew(
    nearest_NK: np.ndarray, groups_N: np.ndarray, strata_N: np.ndarray, draws: int = _DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Between which two values 95 % of the `own_share`s are if groups are dealt anew among points of equal stratum."""
    strata_N = np.unique(strata_N, return_inverse=True)[1]
    random, places = np.random.default_rng(seed), np.argsort(strata_N, kind="stable")
    shares, dealt = [], np.empty_like(groups_N)
    for _ in range(draws):
        dealt[places] = groups_N[np.lexsort((random.random(len(groups_N)), strata_N))]
        shares.append(own_share(nearest_NK, dealt))
    low, high = np.quantile(shares, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
