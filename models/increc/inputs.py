"""From rows of increc_samples to what IncRec's losses need: target rows, the pool of negatives, the masks.

Shapes: B requests, L history positions, T target rows, X exposed rows, N distinct items of the pool of negatives.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from models.batches import Batch, Ragged, histories, size
from models.increc.settings import IncRecSettings
from models.item_vocabulary import Catalogue
from models.towers import user_bucket

COLUMNS = ("user_id", "history_item_ids", "history_actions", "etg_item_ids", "rtg_item_ids", "itg_item_ids")

SIGNATURE = {
    "history_rows": tf.TensorSpec((None, None), tf.int32),  # [B, L] newest first, 0 for padding
    "history_actions": tf.TensorSpec((None, None), tf.int32),  # [B, L] action codes, 0 for padding
    "user_buckets": tf.TensorSpec((None,), tf.int32),  # [B]
    "target_slots": tf.TensorSpec((None,), tf.int32),  # [T] where the target is in the pool
    "target_requests": tf.TensorSpec((None,), tf.int32),  # [T] its request's row in the batch
    "target_is_itg": tf.TensorSpec((None,), tf.bool),  # [T]
    "target_chances": tf.TensorSpec((None,), tf.float32),  # [T] uniform in [0, 1), for alpha's random control
    "exposed_rows": tf.TensorSpec((None,), tf.int32),  # [X] catalogue rows; all ETG items for alpha `request`
    "exposed_requests": tf.TensorSpec((None,), tf.int32),  # [X]
    "exposed_drawn": tf.TensorSpec((None,), tf.bool),  # [X] whether L_align learns from it
    "pool_rows": tf.TensorSpec((None,), tf.int32),  # [N] catalogue rows, each once
    "pool_draws": tf.TensorSpec((None,), tf.float32),  # [N] how often it was drawn
    "pool_probabilities": tf.TensorSpec((None,), tf.float32),  # [N] f_C
    "own": tf.TensorSpec((None, None), tf.bool),  # [B, N] the item is in the request's ETG, RTG or ITG
    "own_rtg": tf.TensorSpec((None, None), tf.bool),  # [B, N] the item is in the request's RTG
    "retrieved": tf.TensorSpec((None, None), tf.bool),  # [B, N] a channel had retrieved it; none if they are not masked
}


def user_inputs(
    rows: Batch, lookup: Callable[[np.ndarray], np.ndarray], settings: IncRecSettings
) -> dict[str, np.ndarray]:
    """What a user tower takes of these requests: history_rows, history_actions [B, L], user_buckets [B].

    Args:
        lookup: item ids [V] -> catalogue rows.
    """
    buckets_B = user_bucket(rows["user_id"], settings.user_buckets or 1)
    return histories(rows, lookup, settings.history_length) | {"user_buckets": buckets_B}


def assemble(
    rows: Batch,
    catalogue: Catalogue,
    probabilities: np.ndarray,
    settings: IncRecSettings,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One training batch, as SIGNATURE says.

    The pool holds the batch's targets and uniform draws from the known items. A target of the request itself is
    in it too and is masked by `own`, so that a row meets in-batch items of other requests only. Of its RTG items
    those in the pool are the explicit negatives: the ones drawn as its targets, and others by chance [D].

    Args:
        rows: COLUMNS; and `retrieved_rows`, catalogue rows, if the settings mask what was retrieved.
        probabilities: f_C by catalogue row, [rows].
    """
    known = {name: _known(rows[f"{name}_item_ids"], catalogue) for name in ("etg", "rtg", "itg")}
    rtg, itg = (one.where(drawn(one, settings.targets_per_request, random)) for one in (known["rtg"], known["itg"]))
    etg, etg_drawn = known["etg"], drawn(known["etg"], settings.exposures_per_request, random)
    if settings.alpha != "request":
        etg, etg_drawn = etg.where(etg_drawn), etg_drawn[etg_drawn]
    targets = np.concatenate([rtg.values, itg.values])
    uniform = random.integers(catalogue.first_row, catalogue.rows, settings.uniform_negatives)
    pool, draws = np.unique(np.concatenate([targets, uniform]), return_counts=True)
    own_rtg = _members(pool, size(rows), known["rtg"])

    def lookup(item_ids: np.ndarray) -> np.ndarray:
        return catalogue.lookup_hiding(item_ids, settings.unknown_share, random)

    return {
        **user_inputs(rows, lookup, settings),
        "target_slots": np.searchsorted(pool, targets).astype(np.int32),
        "target_requests": np.concatenate([rtg.owners, itg.owners]).astype(np.int32),
        "target_is_itg": np.arange(len(targets)) >= len(rtg.values),
        "target_chances": random.random(len(targets)).astype(np.float32),
        "exposed_rows": etg.values.astype(np.int32),
        "exposed_requests": etg.owners.astype(np.int32),
        "exposed_drawn": etg_drawn,
        "pool_rows": pool.astype(np.int32),
        "pool_draws": draws.astype(np.float32),
        "pool_probabilities": probabilities[pool].astype(np.float32),
        "own": own_rtg | _members(pool, size(rows), known["etg"], known["itg"]),
        "own_rtg": own_rtg,
        "retrieved": _members(pool, size(rows), *([rows["retrieved_rows"]] if settings.mask_retrieved else [])),
    }


def drawn(lists: Ragged, most: int, random: np.random.Generator) -> np.ndarray:
    """bool [V]: at most `most` values of each list, without replacement, each value equally likely."""
    owners = lists.owners
    order = np.lexsort((random.random(len(owners)), owners))
    place = np.arange(len(owners)) - lists.offsets[owners]
    kept = np.zeros(len(owners), bool)
    kept[order[place < most]] = True
    return kept


def _known(items: Ragged, catalogue: Catalogue) -> Ragged:
    return items.map(catalogue.lookup(items.values))


def _members(pool: np.ndarray, requests: int, *lists: Ragged) -> np.ndarray:
    """bool [B, N]: whether the pool's item is in one of the request's lists."""
    inside = np.zeros((requests, len(pool)), bool)
    for one in lists:
        slots = np.minimum(np.searchsorted(pool, one.values), len(pool) - 1)
        there = pool[slots] == one.values
        inside[one.owners[there], slots[there]] = True
    return inside
