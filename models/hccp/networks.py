"""The networks that HCCP trains. A base is a Keras layer, made from (settings, catalogue, seed).

It is called with users (history_rows, history_actions) and items (rows, counts) as `hccp_inputs.SIGNATURE` names them
and returns `Scores`; it never sees a label. That is all that training, evaluating and exporting need. One whose scores
are inner products of a user's and an item's vector also has `users` and `items`, which give the vectors: then they
are exported, and an item's is made once.
Shapes: B requests, L history, N items of a request, F counts, D numbers in a vector.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.batches import PADDING
from models.hccp.settings import HccpSettings
from models.item_vocabulary import Catalogue
from models.towers import ItemTower, UserTower


class Scores(NamedTuple):
    """[B, N] each: what orders the candidates, and the logits of a click and of a purchase if shown."""

    ranking: tf.Tensor
    click: tf.Tensor
    purchase: tf.Tensor


class DualTower(tf.keras.layers.Layer):
    """Score = inner product of a user's vector from the history and an item's from id, attributes and counts.

    The item's popularity is one number of its vector, which every user's vector meets with a 1, so that a plain
    inner product holds all of it; scores that are cosines have none. Each response head is a line in the score with a
    rising slope: the heads calibrate, the score orders [D].
    """

    def __init__(self, settings: HccpSettings, catalogue: Catalogue, seed: int):
        super().__init__(name="dual_tower")
        self.temperature = settings.cosine_temperature
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
        return _with_responses(score_BN, self.slopes, self.intercepts)

    def users(self, users: dict[str, tf.Tensor]) -> tf.Tensor:
        """[B, D]."""
        history_BLD = self.item_tower.embed(users["history_rows"])
        taste_BD = self.user_tower(history_BLD, users["history_actions"])
        if self.temperature:
            return taste_BD / self.temperature
        taste_BD *= tf.exp(self.scale)
        return tf.concat([taste_BD, tf.ones_like(taste_BD[:, :1])], axis=-1)

    def items(self, items: dict[str, tf.Tensor]) -> tf.Tensor:
        """[..., D]."""
        if self.temperature:
            return self.item_tower(items["rows"])
        bias = tf.gather(self.biases, items["rows"]) + self.popularity_bias(self.popularity(items["counts"]))
        return tf.concat([self.item_tower.embed(items["rows"]), bias], axis=-1)


class Cold(tf.keras.layers.Layer):
    """A small network over features of user, item and both, each feature's vector scaled by a gate.

        gates = sigmoid(W [e_1 .. e_M] + b),   score = MLP([gates_1 e_1 .. gates_M e_M])

    After COLD (arXiv 2007.16122): any network over crossed features, and a squeeze-excitation gate that tells which
    of them matter [P, R]. COLD then drops the least ones for speed; here all stay [D], and so are the features [D]:
    the user's vector, the item's, its counts, the product of both vectors, and what the history says of the item
    (the share of it that is the item, or has its attribute, for each attribute; the cosine).
    """

    def __init__(self, settings: HccpSettings, catalogue: Catalogue, seed: int):
        super().__init__(name="cold")
        width, he = settings.dimensions, tf.keras.initializers.HeNormal
        glorot = tf.keras.initializers.GlorotUniform
        self.item_tower = ItemTower(catalogue, width, seed)
        self.user_tower = UserTower(width, settings.history_length, seed + 10, settings.pooling)
        self.codes = tf.constant(catalogue.codes)
        self.popularity = tf.keras.layers.Dense(width, "relu", kernel_initializer=he(seed + 20), name="popularity")
        self.crossed = tf.keras.layers.Dense(width, kernel_initializer=glorot(seed + 21), name="crossed")
        self.gate = tf.keras.layers.Dense(5, "sigmoid", kernel_initializer=glorot(seed + 22), name="gate")
        self.wide = tf.keras.layers.Dense(2 * width, "relu", kernel_initializer=he(seed + 23), name="wide")
        self.narrow = tf.keras.layers.Dense(width, "relu", kernel_initializer=he(seed + 24), name="narrow")
        self.score = tf.keras.layers.Dense(1, kernel_initializer=glorot(seed + 25), name="score")
        self.slopes = self.add_weight("slopes", (2,), initializer="zeros")
        self.intercepts = self.add_weight("intercepts", (2,), initializer=tf.keras.initializers.Constant([-2.0, -4.0]))

    def call(self, users: dict[str, tf.Tensor], items: dict[str, tf.Tensor]) -> Scores:
        """Scores [B, N], as `DualTower` takes users and items."""
        item_BND = self.item_tower.embed(items["rows"])
        user_BD = self.user_tower(self.item_tower.embed(users["history_rows"]), users["history_actions"])
        user_BND = tf.broadcast_to(user_BD[:, None], tf.shape(item_BND))
        cosine_BN1 = tf.einsum("bnd,bnd->bn", user_BND, tf.math.l2_normalize(item_BND, axis=-1))[..., None]
        shares_BNK = history_shares(users, items["rows"], self.codes)
        crossed_BND = self.crossed(tf.concat([cosine_BN1, shares_BNK], axis=-1))
        features = [user_BND, item_BND, self.popularity(items["counts"]), user_BND * item_BND, crossed_BND]
        gates_BNM = self.gate(tf.concat(features, axis=-1))
        gated = [feature * gates_BNM[..., m : m + 1] for m, feature in enumerate(features)]
        score_BN = self.score(self.narrow(self.wide(tf.concat(gated, axis=-1))))[..., 0]
        return _with_responses(score_BN, self.slopes, self.intercepts)


BASES: dict[str, Callable[[HccpSettings, Catalogue, int], tf.keras.layers.Layer]] = {
    "dual_tower": DualTower,
    "cold": Cold,
}


def history_shares(users: dict[str, tf.Tensor], rows_BN: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """[B, N, 1 + A]: the share of the user's history that is the item, and that has the item's code of each attribute.

    Args:
        codes: int32 [catalogue rows, A]; 0 is unknown and like no other.
    """
    there_BL = tf.cast(users["history_actions"] != PADDING, tf.float32)
    weights_BL = tf.math.divide_no_nan(there_BL, tf.reduce_sum(there_BL, axis=1, keepdims=True))

    def keys(rows: tf.Tensor) -> tf.Tensor:
        return tf.concat([rows[..., None], tf.gather(codes, rows)], axis=-1)

    own_BN1K, past_B1LK = keys(rows_BN)[:, :, None], keys(users["history_rows"])[:, None]
    same_BNLK = tf.cast((own_BN1K == past_B1LK) & (own_BN1K > 0), tf.float32)
    return tf.einsum("bl,bnlk->bnk", weights_BL, same_BNLK)


def _with_responses(score_BN: tf.Tensor, slopes: tf.Tensor, intercepts: tf.Tensor) -> Scores:
    """Scores whose response logits are lines in the score with rising slopes."""
    click, purchase = (tf.exp(slopes[n]) * score_BN + intercepts[n] for n in (0, 1))
    return Scores(score_BN, click, purchase)
