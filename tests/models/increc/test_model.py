"""IncRec's batches, loss terms and vectors."""

import itertools
from dataclasses import asdict, replace

import models  # noqa: F401 isort: skip
import numpy as np
import pytest
import tensorflow as tf

from models import batches
from models.batches import Ragged
from models.increc import inputs as increc_inputs
from models.increc import objective
from models.increc.losses import ALPHA_FORMS, AlphaForm, step
from models.increc.model import IncRec
from models.increc.presets import ABLATIONS, ALPHAS, BLENDS, PRESETS, base, full, na, sized
from models.increc.settings import IncRecSettings
from models.item_vocabulary import Catalogue

CATALOGUE = Catalogue.empty(4, None, 8).grown(np.arange(100, 120))
PROBABILITIES = np.full(CATALOGUE.rows, 1 / 20)
TINY = sized(full(), "tiny")


def requests(history: list, etg: list, rtg: list, itg: list, retrieved: list | None = None) -> batches.Batch:
    """Rows of increc_samples by their lists; every action is a click; RTG items are all that was retrieved, if None."""
    found = Ragged.of(rtg if retrieved is None else retrieved)
    histories = Ragged.of(history)
    return {
        "user_id": np.arange(len(history)),
        "history_item_ids": histories,
        "history_actions": histories.map(np.ones(len(histories.values), np.int32)),
        "etg_item_ids": Ragged.of(etg),
        "rtg_item_ids": Ragged.of(rtg),
        "itg_item_ids": Ragged.of(itg),
        "retrieved_rows": found.map(CATALOGUE.lookup(found.values)),
    }


ROWS = requests(
    history=[[100, 101], [], [110]],
    etg=[[102, 103], [104], []],
    rtg=[[103], [105, 106], []],
    itg=[[107], [], [108, 109]],
)


def assembled(settings: IncRecSettings, rows: batches.Batch = ROWS, seed: int = 1) -> dict:
    return increc_inputs.assemble(rows, CATALOGUE, PROBABILITIES, settings, np.random.default_rng(seed))


def row(*ids: int) -> list[int]:
    return CATALOGUE.lookup(np.array(ids)).tolist()


def test_a_batch_has_what_its_signature_says():
    batch = assembled(TINY)
    assert batch.keys() == increc_inputs.SIGNATURE.keys()
    for name, spec in increc_inputs.SIGNATURE.items():
        assert spec.is_compatible_with(tf.convert_to_tensor(batch[name])), name


def test_targets_and_masks_by_hand():
    batch = assembled(replace(TINY, uniform_negatives=3))
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
        batch = assembled(replace(TINY, uniform_negatives=8), rows, seed)
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
        taken = lists.where(increc_inputs.drawn(lists, 2, np.random.default_rng(seed)))
        assert taken.lengths.tolist() == [2, 1, 0]
        assert len(set(taken.values)) == 3
        counts[taken.values] += 1
    assert counts[5] == 400
    assert abs(counts[1:5] - 200).max() < 50


def test_e_star_is_looked_for_among_all_exposed_items_of_a_request():
    few = replace(TINY, exposures_per_request=1)
    batch = assembled(few)
    assert batch["exposed_requests"].tolist() == [0, 1]
    assert batch["exposed_drawn"].tolist() == [True, True]
    every = assembled(replace(few, alpha="request"))
    assert every["exposed_rows"].tolist() == row(102, 103, 104)
    assert every["exposed_requests"].tolist() == [0, 0, 1]
    assert every["exposed_rows"][every["exposed_drawn"]].tolist() == batch["exposed_rows"].tolist()  # for L_align
    assert [len(every[name]) for name in ("target_slots", "pool_rows")] == [
        len(batch[name]) for name in ("target_slots", "pool_rows")
    ]


def test_some_of_a_history_is_trained_as_unknown():
    known, hidden = (assembled(replace(TINY, unknown_share=share)) for share in (0.0, 1.0))
    assert known["history_rows"][:, :3].tolist() == [[*row(101, 100), 0], [0, 0, 0], [*row(110), 0, 0]]
    assert ((hidden["history_rows"] > 0) == (known["history_rows"] > 0)).all()
    assert hidden["history_rows"].max() <= 4  # the unknown buckets
    assert (hidden["history_actions"] == known["history_actions"]).all()
    for name in ("pool_rows", "target_slots", "exposed_rows"):
        np.testing.assert_array_equal(hidden[name], known[name])
    model = IncRec(replace(TINY, unknown_share=1.0), CATALOGUE, seed=1)
    before = model.item_tower.ids.numpy()
    model.step(hidden)
    moved = np.flatnonzero((model.item_tower.ids.numpy() != before).any(axis=1))
    assert {*hidden["history_rows"][hidden["history_rows"] > 0]} <= {*moved}


