"""models/serving/load.py: a search among allowed items, in an exact index and in inverted lists."""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest
import tensorflow as tf

from models.batches import Ragged
from models.serving import export
from models.serving.load import Published

ITEMS, USERS, MOST = 2000, 20, 10


@pytest.mark.parametrize("kind", ["flat", "ivf"])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.002])
def test_the_best_allowed_items_are_returned_and_no_other(monkeypatch, kind, share):
    monkeypatch.setattr(export, "_FLAT_BELOW", ITEMS + 1 if kind == "flat" else 1)
    random = np.random.default_rng(3)
    vectors, users = (random.normal(size=(rows, 8)).astype(np.float32) for rows in (ITEMS, USERS))
    index, quality = export.build_index(vectors, users, at_least=1.0)
    index = faiss.deserialize_index(faiss.serialize_index(index))
    assert quality.kind == kind
    tower = SimpleNamespace(signatures={"serving_default": lambda **_: {"vectors": tf.constant(users)}})
    allowed = random.random(ITEMS) < share
    rows = {name: Ragged.of([[]] * USERS) for name in ("history_item_ids", "history_actions")}
    positions, _ = Published(tower, index, np.arange(ITEMS)).retrieve(
        rows | {"user_id": np.arange(USERS)}, MOST, allowed
    )
    scores = np.where(allowed, users @ vectors.T, -np.inf)
    best = np.argsort(-scores, axis=1)[:, :MOST]
    there = min(MOST, allowed.sum())
    if kind == "flat" or share > 0.1:
        np.testing.assert_array_equal(positions[:, :there], best[:, :there])
    assert np.all(positions[:, there:] == -1)
    assert np.all(allowed[positions[positions >= 0]])
