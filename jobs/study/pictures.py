"""The items that a study's picture of item vectors shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from jobs.study.planes import Planes
from models.hashing import keyed_hash

ITG, RTG, BOTH = "ITG", "RTG", "both"
MOST = 600  # items of each group: t-SNE of all three takes a quarter of a minute
SEED = 0  # of the choice of items, of t-SNE and of what is dealt anew


@dataclass(frozen=True)
class Items:
    """Items acted on after the measured requests, no channel having retrieved them, or one, or in turn both.

    there: group -> how many items it has, before any was left out.
    """

    item_ids: np.ndarray  # int64 [N]
    groups: np.ndarray  # [N], one of ITG, RTG, BOTH
    there: dict[str, int]


@dataclass(frozen=True)
class Picture:
    """The items, and the planes of the reference and of the variants shown beside it."""

    items: Items
    planes: list[Planes]


def chosen(itg: np.ndarray, rtg: np.ndarray, known: Sequence[np.ndarray], most: int = MOST) -> Items:
    """At most so many of each group that every model knows, by a keyed hash of the item, and in its order.

    Args:
        itg, rtg: ids, each once. known: what each model knows.
    """
    groups = {ITG: np.setdiff1d(itg, rtg), RTG: np.setdiff1d(rtg, itg), BOTH: np.intersect1d(itg, rtg)}
    drawn = {}
    for group, item_ids in groups.items():
        kept = reduce(np.intersect1d, known, item_ids)
        drawn[group] = kept[np.argsort(keyed_hash(SEED, kept), kind="stable")[:most]]
    item_ids = np.concatenate([*drawn.values()])
    order = np.argsort(keyed_hash(SEED, item_ids), kind="stable")  # equal distances favour no group
    names = np.repeat([*drawn], [len(each) for each in drawn.values()])
    return Items(item_ids[order], names[order], {group: len(each) for group, each in groups.items()})
