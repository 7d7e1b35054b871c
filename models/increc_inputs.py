"""From rows of increc_samples to what IncRec's losses need: target rows, the pool of negatives, the masks.

Shapes: B requests, L history positions, T target rows, X exposed rows, P distinct items of the pool.
"""

import numpy as np
import tensorflow as tf

from models.catalogue import Catalogue
from models.increc_presets import IncRecSettings
from models.inputs import Batch, Ragged, size
from models.towers import user_bucket

COLUMNS = ("user_id", "history_item_ids", "history_actions", "etg_item_ids", "rtg_item_ids", "itg_item_ids")

SIGNATURE = {
    "history_rows": tf.TensorSpec((None, None), tf.int32),  # [B, L] newest first, 0 for padding
    "history_actions": tf.TensorSpec((None, None), tf.int32),  # [B, L] action codes, 0 for padding
    "user_buckets": tf.TensorSpec((None,), tf.int32),  # [B]
    "target_slots": tf.TensorSpec((None,), tf.int32),  # [T] where the target is in the pool
    "target_requests": tf.TensorSpec((None,), tf.int32),  # [T] its request's row in the batch
    "target_is_itg": tf.TensorSpec((None,), tf.bool),  # [T]
    "exposed_rows": tf.TensorSpec((None,), tf.int32),  # [X] catalogue rows
    "exposed_requests": tf.TensorSpec((None,), tf.int32),  # [X]
    "pool_rows": tf.TensorSpec((None,), tf.int32),  # [P] catalogue rows, each once
    "pool_draws": tf.TensorSpec((None,), tf.float32),  # [P] how often it was drawn
    "pool_probabilities": tf.TensorSpec((None,), tf.float32),  # [P] f_C
    "own": tf.TensorSpec((None, None), tf.bool),  # [B, P] the item is in the request's ETG, RTG or ITG
    "own_rtg": tf.TensorSpec((None, None), tf.bool),  # [B, P] the item is in the request's RTG
}


def user_inputs(rows: Batch, catalogue: Catalogue, settings: IncRecSettings) -> dict[str, np.ndarray]:
    """What a user tower takes of these requests: history_rows, history_actions [B, L], user_buckets [B]."""
    items, actions = rows["history_item_ids"], rows["history_actions"]
    width, users = settings.history_length, rows["user_id"]
    return {
        "history_rows": items.map(catalogue.lookup(items.values)).padded(width, newest_first=True),
        "history_actions": actions.padded(width, newest_first=True).astype(np.int32),
        "user_buckets": user_bucket(users, settings.user_buckets or 1),
    }


def assemble(
    rows: Batch,
    catalogue: Catalogue,
    probabilities: np.ndarray,
    settings: IncRecSettings,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One training batch, as SIGNATURE says.

    The pool holds the batch's targets and uniform draws from the known items. A target of the request itself is
    in it too and is masked by `own`, so that a row meets in-batch items of other requests only.

    Args:
        probabilities: f_C by catalogue row, [rows].
    """
    known = {name: _known(rows[f"{name}_item_ids"], catalogue) for name in ("etg", "rtg", "itg")}
    rtg, itg = (drawn(known[name], settings.targets_per_request, random) for name in ("rtg", "itg"))
    etg = drawn(known["etg"], settings.exposures_per_request, random)
    targets = np.concatenate([rtg.values, itg.values])
    uniform = random.integers(catalogue.first_row, catalogue.rows, settings.uniform_negatives)
    pool, draws = np.unique(np.concatenate([targets, uniform]), return_counts=True)
    own_rtg = _members(pool, size(rows), known["rtg"])
    return {
        **user_inputs(rows, catalogue, settings),
        "target_slots": np.searchsorted(pool, targets).astype(np.int32),
        "target_requests": np.concatenate([rtg.owners, itg.owners]).astype(np.int32),
        "target_is_itg": np.arange(len(targets)) >= len(rtg.values),
        "exposed_rows": etg.values.astype(np.int32),
        "exposed_requests": etg.owners.astype(np.int32),
        "pool_rows": pool.astype(np.int32),
        "pool_draws": draws.astype(np.float32),
        "pool_probabilities": probabilities[pool].astype(np.float32),
        "own": own_rtg | _members(pool, size(rows), known["etg"], known["itg"]),
        "own_rtg": own_rtg,
    }


def drawn(lists: Ragged, most: int, random: np.random.Generator) -> Ragged:
    """At most `most` values of each list, without replacement, each value equally likely."""
    owners = lists.owners
    order = np.lexsort((random.random(len(owners)), owners))
    place = np.arange(len(owners)) - lists.offsets[owners]
    kept = np.sort(order[place < most])
    lengths = np.minimum(lists.lengths, most)
    return Ragged(lists.values[kept], np.concatenate([[0], np.cumsum(lengths)]))


def _known(items: Ragged, catalogue: Catalogue) -> Ragged:
    return items.map(catalogue.lookup(items.values))


def _members(pool: np.ndarray, requests: int, *lists: Ragged) -> np.ndarray:
    """bool [B, P]: whether the pool's item is in one of the request's lists."""
    inside = np.zeros((requests, len(pool)), bool)
    for one in lists:
        slots = np.minimum(np.searchsorted(pool, one.values), len(pool) - 1)
        there = pool[slots] == one.values
        inside[one.owners[there], slots[there]] = True
    return inside
