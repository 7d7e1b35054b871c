"""Vectors in two dimensions, by PCA and by t-SNE, and what of two groups' distance each of them keeps."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from jobs.study import neighbours

FEWEST = 5  # points; a plane of fewer shows nothing
_PERPLEXITY = 30.0  # scikit-learn's default


@dataclass(frozen=True)
class Apart:
    """How far two groups are apart: `neighbours.own_share` in all dimensions and in each plane.

    anew: where 95 % of it in all dimensions lies if the groups are dealt anew; alike: among items of like popularity.
    """

    chance: float
    whole: float
    pca: float
    tsne: float
    anew: tuple[float, float]
    alike: tuple[float, float]


@dataclass(frozen=True)
class Planes:
    """One variant's vectors; `kept` is the share of their variance in PCA's plane, `apart` None without two groups."""

    variant: str
    pca: np.ndarray  # float64 [N, 2]
    tsne: np.ndarray  # float64 [N, 2]
    kept: float
    apart: Apart | None


def planes(variant: str, vectors_ND: np.ndarray, groups_N: np.ndarray, strata_N: np.ndarray, seed: int = 0) -> Planes:
    """Both planes of at least FEWEST vectors.

    Args:
        groups_N: of two groups to tell apart, '' for neither. strata_N: as in `neighbours.dealt_anew`.
        seed: of t-SNE and of what is dealt anew.
    """
    vectors_ND = np.asarray(vectors_ND, np.float64)
    pca = PCA(n_components=2, svd_solver="full")
    perplexity = min(_PERPLEXITY, (len(vectors_ND) - 1) / 3)
    tsne = TSNE(n_components=2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    with threadpool_limits(1):  # threads add up t-SNE's forces in the order in which they finish
        flat, mapped = pca.fit_transform(vectors_ND), tsne.fit_transform(vectors_ND).astype(np.float64)
    told = groups_N != ""
    apart = apart_in(vectors_ND[told], flat[told], mapped[told], groups_N[told], strata_N[told], seed)
    return Planes(variant, flat, mapped, float(pca.explained_variance_ratio_.sum()), apart)


def apart_in(
    whole: np.ndarray, pca: np.ndarray, tsne: np.ndarray, groups_N: np.ndarray, strata_N: np.ndarray, seed: int
) -> Apart | None:
    """None where there are not two groups of two points."""
    sizes = np.unique(groups_N, return_counts=True)[1]
    if len(sizes) < 2 or sizes.min() < 2:
        return None
    near = neighbours.nearest(whole)
    return Apart(
        chance=neighbours.by_chance(groups_N),
        whole=neighbours.own_share(near, groups_N),
        pca=neighbours.own_share(neighbours.nearest(pca), groups_N),
        tsne=neighbours.own_share(neighbours.nearest(tsne), groups_N),
        anew=neighbours.dealt_anew(near, groups_N, np.zeros(len(groups_N)), seed=seed),
        alike=neighbours.dealt_anew(near, groups_N, strata_N, seed=seed),
    )
