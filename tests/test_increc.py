"""IncRec's batches, loss terms and vectors."""

import itertools
from dataclasses import replace

import models  # noqa: F401 isort: skip
import numpy as np
import pytest
import tensorflow as tf

from models import increc_inputs, inputs
from models.catalogue import Catalogue
from models.increc import IncRec
from models.increc_presets import PRESETS, IncRecSettings, base, full, na, sized, tiny
from models.inputs import Ragged

CATALOGUE = Catalogue.empty(4, None, 8).grown(np.arange(100, 120))
PROBABILITIES = np.full(CATALOGUE.rows, 1 / 20)


def requests(history: list, etg: list, rtg: list, itg: list) -> inputs.Batch:
    """Rows of increc_samples by their lists; every action is a click."""
    histories = Ragged.of(history)
    return {
        "user_id": np.arange(len(history)),
        "history_item_ids": histories,
        "history_actions": histories.map(np.ones(len(histories.values), np.int32)),
        "etg_item_ids": Ragged.of(etg),
        "rtg_item_ids": Ragged.of(rtg),
        "itg_item_ids": Ragged.of(itg),
    }


ROWS = requests(
    history=[[100, 101], [], [110]],
    etg=[[102, 103], [104], []],
    rtg=[[103], [105, 106], []],
    itg=[[107], [], [108, 109]],
)


def assembled(settings: IncRecSettings, rows: inputs.Batch = ROWS, seed: int = 1) -> dict:
    return increc_inputs.assemble(rows, CATALOGUE, PROBABILITIES, settings, np.random.default_rng(seed))


def row(*ids: int) -> list[int]:
    return CATALOGUE.lookup(np.array(ids)).tolist()


def test_a_batch_has_what_its_signature_says():
    batch = assembled(tiny())
    assert batch.keys() == increc_inputs.SIGNATURE.keys()
    for name, spec in increc_inputs.SIGNATURE.items():
        assert spec.is_compatible_with(tf.convert_to_tensor(batch[name])), name


def test_targets_and_masks_by_hand():
    batch = assembled(replace(tiny(), uniform_negatives=3))
    targets = list(zip(*(batch[name] for name in ("target_requests", "target_slots", "target_is_itg")), strict=True))
    expected = [(0, 103, False), (1, 105, False), (1, 106, False), (0, 107, True), (2, 108, True), (2, 109, True)]
    items = CATALOGUE.item_ids[batch["pool_rows"] - CATALOGUE.first_row]
    assert [(request, items[slot], itg) for request, slot, itg in targets] == expected
    own = [set(batch["pool_rows"][mask]) for mask in batch["own"]]
    rtg = [set(batch["pool_rows"][mask]) for mask in batch["own_rtg"]]
    assert rtg == [set(row(103)), set(row(105, 106)), set()]
    assert set(row(103, 107)) <= own[0] <= set(row(102, 103, 107))  # 102 and 104 only if the uniform draws hold them
    assert set(row(105, 106)) <= own[1] <= set(row(104, 105, 106))
    assert own[2] == set(row(108, 109))
    assert batch["pool_draws"].sum() == 6 + 3
    assert len(set(batch["pool_rows"])) == len(batch["pool_rows"])
    assert batch["pool_rows"].min() >= CATALOGUE.first_row  # never padding, never an unknown bucket


def test_masks_agree_with_plain_loops():
    random = np.random.default_rng(0)
    for seed in range(10):
        lists = [
            [random.choice(np.arange(100, 120), random.integers(0, 6), replace=False).tolist() for _ in range(8)]
            for _ in range(3)
        ]
        rows = requests([[100]] * 8, *lists)
        batch = assembled(replace(tiny(), uniform_negatives=8), rows, seed)
        for request in range(8):
            own = {item for group in lists for item in group[request]}
            for slot, pool_row in enumerate(batch["pool_rows"]):
                item = CATALOGUE.item_ids[pool_row - CATALOGUE.first_row]
                assert batch["own"][request, slot] == (item in own)
                assert batch["own_rtg"][request, slot] == (item in lists[1][request])


def test_drawn_takes_short_lists_whole_and_long_ones_evenly():
    lists = Ragged.of([[1, 2, 3, 4], [5], []])
    counts = np.zeros(6)
    for seed in range(400):
        taken = increc_inputs.drawn(lists, 2, np.random.default_rng(seed))
        assert taken.lengths.tolist() == [2, 1, 0]
        assert len(set(taken.values)) == 3
        counts[taken.values] += 1
    assert counts[5] == 400
    assert abs(counts[1:5] - 200).max() < 50


def terms(model: IncRec, batch: dict) -> dict[str, float]:
    for term in model.terms.values():
        term.reset_state()
    model.compute_loss({name: tf.convert_to_tensor(value) for name, value in batch.items()})
    return {name: float(term.result()) for name, term in model.terms.items() if float(term.count)}


