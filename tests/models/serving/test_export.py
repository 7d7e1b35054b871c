"""models/serving/export.py: how a served history is turned."""

import pytest
import tensorflow as tf

from models.serving.export import newest_first


@pytest.mark.parametrize(
    ("items", "actions", "length", "turned", "codes"),
    [
        ([11, 12, 13], ["click", "view", "cart"], 3, [13, 12, 11], [3, 0, 1]),  # an unknown action keeps its place
        ([11, 12, 0], ["click", "view", ""], 3, [12, 11, 0], [0, 1, 0]),
        ([11, 12, 13], ["click", "favorite", "purchase"], 2, [13, 12], [4, 2]),
        ([0, 0], ["", ""], 2, [0, 0], [0, 0]),
        ([], [], 2, [], []),
    ],
)
def test_a_history_is_turned_newest_first(items, actions, length, turned, codes):
    items_BL = tf.reshape(tf.constant(items, tf.int64), (1, -1))
    actions_BL = tf.reshape(tf.constant(actions, tf.string), (1, -1))
    turned_BN, codes_BN = newest_first(items_BL, actions_BL, length)
    assert turned_BN.numpy().tolist() == [turned]
    assert codes_BN.numpy().tolist() == [codes]
