"""From a batch of hccp_samples to the arrays that the pre-ranker learns from.

Shapes: B requests, L history, C candidates of a request (padded), E easy negatives, F counts of an item.
"""

import numpy as np
import pyarrow as pa
import tensorflow as tf

from models.batches import PADDING, Batch, Ragged, histories
from models.hccp.settings import HccpSettings
from models.item_vocabulary import Catalogue, by_row
from schemas.vocabulary import Level

COLUMNS = (
    "request_time", "history_item_ids", "history_actions", "item_ids", "levels", "teacher_ranks", "actions",
    "in_scenario_actions", "sampling_weights",
)  # fmt: skip
COUNTS = ("impressions", "clicks", "purchases", "conversions")
_SCALE = 8  # of the logarithms of counts
LEVEL_CODES = {level: code for code, level in enumerate(Level, start=1)}  # as inputs.decode gives them
_MICROSECONDS_A_DAY = 86_400_000_000

SIGNATURE = {
    "history_rows": tf.TensorSpec((None, None), tf.int32),
    "history_actions": tf.TensorSpec((None, None), tf.int32),
    "rows": tf.TensorSpec((None, None), tf.int32),  # [B, C + E]: candidates, then easy negatives
    "counts": tf.TensorSpec((None, None, len(COUNTS)), tf.float32),
    "levels": tf.TensorSpec((None, None), tf.int32),  # [B, C], 0 for padding
    "ranks": tf.TensorSpec((None, None), tf.int32),
    "actions": tf.TensorSpec((None, None), tf.int32),  # in the scenario, 0 for none
    "all_scenario_actions": tf.TensorSpec((None, None), tf.int32),
    "sampling_weights": tf.TensorSpec((None, None), tf.float32),  # 1 / inclusion probability, 0 for padding
    "easy": tf.TensorSpec((None, None), tf.bool),  # [B, E], False where the item is one of the request's own
}


def counts_by_row(catalogue: Catalogue, stats: pa.Table) -> np.ndarray:
    """log(1 + count) / 8 of COUNTS by catalogue row, float32 [rows, F]; 0 for an item without any."""
    ids = stats["item_id"].to_numpy()
    columns = [by_row(catalogue, ids, stats[name].to_numpy(), 0.0) for name in COUNTS]
    return np.log1p(np.stack(columns, axis=1)).astype(np.float32) / _SCALE


def log_popularity(counts):
    """log(1 + conversions) of items [...] from their counts [..., F] as `counts_by_row` has them."""
    return _SCALE * counts[..., COUNTS.index("conversions")]


def assemble(
    batch: Batch,
    catalogue: Catalogue,
    counts: dict[int, np.ndarray],
    settings: HccpSettings,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """A batch as SIGNATURE has it.

    Args:
        batch: COLUMNS of hccp_samples.
        counts: `counts_by_row` of each date, by the days since 1970: a request sees those of its own date; easy
            negatives are drawn by those of the batch's newest.
    """
    items, levels = batch["item_ids"], batch["levels"]
    rows = items.map(catalogue.lookup_hiding(items.values, settings.unknown_share, random))
    width = max(int(items.lengths.max(initial=0)), 1)
    learned = np.isin(levels.values, [LEVEL_CODES[level] for level in settings.levels])
    day_B = batch["request_time"] // _MICROSECONDS_A_DAY
    newest = counts[int(day_B.max())]
    easy_BE = _easy(rows.values[learned], len(rows), catalogue, newest, settings, random)
    own_BC = _padded(rows, width)
    mine_BX = np.concatenate([own_BC, _padded(items.map(catalogue.lookup(items.values)), width)], axis=1)
    rows_BN = np.concatenate([own_BC, easy_BE], axis=1)
    counts_BNF = np.zeros((*rows_BN.shape, len(COUNTS)), np.float32)
    for day in np.unique(day_B):
        counts_BNF[day_B == day] = counts[int(day)][rows_BN[day_B == day]]
    return histories(batch, catalogue.lookup, settings.history_length) | {
        "rows": rows_BN,
        "counts": counts_BNF,
        "levels": _padded(levels.map(np.where(learned, levels.values, 0)), width),
        "ranks": _padded(batch["teacher_ranks"], width),
        "actions": _padded(batch["in_scenario_actions"], width),
        "all_scenario_actions": _padded(batch["actions"], width),
        "sampling_weights": batch["sampling_weights"].padded(width).astype(np.float32),
        "easy": ~(easy_BE[:, :, None] == mine_BX[:, None, :]).any(axis=2) & (easy_BE != PADDING),
    }


def _easy(
    listed: np.ndarray,
    requests: int,
    catalogue: Catalogue,
    counts: np.ndarray,
    settings: HccpSettings,
    random: np.random.Generator,
) -> np.ndarray:
    """Rows of easy negatives, [B, E]: items of the batch's lists, then ones of the whole catalogue.

    A draw from the request's own list is left to the mask: it is no negative.

    Args:
        listed: rows of all the batch's items of levels that are learned from.
        counts: `counts_by_row` of the batch's newest date.
    """
    listed = listed if len(listed) else np.array([PADDING])
    in_batch = listed[random.integers(0, len(listed), (requests, settings.in_batch_easy))]
    drawn = random.random((requests, settings.catalogue_easy))
    if settings.easy_popularity:
        logs = log_popularity(counts[catalogue.first_row :]).astype(np.float64)
        upto = np.cumsum(np.exp(settings.easy_popularity * logs))
        everywhere = catalogue.first_row + np.searchsorted(upto / upto[-1], drawn, side="right")
    else:  # a batch need not weigh the whole catalogue
        everywhere = catalogue.first_row + np.floor(drawn * (catalogue.rows - catalogue.first_row))
    return np.concatenate([in_batch, everywhere], axis=1).astype(np.int32)


def _padded(lists: Ragged, width: int) -> np.ndarray:
    return lists.padded(width).astype(np.int32)
