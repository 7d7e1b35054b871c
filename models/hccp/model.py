"""HCCP: a way to train a pre-ranker on items from the whole funnel (after arXiv 2502.10284).

The network is a parameter, one of `hccp_bases`, and so is what it learns with, one of `hccp_objectives`.
Shapes: B requests, L history, C items, D numbers in a vector.
"""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import checkpoint
from models.batches import Batch, Ragged, histories, parts, size, take
from models.checkpoint import ModelDirectory
from models.hccp.inputs import COUNTS, SIGNATURE
from models.hccp.networks import BASES
from models.hccp.objective import OBJECTIVES
from models.hccp.settings import HccpSettings
from models.item_vocabulary import Catalogue
from models.towers import weight_seed

_ROWS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 262_144
_LISTS_AT_ONCE = 32  # a network that crosses user and item holds hundreds of numbers a pair


class Hccp(tfrs.Model):
    """The base network, the objective that it learns with, and the vectors.

    Args:
        settings: a preset's.
        catalogue: the items it knows.
        seed: of the initial weights.
    """

    def __init__(self, settings: HccpSettings, catalogue: Catalogue, seed: int):
        super().__init__()
        if settings.base not in BASES:
            raise ValueError(f"base is {settings.base!r}, should be one of {', '.join(BASES)}")
        if settings.objective not in OBJECTIVES:
            raise ValueError(f"objective is {settings.objective!r}, should be one of {', '.join(OBJECTIVES)}")
        self.settings, self.catalogue = settings, catalogue
        self.objective = OBJECTIVES[settings.objective]
        self.base = BASES[settings.base](settings, catalogue, weight_seed(seed))
        # Of the last date learned from: what serving and evaluation know of an item's popularity.
        self.counts = self.add_weight("counts", (catalogue.rows, len(COUNTS)), initializer="zeros", trainable=False)
        self.compile(optimizer=tf.keras.optimizers.Adam(settings.learning_rate, jit_compile=False))
        self._build()

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The weighted sum of the objective's terms, a scalar, of a batch of SIGNATURE."""
        terms = self.objective(self.settings, batch, self.base(batch, batch))
        return tf.add_n([term.weight * self._mean(name, term.losses_B) for name, term in terms.items()])

    def _mean(self, name: str, losses_B: tf.Tensor) -> tf.Tensor:
        """The mean over the batch's requests."""
        loss = tf.reduce_mean(losses_B)
        self.terms[name].update_state(loss)
        return loss

    def _build(self) -> None:
        """Create every variable, the optimizer's too, so that a checkpoint can be restored at once."""
        one = {name: tf.zeros([length or 1 for length in spec.shape], spec.dtype) for name, spec in SIGNATURE.items()}
        one |= {name: tf.repeat(one[name], 2, axis=1) for name in ("rows", "counts")}  # a candidate, an easy negative
        terms = self.objective(self.settings, one, self.base(one, one))
        self.terms = {name: tf.keras.metrics.Mean(name=name) for name in terms}
        self.optimizer.build(self.trainable_variables)
        self.step = tf.function(self.train_step, input_signature=[SIGNATURE])
        some = tf.TensorSpec((None, None), tf.int32)
        self._serve_users = tf.function(self._users, input_signature=[some, some])
        self._serve_items = tf.function(self._items, input_signature=[tf.TensorSpec((None,), tf.int32)])
        self._serve_lists = tf.function(self._lists, input_signature=[some, some, some])

    # --- for evaluation and serving: scores of any base, vectors of one that has them

    @property
    def item_vocabulary(self) -> np.ndarray:
        """The ids of the items that the model knows, int64 [C]."""
        return self.catalogue.item_ids

    @property
    def has_vectors(self) -> bool:
        """Whether the base's scores are inner products of vectors that it gives."""
        return hasattr(self.base, "users") and hasattr(self.base, "items")

    def scores(self, rows: Batch, requests: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
        """What orders a request's candidates, float32 [N], for N pairs of a request and an item in any order.

        Args:
            rows: of requests: history_item_ids, history_actions, as `inputs.decode` or `inputs.batches` gives them.
            requests: the index in `rows` of each pair's request, int64 [N].
            item_ids: each pair's item, int64 [N]; an unknown id is scored as its bucket is.
        """
        by = self._scores_by_vectors if self.has_vectors else self._scores_by_lists
        return by(rows, requests, item_ids)

    def _scores_by_vectors(self, rows: Batch, requests: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
        """Each user's and each item's vector is made once."""
        own, places = np.unique(item_ids, return_inverse=True)
        users_BD = self.user_vectors(rows)
        found = [self.item_vectors(own[n : n + _PAIRS_AT_ONCE]) for n in range(0, max(len(own), 1), _PAIRS_AT_ONCE)]
        items_CD = np.concatenate(found)
        scores = np.empty(len(places), np.float32)
        for start in range(0, len(places), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            scores[part] = self.score(users_BD[requests[part]], items_CD[places[part]])
        return scores

    def _scores_by_lists(self, rows: Batch, requests: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
        """The network sees a few requests' whole lists at a time."""
        order, lengths = np.argsort(requests, kind="stable"), np.bincount(requests, minlength=size(rows))
        lists = Ragged(self.catalogue.lookup(item_ids[order]), np.concatenate([[0], np.cumsum(lengths)]))
        scores = np.empty(len(order), np.float32)
        for start in range(0, size(rows), _LISTS_AT_ONCE):
            part = np.arange(start, min(start + _LISTS_AT_ONCE, size(rows)))
            width = int(lengths[part].max())
            users, places = self._histories(take(rows, part)), lists.take(part)
            found = self._serve_lists(**users, rows=places.padded(width)).numpy()
            there = np.arange(width) < places.lengths[:, None]
            scores[order[lists.offsets[start] : lists.offsets[part[-1] + 1]]] = found[there]
        return scores

    def user_vectors(self, rows: Batch) -> np.ndarray:
        """Vectors of requests' users, float32 [B, D].

        Args:
            rows: history_item_ids, history_actions, as `inputs.decode` or `inputs.batches` gives them.
        """
        found = [self._serve_users(**self._histories(part)).numpy() for part in parts(rows, _ROWS_AT_ONCE)]
        return np.concatenate(found)

    def item_vectors(self, item_ids: np.ndarray) -> np.ndarray:
        """Vectors of these items, float32 [C, D]; an unknown id gets its bucket's."""
        return self._serve_items(self.catalogue.lookup(item_ids)).numpy()

    @staticmethod
    def score(user_vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
        """Inner products: [..., D] and [..., D], broadcast, -> [...]."""
        return np.einsum("...d,...d->...", user_vectors, item_vectors)

    def user_vectors_of(self, history_item_ids_BL, history_actions_BL, user_ids_B) -> tf.Tensor:
        """`user_vectors` in plain TensorFlow operations, for export: int64 [B, L], int32 [B, L], int64 [B] -> [B, D].

        Histories are newest first and at most `history_length` long; actions are `Action.strength`, 0 for padding.
        User ids are not looked at: the base knows a user by the history.
        """
        return self._users(self.catalogue.lookup_tensor(history_item_ids_BL), history_actions_BL)

    def item_vectors_of(self, item_ids_C) -> tf.Tensor:
        """`item_vectors` in plain TensorFlow operations, for export: int64 [C] -> [C, D]."""
        return self._items(self.catalogue.lookup_tensor(item_ids_C))

    def scores_of(self, history_item_ids_BL, history_actions_BL, item_ids_BC) -> tf.Tensor:
        """`scores` in plain TensorFlow operations, for export: int64 [B, L], int32 [B, L], int64 [B, C] -> [B, C].

        Histories as `user_vectors_of` takes them.
        """
        rows_BL, rows_BC = (self.catalogue.lookup_tensor(ids) for ids in (history_item_ids_BL, item_ids_BC))
        return self._lists(rows_BL, history_actions_BL, rows_BC)

    def _histories(self, rows: Batch) -> dict[str, np.ndarray]:
        return histories(rows, self.catalogue.lookup, self.settings.history_length)

    def _lists(self, history_rows: tf.Tensor, history_actions: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        users = {"history_rows": history_rows, "history_actions": history_actions}
        return self.base(users, {"rows": rows, "counts": tf.gather(self.counts, rows)}).ranking

    def _users(self, history_rows: tf.Tensor, history_actions: tf.Tensor) -> tf.Tensor:
        return self.base.users({"history_rows": history_rows, "history_actions": history_actions})

    def _items(self, rows_C: tf.Tensor) -> tf.Tensor:
        return self.base.items({"rows": rows_C, "counts": tf.gather(self.counts, rows_C)})


def load(directory: ModelDirectory, catalogue: Catalogue | None = None, settings: HccpSettings | None = None) -> Hccp:
    """The model of a directory, with its optimizer, so that training can go on.

    Args:
        catalogue: the saved one grown by new items, whose rows start afresh; the saved one if None.
        settings: those to go on with, whose weights have the same shapes; the saved ones if None.

    Raises:
        MissingDataError: there is no such model, or its checkpoint does not fit its settings.
    """
    manifest = directory.manifest()
    settings = settings or checkpoint.recorded_settings(HccpSettings, manifest["settings"])[0]
    model = Hccp(settings, catalogue or directory.catalogue(), seed=manifest["seed"])
    checkpoint.resume(model, directory)
    return model
