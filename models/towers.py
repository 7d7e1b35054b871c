"""User and item towers: layers that give vectors of unit length.

Shapes: B users, L history positions, C items, D dimensions, A attributes.
"""

import numpy as np
import tensorflow as tf

from models.batches import ACTION_CODES, PADDING
from models.item_vocabulary import Catalogue, bucket


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors [..., D] scaled to length 1; a zero vector stays zero."""
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-12)


class ItemTower(tf.keras.layers.Layer):
    """An item's vector from its id and its attributes: the sum of their embeddings, at unit length.

    An item that the catalogue does not know shares the vector of its unknown bucket. Gradients stay sparse: each
    table is only ever gathered from.
    """

    def __init__(self, catalogue: Catalogue, dimensions: int, seed: int, name: str = "item_tower"):
        super().__init__(name=name)
        self.catalogue = catalogue
        self.ids = self.add_weight(f"{name}/ids", (catalogue.rows, dimensions), initializer=_normal(dimensions, seed))
        if catalogue.attributes:
            sizes = [attribute.size for attribute in catalogue.attributes]
            self.attributes = self.add_weight(
                f"{name}/attributes", (sum(sizes), dimensions), initializer=_normal(dimensions, seed + 1)
            )
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            self.codes = tf.constant(catalogue.codes + starts, tf.int32)

    def embed(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors before they are scaled: rows int32 [...] -> [..., D]."""
        vectors = tf.gather(self.ids, rows)
        if self.catalogue.attributes:
            codes = tf.gather(self.codes, rows)
            vectors += tf.reduce_sum(tf.gather(self.attributes, codes), axis=-2)
        return vectors

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """rows int32 [...], from the catalogue's lookup -> unit vectors [..., D]."""
        return unit(self.embed(rows))


class UserTower(tf.keras.layers.Layer):
    """A user's vector from the history, pooled over positions, then a residual two-layer network, at unit length.

    A position holds the item's vector, its action's and its recency's embedding. `mean` pools evenly, `attention`
    by softmax scores (one query a tower). An empty history pools to a vector of its own, so everyone has a vector.
    The user id is left out unless `user_buckets` > 0, which adds the embedding of the id's hash.
    """

    def __init__(
        self,
        dimensions: int,
        history_length: int,
        seed: int,
        pooling: str = "attention",
        user_buckets: int = 0,
        name: str = "user_tower",
    ):
        super().__init__(name=name)
        if pooling not in ("mean", "attention"):
            raise ValueError(f"pooling is {pooling!r}, should be 'mean' or 'attention'")
        self.pooling, self.user_buckets = pooling, user_buckets
        self.actions = self.add_weight(
            f"{name}/actions", (ACTION_CODES, dimensions), initializer=_normal(dimensions, seed)
        )
        self.recency = self.add_weight(f"{name}/recency", (history_length, dimensions), initializer="zeros")
        self.newcomer = self.add_weight(f"{name}/newcomer", (dimensions,), initializer=_normal(dimensions, seed + 1))
        self.query = tf.keras.layers.Dense(
            1, use_bias=False, kernel_initializer=tf.keras.initializers.GlorotUniform(seed + 2), name="query"
        )
        self.action_scores = self.add_weight(f"{name}/action_scores", (ACTION_CODES,), initializer="zeros")
        self.recency_scores = self.add_weight(f"{name}/recency_scores", (history_length,), initializer="zeros")
        self.hidden = tf.keras.layers.Dense(
            2 * dimensions,
            activation="relu",
            kernel_initializer=tf.keras.initializers.HeNormal(seed + 3),
            name="hidden",
        )
        self.residual = tf.keras.layers.Dense(dimensions, kernel_initializer="zeros", name="residual")
        if user_buckets:
            self.users = self.add_weight(f"{name}/users", (user_buckets, dimensions), initializer="zeros")

    def call(self, history_BLD: tf.Tensor, actions_BL: tf.Tensor, user_buckets_B: tf.Tensor | None = None):
        """Unit vectors [B, D].

        Args:
            history_BLD: item vectors, newest first; L is at most `history_length`.
            actions_BL: int32 action codes (`Action.strength`); 0 marks padding.
            user_buckets_B: int32, `user_bucket(user ids)`; only for a tower with user buckets.
        """
        there_BL = actions_BL != PADDING
        length = tf.shape(actions_BL)[1]
        positions_BLD = history_BLD + tf.gather(self.actions, actions_BL) + self.recency[:length]
        weights_BL = tf.nn.softmax(tf.where(there_BL, self._scores(positions_BLD, actions_BL), -1e9), axis=-1)
        pooled_BD = tf.einsum("bl,bld->bd", weights_BL, positions_BLD)
        pooled_BD = tf.where(tf.reduce_any(there_BL, axis=-1, keepdims=True), pooled_BD, self.newcomer)
        if self.user_buckets:
            pooled_BD += tf.gather(self.users, user_buckets_B)
        return unit(pooled_BD + self.residual(self.hidden(pooled_BD)))

    def _scores(self, positions_BLD: tf.Tensor, actions_BL: tf.Tensor) -> tf.Tensor:
        if self.pooling == "mean":
            return tf.zeros_like(actions_BL, tf.float32)
        recency_L = self.recency_scores[: tf.shape(actions_BL)[1]]
        return self.query(positions_BLD)[..., 0] + tf.gather(self.action_scores, actions_BL) + recency_L


def user_bucket(user_ids: np.ndarray, buckets: int) -> np.ndarray:
    """The hash bucket of each user id, int32 [B]."""
    return bucket(user_ids, buckets).astype(np.int32)


def weight_seed(seed: int) -> int:
    """The first of the 100 seeds that the weights of a model with this seed may use."""
    return 100 * seed


def _normal(dimensions: int, seed: int) -> tf.keras.initializers.Initializer:
    """Vectors of expected length about 1."""
    return tf.keras.initializers.RandomNormal(stddev=dimensions**-0.5, seed=seed)
