"""Towers give unit vectors, to strangers too, and keep gradients sparse."""

import models  # noqa: F401 isort: skip
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from models import checkpoint
from models.batches import Ragged
from models.item_vocabulary import Catalogue
from models.towers import ItemTower, UserTower, user_bucket
from schemas.table import MissingDataError

ITEMS = pa.table({"item_id": pa.array([1, 2, 3, 4]), "category_id": pa.array([7, 7, 8, None])})
CATALOGUE = Catalogue.empty(4, ITEMS, 50).grown(np.array([1, 2, 3, 4]), ITEMS)


def rows_of(*ids: int) -> tf.Tensor:
    return tf.constant(CATALOGUE.lookup(np.array(ids)))


def test_an_item_vector_is_the_unit_sum_of_id_and_attribute_embeddings():
    tower = ItemTower(CATALOGUE, 2, seed=1)
    ids, attributes = np.zeros(tower.ids.shape, "f"), np.zeros(tower.attributes.shape, "f")
    row = CATALOGUE.lookup(np.array([1]))[0]
    ids[row], attributes[CATALOGUE.codes[row, 0]] = [1, 0], [2, 4]
    tower.ids.assign(ids)
    tower.attributes.assign(attributes)
    # [1, 0] + [2, 4] = [3, 4], of length 5; item 2 shares the category alone: [2, 4].
    np.testing.assert_allclose(tower(rows_of(1, 2)), [[0.6, 0.8], [2 / 20**0.5, 4 / 20**0.5]], rtol=1e-6)


def test_unknown_items_have_vectors_and_differ_from_known_ones():
    tower = ItemTower(CATALOGUE, 8, seed=1)
    vectors = tower(rows_of(1, 2, 555, 777)).numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.abs(vectors[2] - vectors[0]).max() > 0.01


def user_vectors(tower: UserTower, histories: list, actions: list, seed: int = 1) -> np.ndarray:
    items = ItemTower(CATALOGUE, 8, seed)
    lists = Ragged.of(histories)
    rows = lists.map(CATALOGUE.lookup(lists.values)).padded(5, newest_first=True)
    codes = Ragged.of(actions).padded(5, newest_first=True).astype(np.int32)
    return tower(items.embed(tf.constant(rows)), tf.constant(codes), tf.zeros(len(histories), tf.int32)).numpy()


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_user_vectors_depend_on_the_history_and_not_on_padding(pooling):
    tower = UserTower(8, 5, seed=1, pooling=pooling)
    vectors = user_vectors(tower, [[1, 2], [1, 2], [2, 3], [], [1, 2]], [[1, 4], [1, 1], [1, 4], [], [1, 4]])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[4], rtol=1e-6)
    for other in (1, 2, 3):  # another action, another item, no history at all
        assert np.abs(vectors[0] - vectors[other]).max() > 0.01


def test_mean_pooling_worked_by_hand():
    tower = UserTower(2, 3, seed=1, pooling="mean")
    tower.actions.assign(np.zeros((5, 2), "f"))
    history = tf.constant([[[2.0, 0.0], [4.0, 8.0], [100.0, 0.0]]])
    # The third position is padding: the mean is [3, 4], and the residual network starts at zero.
    vector = tower(history, tf.constant([[1, 1, 0]]), None)
    np.testing.assert_allclose(vector, [[0.6, 0.8]], rtol=1e-6)


def test_a_history_shorter_than_the_tower_gives_the_same_vector_unpadded():
    tower = UserTower(4, 6, seed=2)
    history = tf.random.stateless_normal((1, 2, 4), seed=(1, 2))
    short = tower(history, tf.constant([[1, 4]]))
    padded = tower(tf.pad(history, [[0, 0], [0, 4], [0, 0]]), tf.constant([[1, 4, 0, 0, 0, 0]]))
    np.testing.assert_allclose(short, padded, rtol=1e-5)


def test_user_ids_count_only_where_asked_for():
    tower = UserTower(2, 3, seed=1, user_buckets=10)
    tower.users.assign(np.linspace([-9, 9], [9, -9], 10))
    history, actions = tf.ones((2, 3, 2)), tf.ones((2, 3), tf.int32)
    one, other = tower(history, actions, tf.constant([0, 9])).numpy()
    assert np.abs(one - other).max() > 0.01
    assert set(user_bucket(np.arange(1000), 10)) == set(range(10))
    assert not any("users" in weight.name for weight in UserTower(2, 3, seed=1).weights)


def test_a_pooling_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'max', should be 'mean' or 'attention'"):
        UserTower(2, 3, seed=1, pooling="max")


def test_gradients_of_the_item_tables_stay_sparse():
    tower = ItemTower(CATALOGUE, 8, seed=1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tower(rows_of(1, 2))[:, 0]) + tf.reduce_sum(tower.embed(rows_of(3)))
    for gradient in tape.gradient(loss, [tower.ids, tower.attributes]):
        assert isinstance(gradient, tf.IndexedSlices)


def test_a_grown_table_keeps_its_old_rows_and_a_wrong_one_is_refused():
    old = tf.Variable([[1.0, 2.0]], name="ids")
    saved = {"ids": old.numpy()}
    grown = tf.Variable([[0.0, 0.0], [5.0, 6.0]], name="ids")
    checkpoint.restore([grown], saved)
    assert grown.numpy().tolist() == [[1, 2], [5, 6]]
    with pytest.raises(MissingDataError, match=r"ids has shape \(1, 2\), should be \(1, 3\); other is missing"):
        checkpoint.restore([tf.Variable(tf.zeros((1, 3)), name="ids"), tf.Variable(0.0, name="other")], saved)