def terms(model: IncRec, batch: dict) -> dict[str, float]:
    for term in model.terms.values():
        term.reset_state()
    model.compute_loss({name: tf.convert_to_tensor(value) for name, value in batch.items()})
    return {name: float(term.result()) for name, term in model.terms.items() if float(term.count)}


def test_the_loss_terms_by_loops():
    """Every term of `full`, against the sums of models.md written out."""
    settings = replace(TINY, uniform_negatives=12, temperature=0.3, itg_weight=2.0)
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


def alpha_of(settings: IncRecSettings, **changed) -> tuple[np.ndarray, float]:
    """alpha of the ITG rows of `ROWS`, 107 of request 0, 108 and 109 of request 2; its correlation with popularity."""
    model = IncRec(settings, CATALOGUE, seed=3)
    batch = {name: tf.convert_to_tensor(value) for name, value in (assembled(settings) | changed).items()}
    alpha_T, measured = objective.alpha(settings, batch, model._vectors(batch))
    return alpha_T.numpy(), float(measured["alpha_popularity_correlation"])


def test_request_scope_gives_alpha_one_without_an_exposed_item():
    rows = requests([[]] * 3, etg=[[102, 103], [104], []], rtg=[[]] * 3, itg=[[107], [110], [108]])
    settings = replace(TINY, alpha="request")
    alpha, _ = alpha_of(settings, **assembled(settings, rows))
    assert alpha[2] == 1
    assert alpha[:2].mean() == pytest.approx(1, abs=1e-5)
    assert abs(alpha[0] - alpha[1]) > 0.1


