"""The networks that HCCP trains. A base is a Keras layer, made from (settings, catalogue, seed).

It is called with users and items as `hccp_inputs.SIGNATURE` names them and returns `Scores`. One whose scores are inner
products of a user's and an item's vector also has `users` and `items`, which give the vectors.
Shapes: B requests, L history, N items of a request, F counts, D numbers in a vector.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.catalogue import Catalogue
from models.hccp_presets import HccpSettings
from models.towers import ItemTower, UserTower


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
