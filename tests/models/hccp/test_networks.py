"""networks.py: COLD's features by hand, and that any network by the stated interface is trained and served."""

from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from jobs import evaluate_hccp, export_models, train_hccp
from models.batches import Ragged
from models.checkpoint import ModelDirectory
from models.hccp import model as hccp
from models.hccp.inputs import COUNTS
from models.hccp.networks import BASES, Scores, history_shares
from models.hccp.presets import PRESETS, cold, sized
from models.item_vocabulary import Catalogue
from schemas.storage import arrow
from schemas.tables.reports import evaluations
from tests.support.planted_funnel import Funnel

DAY = date(2020, 1, 1)


class SumOfMatches(tf.keras.layers.Layer):
    """A stranger's network, which knows nothing but the interface: what follows an item of the history, summed up."""

    def __init__(self, settings, catalogue, seed):
        super().__init__(name="sum_of_matches")
        initializer = tf.keras.initializers.RandomNormal(stddev=0.3, seed=seed)
        self.before = self.add_weight("before", (catalogue.rows, settings.dimensions), initializer=initializer)
        self.after = self.add_weight("after", (catalogue.rows, settings.dimensions), initializer="zeros")
        self.shown = self.add_weight("shown", (len(COUNTS),), initializer="zeros")

    def call(self, users, items):
        there_BL = tf.cast(users["history_actions"] > 0, tf.float32)
        past_BLD, next_BND = tf.gather(self.before, users["history_rows"]), tf.gather(self.after, items["rows"])
        score_BN = tf.einsum("bl,bld,bnd->bn", there_BL, past_BLD, next_BND)
        score_BN += tf.linalg.matvec(items["counts"], self.shown)
        return Scores(score_BN, score_BN - 2, score_BN - 4)


