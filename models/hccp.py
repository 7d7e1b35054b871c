"""HCCP: a way to train a pre-ranker on items from the whole funnel (after arXiv 2502.10284), and its networks.

The network is a parameter. A base is a Keras layer, made from (settings, catalogue, seed), that is called with
users and items as `hccp_inputs.SIGNATURE` names them and returns `Scores`. One whose scores are inner products
of a user's and an item's vector also has `users` and `items`, which give the vectors.
Shapes: B requests, L history, C candidates, E easy negatives, N = C + E, F counts, D numbers in a vector.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import checkpoint, ranking_losses
from models.catalogue import Catalogue
from models.checkpoint import ModelDirectory
from models.hccp_inputs import COUNTS, LEVEL_CODES, SIGNATURE, user_inputs
from models.hccp_presets import HccpSettings
from models.inputs import Batch, size, take
from models.towers import ItemTower, UserTower
from schemas.labels import Action, Level

_ROWS_AT_ONCE = 4096


class Scores(NamedTuple):
    """[B, N] each: what orders the candidates, and the logits of a click and of a purchase if shown."""

    ranking: tf.Tensor
    click: tf.Tensor
    purchase: tf.Tensor


class DualTower(tf.keras.layers.Layer):
    """Score = inner product of a user's vector from the history and an item's from id, attributes and counts.

    The item's popularity is one number of its vector, which every user's vector meets with a 1, so that a plain
    inner product holds all of it. Each response head is a line in the score with a rising slope: the heads
    calibrate, the score orders [D].
    """

    def __init__(self, settings: HccpSettings, catalogue: Catalogue, seed: int):
        super().__init__(name="dual_tower")
        self.item_tower = ItemTower(catalogue, settings.dimensions, seed)
        self.user_tower = UserTower(settings.dimensions, settings.history_length, seed + 10, settings.pooling)
        self.scale = self.add_weight("scale", (), initializer=tf.keras.initializers.Constant(np.log(4.0)))
        self.biases = self.add_weight("biases", (catalogue.rows, 1), initializer="zeros")
        self.popularity = tf.keras.layers.Dense(
            8, "relu", kernel_initializer=tf.keras.initializers.HeNormal(seed + 20), name="popularity"
        )
        self.popularity_bias = tf.keras.layers.Dense(1, kernel_initializer="zeros", name="popularity_bias")
        self.slopes = self.add_weight("slopes", (2,), initializer="zeros")
        self.intercepts = self.add_weight("intercepts", (2,), initializer=tf.keras.initializers.Constant([-2.0, -4.0]))

    def call(self, users: dict[str, tf.Tensor], items: dict[str, tf.Tensor]) -> Scores:
        """Scores [B, N] of every item for its user.

        Args:
            users: history_rows, history_actions: int32 [B, L].
            items: rows int32 [B, N], counts float32 [B, N, F].
        """
        score_BN = tf.einsum("bd,bnd->bn", self.users(users), self.items(items))
        click, purchase = (tf.exp(self.slopes[n]) * score_BN + self.intercepts[n] for n in (0, 1))
        return Scores(score_BN, click, purchase)

    def users(self, users: dict[str, tf.Tensor]) -> tf.Tensor:
        """[B, D]."""
        history_BLD = self.item_tower.embed(users["history_rows"])
        taste_BD = tf.exp(self.scale) * self.user_tower(history_BLD, users["history_actions"])
        return tf.concat([taste_BD, tf.ones_like(taste_BD[:, :1])], axis=-1)

    def items(self, items: dict[str, tf.Tensor]) -> tf.Tensor:
        """[..., D]."""
        bias = tf.gather(self.biases, items["rows"]) + self.popularity_bias(self.popularity(items["counts"]))
        return tf.concat([self.item_tower.embed(items["rows"]), bias], axis=-1)


BASES: dict[str, Callable[[HccpSettings, Catalogue, int], tf.keras.layers.Layer]] = {"dual_tower": DualTower}


class Hccp(tfrs.Model):
    """The base network, the loss over the levels, and the vectors.

    Args:
        settings: a preset's.
        catalogue: the items it knows.
        seed: of the initial weights.
    """

    def __init__(self, settings: HccpSettings, catalogue: Catalogue, seed: int):
        super().__init__()
        if settings.base not in BASES:
            raise ValueError(f"base is {settings.base!r}, should be one of {', '.join(BASES)}")
        self.settings, self.catalogue = settings, catalogue
        self.base = BASES[settings.base](settings, catalogue, seed)
        # Of the last date learned from: what serving and evaluation know of an item's popularity.
        self.counts = self.add_weight("counts", (catalogue.rows, len(COUNTS)), initializer="zeros", trainable=False)
        weights = {
            "loss_response": settings.weight_response,
            "loss_global": settings.weight_global,
            "loss_local": settings.weight_local,
            "loss_margin": settings.weight_margin,
        }
        self.weights_of_terms = {name: weight for name, weight in weights.items() if weight}
        self.terms = {name: tf.keras.metrics.Mean(name=name) for name in self.weights_of_terms}
        self.compile(optimizer=tf.keras.optimizers.Adam(settings.learning_rate, jit_compile=False))
        self._build()

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """L = L_response + w_g L_global + w_l L_local + w_m L_margin, a scalar, of a batch of SIGNATURE."""
        scores = self.base(batch, batch)
        candidates = tf.shape(batch["levels"])[1]
        own = Scores(*(each[:, :candidates] for each in scores))
        terms = {
            "loss_response": lambda: self._response(batch, own),
            "loss_global": lambda: self._global(batch, own.ranking),
            "loss_local": lambda: self._local(batch, own.ranking),
            "loss_margin": lambda: self._margin(batch, own.ranking, scores.ranking[:, candidates:]),
        }
        return tf.add_n([w * self._term(name, terms[name]()) for name, w in self.weights_of_terms.items()])

    def _response(self, batch, own: Scores):
        """L_response: click and purchase heads on the exposed items."""
        clicked, purchased = batch["actions"] > 0, batch["actions"] == Action.PURCHASE.strength
        exposed = _between(batch["levels"], Level.PURCHASED, Level.EXPOSED)
        return ranking_losses.response(own.click, own.purchase, clicked, purchased, exposed)

    def _global(self, batch, score_BC):
        """L_global: the whole list; among filtered items no order is known, so they are in denominators alone."""
        placed = _between(batch["levels"], Level.PURCHASED, Level.RANKED)
        return ranking_losses.list_mle(score_BC, batch["ranks"], batch["levels"] > 0, placed)

    def _local(self, batch, score_BC):
        """L_local: the head of the list."""
        head = _between(batch["levels"], Level.PURCHASED, Level.RANKED)
        return ranking_losses.list_mle(score_BC, batch["ranks"], head)

    def _margin(self, batch, score_BC, easy_BE):
        """L_margin: purchased and clicked items against the rest of the list and the easy items."""
        own, levels = self.settings, batch["levels"]
        margins = [0.0] * (LEVEL_CODES[Level.CLICKED] + 1) + [
            own.margin_exposed,
            own.margin_ranked,
            own.margin_filtered,
        ]
        weights = [0.0, 1 + own.weight_clicked + own.weight_purchased, 1 + own.weight_clicked, 0.0, 0.0, 0.0]
        return ranking_losses.margin_info_nce(
            score_BC,
            positives_BC=_between(levels, Level.PURCHASED, Level.CLICKED),
            hard_BC=_between(levels, Level.EXPOSED, Level.FILTERED),
            margins_BC=own.temperature * tf.gather(tf.constant(margins), levels),
            easy_scores_BE=easy_BE,
            easy_BE=batch["easy"],
            temperature=own.temperature,
            weights_BC=tf.gather(tf.constant(weights), levels),
        )

    def _term(self, name: str, losses_B: tf.Tensor) -> tf.Tensor:
        """The mean over the batch's requests."""
        loss = tf.reduce_mean(losses_B)
        self.terms[name].update_state(loss)
        return loss

    def _build(self) -> None:
        """Create every variable, the optimizer's too, so that a checkpoint can be restored at once."""
        one = tf.zeros((1, self.settings.history_length), tf.int32)
        items = {"rows": one[:, :1], "counts": tf.zeros((1, 1, len(COUNTS)))}
        self.base({"history_rows": one, "history_actions": one}, items)
        self.optimizer.build(self.trainable_variables)
        self.step = tf.function(self.train_step, input_signature=[SIGNATURE])
        some = tf.TensorSpec((None, None), tf.int32)
        self._serve_users = tf.function(self._users, input_signature=[some, some])
        self._serve_items = tf.function(self._items, input_signature=[tf.TensorSpec((None,), tf.int32)])

    # --- vectors, for evaluation and serving

    @property
    def item_vocabulary(self) -> np.ndarray:
        """The ids of the items that the model knows, int64 [C]."""
        return self.catalogue.item_ids

    def user_vectors(self, rows: Batch) -> np.ndarray:
        """Vectors of requests' users, float32 [B, D].

        Args:
            rows: history_item_ids, history_actions, as `inputs.decode` or `inputs.batches` gives them.
        """
        parts = []
        for start in range(0, size(rows), _ROWS_AT_ONCE):
            part = take(rows, np.arange(start, min(start + _ROWS_AT_ONCE, size(rows))))
            fed = user_inputs(part, self.catalogue, self.settings)
            parts.append(self._serve_users(fed["history_rows"], fed["history_actions"]).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.settings.dimensions + 1), np.float32)

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

    def _users(self, rows_BL: tf.Tensor, actions_BL: tf.Tensor) -> tf.Tensor:
        return self.base.users({"history_rows": rows_BL, "history_actions": actions_BL})

    def _items(self, rows_C: tf.Tensor) -> tf.Tensor:
        return self.base.items({"rows": rows_C, "counts": tf.gather(self.counts, rows_C)})


def load(directory: ModelDirectory, catalogue: Catalogue | None = None) -> Hccp:
    """The model of a directory, with its optimizer, so that training can go on.

    Args:
        catalogue: the saved one grown by new items, whose rows start afresh; the saved one if None.

    Raises:
        MissingDataError: there is no such model, or its checkpoint does not fit its settings.
    """
    manifest = directory.manifest()
    model = Hccp(HccpSettings(**manifest["settings"]), catalogue or directory.catalogue(), seed=manifest["seed"])
    checkpoint.restore(checkpoint.variables_of(model), directory.arrays("weights"))
    checkpoint.restore(model.optimizer.variables, directory.arrays("optimizer"))
    return model


def _between(levels_BC: tf.Tensor, best: Level, worst: Level) -> tf.Tensor:
    """bool [B, C]: the level is one of best..worst."""
    return (levels_BC >= LEVEL_CODES[best]) & (levels_BC <= LEVEL_CODES[worst])
