"""IncRec: a retrieval channel that learns what the other channels miss (after arXiv 2512.06381).

That samples which no channel retrieved carry the gain, an incremental objective on them, and an alignment that prefers
what is likely to be exposed are the paper's [P]. Three user towers over one item tower, trained jointly, are a
reader's account [R]; the towers' insides are ours [D]. The loss terms are in `increc_objective`; which of them there
are and which tower serves is the preset's.
Shapes: B requests, L history, C items, D dimensions.
"""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models import checkpoint
from models.batches import Batch, parts
from models.checkpoint import ModelDirectory
from models.increc import objective
from models.increc.inputs import SIGNATURE, user_inputs
from models.increc.losses import ALPHA_FORMS
from models.increc.objective import Vectors
from models.increc.settings import IncRecSettings
from models.item_vocabulary import Catalogue, bucket_tensor
from models.towers import ItemTower, UserTower, unit, weight_seed

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
        if settings.alpha_form not in ALPHA_FORMS:
            raise ValueError(f"alpha_form is {settings.alpha_form!r}, should be one of {', '.join(ALPHA_FORMS)}")
        self.settings, self.catalogue = settings, catalogue
        first = weight_seed(seed)
        self.item_tower = ItemTower(catalogue, settings.dimensions, first)
        weights = {"basic": settings.weight_basic, "inc": settings.weight_inc, "align": settings.weight_align}
        self.user_towers = {
            name: UserTower(
                settings.dimensions,
                settings.history_length,
                seed=first + 10 * (n + 1),
                pooling=settings.pooling,
                user_buckets=settings.user_buckets,
                name=f"{name}_tower",
            )
            for n, (name, weight) in enumerate(weights.items())
            if weight
        }
        self.terms = {
            name: tf.keras.metrics.Mean(name=name)
            for name in (
                "loss_basic",
                "loss_inc",
                "loss_align",
                "alpha_deviation",
                "alpha_popularity_correlation",
                "rtg_share_of_loss_inc",
                "exposure_chance",
            )
        }
        # Adagrad touches only the gathered rows of a table; Adam would move every row at every step.
        self.compile(
            optimizer=tf.keras.optimizers.Adagrad(
                settings.learning_rate, initial_accumulator_value=_INITIAL_ACCUMULATOR, jit_compile=False
            )
        )
        self._build()

    def compute_loss(self, batch: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """L = w_basic L_basic + w_inc L_inc + w_align L_align [R], a scalar, of a batch of SIGNATURE; weights [D]."""
        own, vectors = self.settings, self._vectors(batch)
        loss, terms = 0.0, {}
        if own.weight_basic:
            terms |= objective.basic(own, batch, vectors)
            loss += own.weight_basic * terms["loss_basic"]
        if own.weight_inc:
            terms |= objective.incremental(own, batch, vectors)
            loss += own.weight_inc * terms["loss_inc"]
        if own.weight_align:
            terms |= objective.alignment(own, batch, vectors)
            loss += own.weight_align * terms["loss_align"]
        for name, value in terms.items():
            self.terms[name].update_state(value)
        return loss

    def _vectors(self, batch) -> Vectors:
        pool_ND, towers = self.item_tower(batch["pool_rows"]), self.user_towers
        return Vectors(
            users=self._user_vectors(batch),
            pool=dict(zip(towers, copies(pool_ND, len(towers)), strict=True)),
            exposed=self.item_tower(batch["exposed_rows"]),
            log_count=objective.log_count(self.settings, batch, len(self.catalogue.item_ids)),
        )

    def _user_vectors(self, batch) -> dict[str, tf.Tensor]:
        """Every tower's user vectors, [B, D]; the history's item vectors are gathered once."""
        towers, history_BLD = self.user_towers, self.item_tower.embed(batch["history_rows"])
        return {
            name: tower(copy_BLD, batch["history_actions"], batch["user_buckets"])
            for (name, tower), copy_BLD in zip(towers.items(), copies(history_BLD, len(towers)), strict=True)
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
        """Unit vectors of requests as they serve, of one tower or a sum of two, float32 [B, D].

        Args:
            rows: user_id, history_item_ids, history_actions, as `inputs.decode` or `inputs.batches` gives them.
        """
        fed = (user_inputs(part, self.catalogue.lookup, self.settings) for part in parts(rows, _ROWS_AT_ONCE))
        return np.concatenate([self._serve_user(**one).numpy() for one in fed])

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

    def _serve_user(self, history_rows, history_actions, user_buckets) -> tf.Tensor:
        """unit(sum of each serving tower's vectors times its share) [D]; the tower's own where one serves alone [R]."""
        history_BLD, shares = self.item_tower.embed(history_rows), self.settings.serving
        users = {name: self.user_towers[name](history_BLD, history_actions, user_buckets) for name in shares}
        if len(users) == 1:
            return users.popitem()[1]
        return unit(tf.add_n([share * users[name] for name, share in shares.items()]))


def copies(vectors: tf.Tensor, count: int) -> list[tf.Tensor]:
    """So many copies of one tensor.

    One reduction sums their gradients in one order. Those of three and more uses of one tensor TensorFlow's graph
    optimizer may add in the order in which threads finish, and then the same seed does not give the same weights.
    """
    return tf.unstack(tf.broadcast_to(vectors, tf.concat([[count], tf.shape(vectors)], 0)), num=count)


def load(
    directory: ModelDirectory, catalogue: Catalogue | None = None, settings: IncRecSettings | None = None
) -> IncRec:
    """The model of a directory, with its optimizer, so that training can go on.

    Args:
        catalogue: the saved one grown by new items, whose rows start afresh; the saved one if None.
        settings: those to go on with, whose weights have the same shapes; the saved ones if None.

    Raises:
        MissingDataError: there is no such model, or its checkpoint does not fit its settings.
    """
    manifest = directory.manifest()
    settings = settings or checkpoint.recorded_settings(IncRecSettings, manifest["settings"])[0]
    model = IncRec(settings, catalogue or directory.catalogue(), seed=manifest["seed"])
    checkpoint.resume(model, directory)
    return model
