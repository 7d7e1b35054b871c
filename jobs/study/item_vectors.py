"""Which items a study's picture is of, and where its IncRec models put them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

import numpy as np
import tensorflow as tf

from jobs import command
from jobs.evaluation.increc import Judge, popularity_of
from jobs.study.planes import FEWEST, Planes, planes
from models import increc, inputs
from models.checkpoint import ModelDirectory
from models.keyed_choice import keyed_hash
from models.studies import Study
from schemas import arrow
from schemas.features import item_stats
from schemas.samples import increc_samples

ITG, RTG, BOTH = "ITG", "RTG", "both"
MOST = 800  # items of each group
_SEED = 0  # of the choice of items, of t-SNE and of what is dealt anew
_MODEL_SEED = 1  # the models whose vectors are shown


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


def picture(name: str, study: Study, learned_until: date, judge: Judge) -> Picture | None:
    """The item vectors of the study's reference and of what it wants beside it; None where there are none to show.

    Every model puts unknown items into a few buckets, all at one place: only items that all of them know are shown.
    """
    wanted = dict.fromkeys((study.reference, *study.pictured))
    made = [ModelDirectory(judge.root, f"studies/{name}", learned_until, each, _MODEL_SEED) for each in wanted]
    there = [each for each in made if each.exists]
    if not there:
        return None
    items = chosen(*_targets(judge), [each.catalogue().item_ids for each in there])
    if len(items.item_ids) < FEWEST:
        return None
    stats = arrow.read(judge.root, item_stats, judge.day, ["item_id", "popularity"])
    popularity = popularity_of(stats, items.item_ids)
    return Picture(items, [_planes(each, items, popularity) for each in there])


def chosen(itg: np.ndarray, rtg: np.ndarray, known: Sequence[np.ndarray], most: int = MOST) -> Items:
    """At most so many of each group that every model knows, by a keyed hash of the item, and in its order.

    Args:
        itg, rtg: ids, each once. known: what each model knows.
    """
    groups = {ITG: np.setdiff1d(itg, rtg), RTG: np.setdiff1d(rtg, itg), BOTH: np.intersect1d(itg, rtg)}
    drawn = {}
    for group, item_ids in groups.items():
        kept = reduce(np.intersect1d, known, item_ids)
        drawn[group] = kept[np.argsort(keyed_hash(_SEED, kept), kind="stable")[:most]]
    item_ids = np.concatenate([*drawn.values()])
    order = np.argsort(keyed_hash(_SEED, item_ids), kind="stable")  # equal distances favour no group
    names = np.repeat([*drawn], [len(each) for each in drawn.values()])
    return Items(item_ids[order], names[order], {group: len(each) for group, each in groups.items()})


def _targets(judge: Judge) -> tuple[np.ndarray, np.ndarray]:
    """The ITG and the RTG items of the measured requests, each once."""
    columns, own = ("itg_item_ids", "rtg_item_ids"), judge.settings
    samples = inputs.chosen_samples(
        judge.root, increc_samples, judge.day, ("request_id", *columns), own.seed, own.requests
    )
    rows = inputs.decode(samples.select(list(columns)))
    return tuple(np.unique(rows[name].values) for name in columns)


def _planes(directory: ModelDirectory, items: Items, popularity: np.ndarray) -> Planes:
    command.log(f"drawing {len(items.item_ids)} item vectors of {directory.place}")
    vectors = increc.load(directory).item_vectors(items.item_ids)
    tf.keras.backend.clear_session()
    groups = np.where(items.groups == BOTH, "", items.groups)
    return planes(directory.variant, vectors, groups, popularity, _SEED)
