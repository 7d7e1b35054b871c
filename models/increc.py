"""IncRec: a retrieval channel that learns what the other channels miss (after arXiv 2512.06381).

Three user towers over one item tower; each loss term is a softmax over sampled items. Which terms there are and
which tower serves is the preset's. Shapes: B requests, L history, T target rows, X exposed rows, P pool, C items.
"""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import checkpoint
from models.catalogue import Catalogue, bucket_tensor
from models.checkpoint import ModelDirectory
from models.increc_inputs import SIGNATURE, user_inputs
from models.increc_presets import IncRecSettings
from models.inputs import Batch, size, take
from models.retrieval_losses import (
    alignment_weights,
    log_expected_count,
    nearest_exposed,
    sampled_softmax,
    weighted_mean,
)
from models.towers import ItemTower, UserTower

_ROWS_AT_ONCE = 4096
# Gradients of a mean over rows are small: Adagrad's usual start of .1 would outweigh them, and hardly a vector moves.
_INITIAL_ACCUMULATOR = 1e-6


class IncRec(tfrs.Model):
    """The towers, the loss and the vectors.

    Args:
        settings: a preset's.
        catalogue: the items it knows; decides the size of the item tower.
        seed: of the initial weights.
    """

    has_vectors = True

    def __init__(self, settings: IncRecSettings, catalogue: Catalogue, seed: int):
        super().__init__()
        self.settings, self.catalogue = settings, catalogue
        self.item_tower = ItemTower(catalogue, settings.dimensions, seed)
        weights = {"basic": settings.weight_basic, "inc": settings.weight_inc, "align": settings.weight_align}
        self.user_towers = {
            name: UserTower(
                settings.dimensions,
                settings.history_length,
                seed=seed + 10 * (n + 1),
                pooling=settings.pooling,
                user_buckets=settings.user_buckets,
                name=f"{name}_tower",
            )
            for n, (name, weight) in enumerate(weights.items())
            if weight
        }
        self.terms = {
            name: tf.keras.metrics.Mean(name=name)
            for name in ("loss_basic", "loss_inc", "loss_align", "alpha_deviation", "rtg_share_of_loss_inc")
        }
        # Adagrad touches only the gathered rows of a table; Adam would move every row at every step.
        self.compile(
            optimizer=tf.keras.optimizers.Adagrad(
                settings.learning_rate, initial_accumulator_value=_INITIAL_ACCUMULATOR, jit_compile=False
            )
        )
        self._build()

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """L = w_basic L_basic + w_inc L_inc + w_align L_align, a scalar, of a batch of SIGNATURE."""
        own = self.settings
        u_BD = self._user_vectors(batch)
        v_PD = self.item_tower(batch["pool_rows"])
        loss = 0.0
        if own.weight_basic:
            loss += own.weight_basic * self._term("loss_basic", self._basic(batch, u_BD["basic"], v_PD))
        if own.weight_inc:
            loss += own.weight_inc * self._term("loss_inc", self._incremental(batch, u_BD, v_PD))
        if own.weight_align:
            loss += own.weight_align * self._term("loss_align", self._alignment(batch, u_BD["align"], v_PD))
        return loss

    def _basic(self, batch, u_BD, v_PD):
        """L_basic: RTG and ITG rows against N."""
        weights_T = tf.where(batch["target_is_itg"], self.settings.itg_weight, 1.0)
        positive_T, logits_TP = self._logits(batch, u_BD, v_PD, batch["target_requests"], batch["target_slots"])
        excluded_TP = tf.gather(batch["own"], batch["target_requests"])
        return weighted_mean(sampled_softmax(positive_T, logits_TP, self._log_count(batch), excluded_TP), weights_T)

    def _incremental(self, batch, u_BD, v_PD):
        """L_inc: ITG rows against N and the request's RTG items, weighted by alpha."""
        requests_T = batch["target_requests"][batch["target_is_itg"]]
        slots_T = batch["target_slots"][batch["target_is_itg"]]
        positive_T, logits_TP = self._logits(batch, u_BD["inc"], v_PD, requests_T, slots_T)
        own_TP, log_count_P = tf.gather(batch["own"], requests_T), self._log_count(batch)
        losses_T = without_T = sampled_softmax(positive_T, logits_TP, log_count_P, own_TP)
        if self.settings.rtg_negatives:
            rtg_TP = tf.gather(batch["own_rtg"], requests_T)
            log_count_TP = tf.where(rtg_TP, 0.0, log_count_P)  # there on purpose: each counts once
            losses_T = sampled_softmax(positive_T, logits_TP, log_count_TP, own_TP & ~rtg_TP)
        share = tf.math.divide_no_nan(tf.reduce_sum(losses_T - without_T), tf.reduce_sum(losses_T))
        self._term("rtg_share_of_loss_inc", share)
        if self.settings.alpha == "none":
            return weighted_mean(losses_T)
        alpha_T = self._alpha(batch, u_BD["align"], tf.gather(v_PD, slots_T), requests_T)
        self._term("alpha_deviation", tf.sqrt(weighted_mean(tf.square(alpha_T - 1.0))))
        return weighted_mean(alpha_T * losses_T)

    def _alignment(self, batch, u_BD, v_PD):
        """L_align: ETG rows against N."""
        requests_X = batch["exposed_requests"]
        u_XD = tf.gather(u_BD, requests_X)
        positive_X = tf.reduce_sum(u_XD * self.item_tower(batch["exposed_rows"]), axis=1) / self.settings.temperature
        logits_XP = tf.matmul(u_XD, v_PD, transpose_b=True) / self.settings.temperature
        excluded_XP = tf.gather(batch["own"], requests_X)
        return weighted_mean(sampled_softmax(positive_X, logits_XP, self._log_count(batch), excluded_XP))

    def _alpha(self, batch, u_BD, items_TD, requests_T):
        """alpha_T of the ITG rows, from s(u_align, v_e*)."""
        exposed_XD = self.item_tower(batch["exposed_rows"])
        same_TX = requests_T[:, None] == batch["exposed_requests"]
        allowed_TX = same_TX if self.settings.alpha == "request" else tf.ones_like(same_TX)
        has_T = tf.reduce_any(allowed_TX, axis=1)
        padded_XD = tf.pad(exposed_XD, [[0, 1], [0, 0]])  # so that row 0 exists
        nearest_TD = tf.gather(padded_XD, nearest_exposed(items_TD, padded_XD, tf.pad(allowed_TX, [[0, 0], [0, 1]])))
        return alignment_weights(tf.reduce_sum(tf.gather(u_BD, requests_T) * nearest_TD, axis=1), has_T)

    def _logits(self, batch, u_BD, v_PD, requests_T, slots_T):
        """Logits of the target rows' positives [T] and of the pool [T, P]."""
        logits_TP = tf.matmul(tf.gather(u_BD, requests_T), v_PD, transpose_b=True) / self.settings.temperature
        return tf.gather(logits_TP, slots_T, batch_dims=1), logits_TP

    def _log_count(self, batch):
        """log of the expected count per draw, [P]: an item drawn twice stands in the pool twice."""
        draws_P = batch["pool_draws"]
        expected_P = log_expected_count(
            batch["pool_probabilities"],
            tf.size(batch["target_slots"]),
            self.settings.uniform_negatives,
            len(self.catalogue.item_ids),
        )
        return expected_P - tf.math.log(draws_P)

    def _term(self, name: str, value: tf.Tensor) -> tf.Tensor:
        self.terms[name].update_state(value)
        return value

    def _user_vectors(self, batch) -> dict[str, tf.Tensor]:
        """Every tower's user vectors, [B, D]; the history's item vectors are gathered once.

        Each tower gets a copy of them: one reduction then sums their gradients in one order, where three uses of one
        tensor would be added in the order in which threads finish.
        """
        towers, history_BLD = self.user_towers, self.item_tower.embed(batch["history_rows"])
        copies_TBLD = tf.broadcast_to(history_BLD, tf.concat([[len(towers)], tf.shape(history_BLD)], 0))
        copies = tf.unstack(copies_TBLD, num=len(towers))
        return {
            name: tower(history_BLD, batch["history_actions"], batch["user_buckets"])
            for (name, tower), history_BLD in zip(towers.items(), copies, strict=True)
        }

    def _build(self) -> None:
        """Create every variable, the optimizer's too, so that a checkpoint can be restored at once."""
        rows_BL = tf.zeros((1, self.settings.history_length), tf.int32)
        self._user_vectors({"history_rows": rows_BL, "history_actions": rows_BL, "user_buckets": tf.zeros(1, tf.int32)})
        self.optimizer.build(self.trainable_variables)
        self.step = tf.function(self.train_step, input_signature=[SIGNATURE])

    # --- vectors, for evaluation and serving

    @property
    def item_vocabulary(self) -> np.ndarray:
        """The ids of the items that the model knows, int64 [C]."""
        return self.catalogue.item_ids

    def user_vectors(self, rows: Batch) -> np.ndarray:
        """Serving tower's unit vectors of requests, float32 [B, D].

        Args:
            rows: user_id, history_item_ids, history_actions, as `inputs.decode` or `inputs.batches` gives them.
        """
        parts = []
        for start in range(0, size(rows), _ROWS_AT_ONCE):
            part = take(rows, np.arange(start, min(start + _ROWS_AT_ONCE, size(rows))))
            fed = user_inputs(part, self.catalogue, self.settings)
            parts.append(self._serve_user(fed["history_rows"], fed["history_actions"], fed["user_buckets"]).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.settings.dimensions), np.float32)

    def item_vectors(self, item_ids: np.ndarray) -> np.ndarray:
        """Unit vectors of these items, float32 [C, D]; unknown ids get their bucket's."""
        return self.item_tower(tf.constant(self.catalogue.lookup(item_ids))).numpy()

    def user_vectors_of(self, history_item_ids_BL, history_actions_BL, user_ids_B) -> tf.Tensor:
        """`user_vectors` in plain TensorFlow operations, for export: int64 [B, L], int32 [B, L], int64 [B] -> [B, D].

        Histories are newest first and at most `history_length` long; actions are `Action.strength`, 0 for padding.
        """
        rows_BL = self.catalogue.lookup_tensor(history_item_ids_BL)
        buckets_B = tf.cast(bucket_tensor(user_ids_B, self.settings.user_buckets or 1), tf.int32)
        return self._serve_user(rows_BL, history_actions_BL, buckets_B)

    def item_vectors_of(self, item_ids_C) -> tf.Tensor:
        """`item_vectors` in plain TensorFlow operations, for export: int64 [C] -> [C, D]."""
        return self.item_tower(self.catalogue.lookup_tensor(item_ids_C))

    def _serve_user(self, rows_BL, actions_BL, buckets_B) -> tf.Tensor:
        tower = self.user_towers[self.settings.serving]
        return tower(self.item_tower.embed(rows_BL), actions_BL, buckets_B)


def load(directory: ModelDirectory, catalogue: Catalogue | None = None) -> IncRec:
    """The model of a directory, with its optimizer, so that training can go on.

    Args:
        catalogue: the saved one grown by new items, whose rows start afresh; the saved one if None.

    Raises:
        MissingDataError: there is no such model, or its checkpoint does not fit its settings.
    """
    manifest = directory.manifest()
    model = IncRec(IncRecSettings(**manifest["settings"]), catalogue or directory.catalogue(), seed=manifest["seed"])
    checkpoint.restore(checkpoint.variables_of(model), directory.arrays("weights"))
    checkpoint.restore(model.optimizer.variables, directory.arrays("optimizer"))
    return model