def test_history_shares_by_hand():
    # Rows 1 and 2 are of brand 7, row 3 of brand 8, row 4 of none. History: 1, 1, 3, then padding that looks like 1.
    codes = tf.constant([[0], [7], [7], [8], [0]])
    users = {
        "history_rows": tf.constant([[1, 1, 3, 1], [4, 0, 0, 0]]),
        "history_actions": tf.constant([[1, 4, 1, 0], [1, 0, 0, 0]]),
    }
    shares = history_shares(users, tf.constant([[1, 2, 3, 4, 0], [4, 1, 0, 0, 0]]), codes)
    np.testing.assert_allclose(shares[0], [[2 / 3, 2 / 3], [0, 2 / 3], [1 / 3, 1 / 3], [0, 0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(shares[1], [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0]], rtol=1e-6)


def test_scores_are_cosines_over_the_temperature_where_the_settings_say_so():
    settings = replace(sized(PRESETS["cosine"](), "tiny"), cosine_temperature=0.2)
    base = hccp.Hccp(settings, Catalogue.empty(4, None, 8).grown(np.arange(5, 60)), seed=1).base
    users = {"history_rows": tf.constant([[5, 9], [0, 0]]), "history_actions": tf.constant([[1, 4], [0, 0]])}
    items = {"rows": tf.constant([[5, 6, 7], [8, 9, 0]]), "counts": tf.ones((2, 3, len(COUNTS)))}
    np.testing.assert_allclose(tf.norm(base.users(users), axis=-1), [5.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose(tf.norm(base.items(items), axis=-1)[:, :2], np.ones((2, 2)), rtol=1e-5)
    wanted = np.einsum("bd,bnd->bn", base.users(users), base.items(items))
    np.testing.assert_allclose(base(users, items).ranking, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("base", "cosine_temperature"), [*((name, 0.0) for name in BASES), ("dual_tower", 0.2)])
def test_pairs_are_scored_as_the_network_scores_lists(base, cosine_temperature):
    settings = replace(sized(cold(), "tiny"), base=base, cosine_temperature=cosine_temperature)
    model = hccp.Hccp(settings, Catalogue.empty(4, None, 8).grown(np.arange(5, 60)), seed=1)
    random = np.random.default_rng(0)
    for variable in model.base.trainable_variables:
        variable.assign(random.normal(scale=0.3, size=variable.shape))
    model.counts.assign(random.random(model.counts.shape))
    histories, lists = [[5, 9], [], [7], [8, 9, 10]], [[5, 6, 7], [10, 12_345_678], [], [59, 5, 7]]
    users = {"history_item_ids": Ragged.of(histories), "history_actions": Ragged.of([[1] * len(h) for h in histories])}
    many = {name: column.take(np.arange(80) % 4) for name, column in users.items()}  # more than are scored at once
    pairs = np.array([(n, item) for n in range(80) for item in lists[n % 4]])
    shuffled = random.permutation(len(pairs))
    scores = np.empty(len(pairs), np.float32)
    scores[shuffled] = model.scores(many, *pairs[shuffled].T)
    for n, own in enumerate(lists):
        newest_first, actions = np.zeros((1, 4), np.int32), np.zeros((1, 4), np.int32)
        newest_first[0, : len(histories[n])] = model.catalogue.lookup(np.array(histories[n][::-1], np.int64))
        actions[0, : len(histories[n])] = 1
        rows = model.catalogue.lookup(np.array([own], np.int64))
        wanted = model.base(
            {"history_rows": newest_first, "history_actions": actions},
            {"rows": rows, "counts": model.counts.numpy()[rows]},
        ).ranking
        for again in (n, n + 76):
            np.testing.assert_allclose(scores[pairs[:, 0] == again], wanted[0], rtol=1e-4, atol=1e-5)


def test_a_network_without_vectors_is_trained_measured_and_served(tmp_path, monkeypatch):
    monkeypatch.setitem(BASES, "sum_of_matches", SumOfMatches)
    monkeypatch.setitem(PRESETS, "stranger", lambda: replace(PRESETS["full"](), base="sum_of_matches"))
    root, funnel = str(tmp_path), Funnel(seed=1)
    for n in range(2):
        funnel.put_day(root, DAY + timedelta(n), requests=200)
    flags = ["--root", root, "--date", str(DAY), "--preset", "cold,stranger", "--size", "tiny"]
    train_hccp.main(train_hccp.arg_parser().parse_args(flags), DAY)
    flags = ["--root", root, "--date", str(DAY + timedelta(1)), "--requests", "100"]
    evaluate_hccp.main(evaluate_hccp.arg_parser().parse_args(flags), DAY + timedelta(1))
    rows = arrow.read(root, evaluations, DAY + timedelta(1)).to_pylist()
    found = {(row["variant"], row["metric"], row["segment"], row["k"]): row["value"] for row in rows}
    for preset in ("cold-tiny", "stranger-tiny"):
        directory = ModelDirectory(root, "hccp", DAY, preset, 1)
        first, last = (epoch["loss_global"] for epoch in directory.manifest()["epochs"])
        assert last < first
        assert found[preset, "ranker_recall_10", "all", 20] > found["random", "ranker_recall_10", "all", 20] + 0.05
        assert found[preset, "milliseconds_p50", "all", 0] > 0
        assert (preset, "milliseconds_p50", "item_vectors_at_hand", 0) not in found
    exported = export_models.export(directory, "asked for")
    assert exported["largest_difference"] <= 1e-5
    assert directory.manifest()["exported"].items() >= exported.items()
    folder = Path(root, directory.place)
    assert not (folder / "item_vectors").exists()
    scorer = tf.saved_model.load(str(folder / "saved_model/scorer/1")).signatures["serving_default"]
    item_ids, model = funnel.item_ids[:7], hccp.load(directory)
    served = scorer(
        history_item_ids=tf.constant([[*funnel.item_ids[3:5], 0]], tf.int64),
        history_actions=tf.constant([["click", "purchase", ""]]),
        item_ids=tf.constant([item_ids], tf.int64),
    )["scores"]
    users = {"history_item_ids": Ragged.of([funnel.item_ids[3:5]]), "history_actions": Ragged.of([[1, 4]])}
    np.testing.assert_allclose(served[0], model.scores(users, np.zeros(7, np.int64), item_ids), atol=1e-5)
    assert asdict(model.settings)["base"] == "sum_of_matches"
