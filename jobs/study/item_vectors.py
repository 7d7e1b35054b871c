"""Where a study's IncRec models put the items that no channel had found, and those that one had."""

from datetime import date

import numpy as np
import tensorflow as tf

from jobs.command import cli
from jobs.evaluation.increc import Judge, popularity_of
from jobs.study.definitions import Study
from jobs.study.pictures import BOTH, SEED, Items, Picture, chosen
from jobs.study.planes import FEWEST, Planes, planes
from models import batches
from models.checkpoint import ModelDirectory
from models.increc import model
from schemas.storage import arrow
from schemas.tables.features import item_stats
from schemas.tables.samples import increc_samples

_MODEL_SEED = 1  # of the models whose vectors are shown


def picture(name: str, study: Study, learned_until: date, judge: Judge) -> Picture | None:
    """The item vectors of the study's reference and of what it wants beside it; None where there are none to show.

    Every model puts unknown items into a few buckets, all at one place: only items that all of them know are shown.
    """
    if study.model != "increc":
        return None
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


def _targets(judge: Judge) -> tuple[np.ndarray, np.ndarray]:
    """The ITG and the RTG items of the measured requests, each once."""
    columns, own = ("itg_item_ids", "rtg_item_ids"), judge.settings
    samples = batches.chosen_samples(
        judge.root, increc_samples, judge.day, ("request_id", *columns), own.seed, own.requests
    )
    rows = batches.decode(samples.select(list(columns)))
    return tuple(np.unique(rows[name].values) for name in columns)


def _planes(directory: ModelDirectory, items: Items, popularity: np.ndarray) -> Planes:
    cli.log(f"drawing {len(items.item_ids)} item vectors of {directory.place}")
    vectors = model.load(directory).item_vectors(items.item_ids)
    tf.keras.backend.clear_session()
    groups = np.where(items.groups == BOTH, "", items.groups)
    return planes(directory.variant, vectors, groups, popularity, SEED)