def test_the_loss_terms_by_loops():
    """Every term of `full`, against the sums of models.md written out."""
    settings = replace(tiny(), uniform_negatives=12, temperature=0.3, itg_weight=2.0)
    model = IncRec(settings, CATALOGUE, seed=3)
    batch = assembled(settings)
    user = {name: vectors.numpy() for name, vectors in model._user_vectors(batch).items()}
    item = model.item_tower(np.arange(CATALOGUE.rows)).numpy()
    pool, draws = batch["pool_rows"], batch["pool_draws"]

    def logit(tower, request, item_row):
        return float(user[tower][request] @ item[item_row]) / 0.3

    def loss(tower, request, positive, rtg_too=False):
        total = np.exp(logit(tower, request, positive))
        expected = 6 / 20 + 12 / 20  # 6 targets in the batch, each item with probability 1/20; 12 uniform draws of 20
        for slot, negative in enumerate(pool):
            if not batch["own"][request, slot]:
                total += draws[slot] * np.exp(logit(tower, request, negative)) / expected
            elif rtg_too and batch["own_rtg"][request, slot]:
                total += np.exp(logit(tower, request, negative))
        return np.log(total) - logit(tower, request, positive)

    rtg = [(0, 103), (1, 105), (1, 106)]
    itg = [(0, 107), (2, 108), (2, 109)]
    basic = [loss("basic", r, row(i)[0]) for r, i in rtg] + [2 * loss("basic", r, row(i)[0]) for r, i in itg]
    align = [loss("align", r, row(i)[0]) for r, i in [(0, 102), (0, 103), (1, 104)]]
    exposed = row(102, 103, 104)
    affinity = np.array(
        [user["align"][r] @ item[max(exposed, key=lambda e, i=i: item[e] @ item[row(i)[0]])] for r, i in itg]
    )
    alpha = 1 / (1 + np.exp(-(affinity - affinity.mean()) / affinity.std()))
    alpha /= alpha.mean()
    inc = alpha * [loss("inc", r, row(i)[0], rtg_too=True) for r, i in itg]
    found = terms(model, batch)
    assert found["loss_basic"] == pytest.approx(sum(basic) / 9, rel=1e-5)
    assert found["loss_align"] == pytest.approx(np.mean(align), rel=1e-5)
    assert found["loss_inc"] == pytest.approx(np.mean(inc), rel=1e-3)
    assert 0 < found["rtg_share_of_loss_inc"] < 1
    whole = model.compute_loss({name: tf.convert_to_tensor(value) for name, value in batch.items()})
    assert float(whole) == pytest.approx(found["loss_basic"] + found["loss_inc"] + found["loss_align"], rel=1e-5)


def test_request_scope_gives_alpha_one_without_an_exposed_item():
    settings = replace(tiny(), alpha="request", exposures_per_request=10)
    model = IncRec(settings, CATALOGUE, seed=3)
    batch = {name: tf.convert_to_tensor(value) for name, value in assembled(settings).items()}
    user, requests_T = model._user_vectors(batch)["align"], tf.constant([0, 0, 2])
    alpha = model._alpha(batch, user, model.item_tower(tf.constant(row(107, 110, 108))), requests_T).numpy()
    assert alpha[2] == 1
    assert alpha[:2].mean() == pytest.approx(1, abs=1e-5)


def test_a_batch_without_some_group_still_has_a_finite_loss_and_gradient():
    model = IncRec(tiny(), CATALOGUE, seed=1)
    for etg, rtg, itg in itertools.product(([[102]], [[]]), ([[103]], [[]]), ([[107]], [[]])):
        model.step(assembled(model.settings, requests([[]], etg, rtg, itg)))
        assert all(np.isfinite(term.result()) for term in model.terms.values())
    assert np.isfinite(model.item_vectors(CATALOGUE.item_ids)).all()


def test_presets_are_what_models_md_says():
    towers = {name: {*IncRec(sized(preset(), "tiny"), CATALOGUE, 1).user_towers} for name, preset in PRESETS.items()}
    assert towers["base"] == towers["boost"] == {"basic"}
    assert towers["ori"] == towers["na"] == {"inc"}
    assert towers["full"] == towers["tiny"] == {"basic", "inc", "align"}
    assert (base().serving, na().serving, full().serving) == ("basic", "inc", "inc")
    assert (PRESETS["base"]().itg_weight, PRESETS["boost"]().itg_weight) == (1.0, 3.0)
    assert [PRESETS[name]().alpha for name in ("base", "boost", "ori", "na", "full")] == ["none"] * 4 + ["batch"]
    assert [PRESETS[name]().rtg_negatives for name in ("base", "boost", "ori", "na", "full")] == [False] * 3 + [
        True
    ] * 2


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        ({"weight_inc": 1.0, "alpha": "world"}, "alpha is 'world', should be"),
        ({"weight_inc": 1.0, "alpha": "batch"}, "alpha needs the alignment tower"),
        ({"weight_align": 1.0}, "no tower would serve"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(faulty, says):
    with pytest.raises(ValueError, match=says):
        IncRecSettings(**faulty)


def test_the_export_functions_give_the_same_vectors():
    model = IncRec(tiny(), CATALOGUE, seed=1)
    users = model.user_vectors(ROWS)
    history = ROWS["history_item_ids"].padded(2, newest_first=True)
    actions = ROWS["history_actions"].padded(2, newest_first=True).astype(np.int32)
    exported = tf.function(model.user_vectors_of)(tf.constant(history), tf.constant(actions), tf.zeros(3, tf.int64))
    np.testing.assert_allclose(exported, users, atol=1e-6)
    ids = np.array([100, 119, 5, 2**40])
    np.testing.assert_allclose(model.item_vectors_of(tf.constant(ids)), model.item_vectors(ids), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors(ids), axis=1), 1, rtol=1e-5)
    assert model.item_vocabulary.tolist() == list(range(100, 120))
    assert model.user_vectors(inputs.take(ROWS, np.zeros(0, int))).shape == (0, 16)