def test_controls_follow_chance_and_popularity():
    # z of 1, 2, 3 is -1.22474, 0, 1.22474; sigmoids .22710, .5, .77290, mean .5.
    wanted = [0.45420, 1.0, 1.54580]
    batch = assembled(TINY)
    chances = np.array([0, 0, 0, 0.3, 0.2, 0.1], np.float32)
    probabilities = np.full(len(batch["pool_rows"]), 0.5, np.float32)
    probabilities[batch["target_slots"][3:]] = np.exp([-3.0, -2.0, -1.0])
    changed = {"target_chances": chances, "pool_probabilities": probabilities}
    random, against = alpha_of(replace(TINY, alpha_form="random"), **changed)
    popular, along = alpha_of(replace(TINY, alpha_form="popularity"), **changed)
    affine, _ = alpha_of(TINY, **changed)
    assert (random[::-1], popular) == (pytest.approx(wanted, 1e-4), pytest.approx(wanted, 1e-4))
    assert (against, along) == (pytest.approx(-1, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert not any(np.allclose(affine, one, atol=0.05) for one in (random, popular))


def test_without_logq_every_draw_counts_once():
    settings = replace(TINY, uniform_negatives=12, logq=False)
    batch = assembled(settings)
    np.testing.assert_allclose(objective.log_count(settings, batch, 20), -np.log(batch["pool_draws"]))
    corrected = objective.log_count(replace(settings, logq=True), batch, 20)
    np.testing.assert_allclose(corrected, np.log((6 + 12) / 20) - np.log(batch["pool_draws"]), rtol=1e-5)


def test_the_share_of_rtg_is_of_the_weighted_loss(monkeypatch):
    """Of two ITG rows, one of alpha 2 and one of alpha 0, only the first one's request has an RTG item."""
    monkeypatch.setitem(ALPHA_FORMS, "lot", AlphaForm("chance", step))
    rows = requests([[]] * 2, etg=[[102], [103]], rtg=[[104], []], itg=[[107], [108]])
    settings, shares = replace(TINY, alpha_form="lot"), {}
    for first, chances in (("counts", [0, 1, 0]), ("does not", [0, 0, 1])):
        model = IncRec(settings, CATALOGUE, seed=3)
        batch = assembled(settings, rows) | {"target_chances": np.array(chances, np.float32)}
        shares[first] = terms(model, batch)["rtg_share_of_loss_inc"]
    assert shares["counts"] > 0
    assert shares["does not"] == 0


def test_no_three_gradients_are_added_in_the_order_of_threads():
    """The graph optimizer may rewrite AddN to add what comes first, so only two may meet there."""
    for name in ("full", "full_request", "base_aligned", "residual_1", "exposable"):
        model = IncRec(sized(PRESETS[name](), "tiny"), CATALOGUE, seed=1)
        operations = model.step.get_concrete_function().graph.get_operations()
        assert [one.name for one in operations if one.type == "AddN" and len(one.inputs) > 2] == []


def test_a_batch_without_some_group_still_has_a_finite_loss_and_gradient():
    model = IncRec(TINY, CATALOGUE, seed=1)
    for etg, rtg, itg in itertools.product(([[102]], [[]]), ([[103]], [[]]), ([[107]], [[]])):
        model.step(assembled(model.settings, requests([[]], etg, rtg, itg)))
        assert all(np.isfinite(term.result()) for term in model.terms.values())
    assert np.isfinite(model.item_vectors(CATALOGUE.item_ids)).all()


def test_no_weights_of_two_seeds_are_alike():
    """Towers, roles and seeds: whatever is not all one number begins with numbers of its own."""
    begins = [
        tuple(np.ravel(weight)[:3])
        for seed in range(12)
        for weight in IncRec(TINY, CATALOGUE, seed).get_weights()
        if np.ndim(weight) == 2 and np.ptp(weight)
    ]
    assert len(begins) > 12 * 4
    assert len({*begins}) == len(begins)


def test_presets_are_what_models_md_says():
    towers = {name: {*IncRec(sized(preset(), "tiny"), CATALOGUE, 1).user_towers} for name, preset in PRESETS.items()}
    assert towers["base"] == towers["boost"] == {"basic"}
    assert towers["ori"] == towers["na"] == {"inc"}
    assert towers["base_aligned"] == {"basic", "align"}
    assert all(towers[name] == {"basic", "inc", "align"} for name in PRESETS if name.startswith(("full", "alpha")))
    assert (base().serving, na().serving, full().serving) == ({"basic": 1}, {"inc": 1}, {"inc": 1})
    assert (PRESETS["base"]().itg_weight, PRESETS["boost"]().itg_weight) == (1.0, 3.0)
    assert [PRESETS[name]().alpha for name in ("base", "boost", "ori", "na", "full")] == ["none"] * 4 + ["batch"]
    assert [PRESETS[name]().rtg_negatives for name in ("base", "boost", "ori", "na", "full")] == [False] * 3 + [
        True
    ] * 2


def test_ablations_change_one_thing():
    changes = {
        name: {key: value for key, value in asdict(PRESETS[name]()).items() if value != asdict(one)[key]}
        for one, names in ((full(), [preset.__name__ for preset in ABLATIONS[:-1]]), (base(), ["base_aligned"]))
        for name in names
    }
    assert changes == {
        "full_request": {"alpha": "request"},
        "full_without_alpha": {"alpha": "none"},
        "full_without_rtg": {"rtg_negatives": False},
        "full_without_logq": {"logq": False},
        "base_aligned": {"weight_align": 1.0},
    }
    assert {(one().alpha_form, one().alpha_threshold) for one in ALPHAS.values()} == {
        (form, threshold) for form in ("sigmoid", "linear", "step") for threshold in (-1, -0.5, 0, 0.5, 1)
    } - {("sigmoid", 0)} | {("random", 0), ("popularity", 0)}
    assert {one().alpha_form for one in ALPHAS.values()} == {*ALPHA_FORMS}
    assert len({str(asdict(preset())) for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in BLENDS])  # those train as full does
def test_every_preset_learns_from_a_batch(preset):
    model = IncRec(sized(PRESETS[preset](), "tiny"), CATALOGUE, seed=1)
    before = {one.name: one.numpy() for one in model.trainable_variables}
    batch = assembled(model.settings)
    model.step(batch)
    assert all(np.isfinite(one).all() for one in model.trainable_variables)
    for tower in model.user_towers:  # the tower of every term, and the item's
        assert any(np.any(one.numpy() != before[one.name]) for one in model.trainable_variables if tower in one.name)
    rows = model.item_tower.ids.numpy()
    assert (rows != before[model.item_tower.ids.name]).any()


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


def test_an_unknown_form_of_alpha_is_refused():
    with pytest.raises(ValueError, match="alpha_form is 'best', should be one of sigmoid, linear, step, random, popu"):
        IncRec(replace(TINY, alpha_form="best"), CATALOGUE, seed=1)


def test_the_export_functions_give_the_same_vectors():
    model = IncRec(TINY, CATALOGUE, seed=1)
    users = model.user_vectors(ROWS)
    history = ROWS["history_item_ids"].padded(2, newest_first=True)
    actions = ROWS["history_actions"].padded(2, newest_first=True).astype(np.int32)
    exported = tf.function(model.user_vectors_of)(tf.constant(history), tf.constant(actions), tf.zeros(3, tf.int64))
    np.testing.assert_allclose(exported, users, atol=1e-6)
    ids = np.array([100, 119, 5, 2**40])
    np.testing.assert_allclose(model.item_vectors_of(tf.constant(ids)), model.item_vectors(ids), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors(ids), axis=1), 1, rtol=1e-5)
    assert model.item_vocabulary.tolist() == list(range(100, 120))
    assert model.user_vectors(batches.take(ROWS, np.zeros(0, int))).shape == (0, 16)
