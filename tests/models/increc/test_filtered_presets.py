"""IncRec's objectives that should survive filtering: their losses by hand, what serves, what is masked."""

from argparse import Namespace
from dataclasses import asdict, replace
from datetime import timedelta

import models  # noqa: F401 isort: skip
import numpy as np
import pytest
import tensorflow as tf

from jobs import evaluate_increc, train_increc
from jobs.command.cli import WorkFailedError
from jobs.evaluation.increc import Judge, Settings
from jobs.study.definitions import increc_filtered
from jobs.training.masks import Retrieved
from models import batches
from models.increc import objective, presets
from models.increc.model import IncRec
from models.increc.objective import Vectors
from models.increc.presets import FILTERED, PRESETS, base, base_aligned, full, ori, sized
from models.increc.settings import IncRecSettings
from models.item_vocabulary import Catalogue
from schemas.table import MissingDataError
from tests.jobs.test_evaluate_increc import DAY, write_logs, write_samples, write_stats
from tests.models.increc.test_model import CATALOGUE, ROWS, assembled, requests, row, terms
from tests.support.tiny_root import put, put_delta

# One request with the RTG item v0 and the ITG item v1; v2 and v3 are others', and v3 was retrieved for it.
# Logits at temperature 1: u_basic (1, 0) gives 1, 0, -1, 0; u_inc (0, 1) gives 0, 1, 0, -1.
POOL = tf.constant([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
BASIC, INC = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
BATCH = {
    "target_slots": tf.constant([0, 1]),
    "target_requests": tf.constant([0, 0]),
    "target_is_itg": tf.constant([False, True]),
    "own": tf.constant([[True, True, False, False]]),
    "own_rtg": tf.constant([[True, False, False, False]]),
    "retrieved": tf.constant([[True, False, False, True]]),
}
BOTH = IncRecSettings(weight_basic=1.0, weight_inc=1.0, temperature=1.0)


def vectors(basic=BASIC, inc=INC) -> Vectors:
    pools = {"basic": POOL, "inc": POOL, "align": POOL}
    return Vectors({"basic": basic, "inc": inc, "align": inc}, pools, tf.zeros((0, 2)), tf.zeros(4))


def loss(term: str, settings: IncRecSettings, given: Vectors | None = None) -> float:
    function = {"basic": objective.basic, "inc": objective.incremental}[term]
    return float(function(settings, BATCH, given or vectors())[f"loss_{term}"])


# The RTG row: log(e^1 + e^-1 + e^0) - 1. The ITG row: log(e^0 + e^-1 + e^0), and without v3 log(e^0 + e^-1).
RTG_LOSS, ITG_LOSS, ITG_MASKED = 0.407606, 0.861995, 0.313262


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, 0.634800), (0.5, 0.710532), (0.25, 0.771117), (0.0, ITG_LOSS)]
)  # (w RTG_LOSS + ITG_LOSS) / (w + 1)
def test_the_weight_of_rtg_by_hand(weight, expected):
    assert loss("basic", replace(BOTH, rtg_weight=weight)) == pytest.approx(expected, rel=1e-5)


def test_the_ends_of_rtgs_weight_are_base_and_ori():
    of_base, of_ori = replace(base(), temperature=1.0), replace(ori(), temperature=1.0)
    assert loss("basic", replace(of_base, rtg_weight=1.0)) == loss("basic", of_base)
    assert loss("basic", replace(of_base, rtg_weight=0.0)) == loss("inc", of_ori, vectors(inc=BASIC))
    ratio = replace(of_base, rtg_weight=1 / 3)
    assert loss("basic", ratio) == pytest.approx(loss("basic", replace(of_base, itg_weight=3.0)), rel=1e-6)


def test_masks_leave_retrieved_items_out_of_itg_rows_alone():
    masks = replace(BOTH, mask_retrieved=True)
    assert loss("basic", masks) == pytest.approx((RTG_LOSS + ITG_MASKED) / 2, rel=1e-5)
    assert loss("basic", replace(masks, rtg_weight=0.0)) == pytest.approx(ITG_MASKED, rel=1e-5)
    # By u_inc: v1 against v2 alone, log(e^1 + e^0) - 1; an explicit RTG negative, v0, is there in spite of the mask.
    assert loss("inc", masks) == pytest.approx(0.313262, rel=1e-5)
    assert loss("inc", replace(masks, rtg_negatives=True)) == pytest.approx(0.551445, rel=1e-5)


def test_the_residual_by_hand():
    # w = 2, of a share of 2/3. Of v1, v2, v3: 0 + 2, -1 + 0, 0 - 2; log(e^2 + e^-1 + e^-2) - 2, masked without e^-2.
    settings = replace(BOTH, residual=True, inc_share=2 / 3)
    assert loss("inc", settings) == pytest.approx(0.065884, abs=2e-6)
    assert loss("inc", replace(settings, mask_retrieved=True)) == pytest.approx(0.048587, abs=2e-6)
    assert loss("inc", replace(settings, inc_share=0.0)) == pytest.approx(ITG_LOSS, rel=1e-5)  # base's score alone


def test_a_residual_leaves_bases_score_alone():
    settings = replace(BOTH, residual=True, inc_share=0.5)
    pool = {name: tf.Variable(POOL) for name in ("basic", "inc")}
    users = {"basic": tf.Variable(BASIC), "inc": tf.Variable(INC)}
    with tf.GradientTape() as tape:
        given = Vectors(users, pool, tf.zeros((0, 2)), tf.zeros(4))
        learned = objective.incremental(settings, BATCH, given)["loss_inc"]
    passed = tape.gradient(learned, [users["basic"], pool["basic"], users["inc"], pool["inc"]])
    assert passed[:2] == [None, None]
    assert all(np.abs(tf.convert_to_tensor(one)).max() > 0.01 for one in passed[2:])


def test_exposure_weighs_itg_rows_by_their_own_chance():
    # u_align (0, 1): v1 scores 1; exposed are (0, 1) and (1, 0) with 1 and 0, mean .5: sigmoid(.5).
    exposed = {"exposed_requests": tf.constant([0, 0]), "exposed_drawn": tf.constant([True, True])}
    given = vectors()._replace(exposed=tf.constant([[0.0, 1.0], [1.0, 0.0]]))
    settings = replace(BOTH, weight_align=1.0, alpha="exposure")
    found = objective.incremental(settings, BATCH | exposed, given)
    assert float(found["exposure_chance"]) == pytest.approx(0.622459, rel=1e-5)
    # The row alone is log(e^1 + e^0 + e^-1) - 1, as RTG_LOSS is; a mean over rows, so the chance stays.
    assert float(found["loss_inc"]) == pytest.approx(0.622459 * RTG_LOSS, rel=1e-5)


def permuted(batch: dict, order: np.ndarray, random: np.random.Generator) -> dict:
    """The same batch with its requests in another order, and the rows of targets and of exposed items in another."""
    moved = dict(batch)
    for name in ("history_rows", "history_actions", "user_buckets", "own", "own_rtg", "retrieved"):
        moved[name] = batch[name][order]
    for group in ("target_", "exposed_"):
        names = [name for name in batch if name.startswith(group)]
        rows = random.permutation(len(batch[names[0]]))
        moved |= {name: batch[name][rows] for name in names}
        moved[f"{group}requests"] = np.argsort(order).astype(np.int32)[moved[f"{group}requests"]]
    return moved


@pytest.mark.parametrize("preset", ["full", "rtg_weight_half", "exposable", "residual_masked", "blend_half"])
def test_another_order_of_requests_changes_nothing(preset):
    random = np.random.default_rng(4)
    lists = [[random.choice(np.arange(100, 120), 3, replace=False).tolist() for _ in range(9)] for _ in range(5)]
    rows = requests(*lists[:4], retrieved=lists[4])
    model = IncRec(sized(PRESETS[preset](), "tiny"), CATALOGUE, seed=3)
    model.step(assembled(model.settings, rows))
    batch, order = assembled(model.settings, rows), random.permutation(9)
    assert terms(model, permuted(batch, order, random)) == pytest.approx(terms(model, batch), rel=1e-4, abs=1e-5)
    served = model.user_vectors(batches.take(rows, order))
    np.testing.assert_allclose(served, model.user_vectors(rows)[order], atol=1e-6)


def test_a_residual_without_weight_is_base():
    """It serves base's very vectors, and training it moves nothing that base has otherwise than base does."""
    control = IncRec(sized(base_aligned(), "tiny"), CATALOGUE, seed=1)
    nothing = IncRec(sized(presets.residual(0.0), "tiny"), CATALOGUE, seed=1)
    np.testing.assert_array_equal(nothing.user_vectors(ROWS), control.user_vectors(ROWS))
    for model in (control, nothing):
        model.step(assembled(model.settings))
    left = {one.name: one.numpy() for one in nothing.trainable_variables}
    for one in control.trainable_variables:
        np.testing.assert_allclose(left[one.name], one.numpy(), atol=1e-5, err_msg=one.name)


def test_a_blend_serves_both_towers_at_unit_length():
    model = IncRec(sized(presets.blend(0.25), "tiny"), CATALOGUE, seed=1)
    alone = {}
    for name, share in (("basic", 0.0), ("inc", 1.0)):
        model.settings = replace(model.settings, inc_share=share)
        assert model.settings.serving == {name: 1.0}
        alone[name] = model.user_vectors(ROWS)
    model.settings = replace(model.settings, inc_share=0.25)
    assert model.settings.serving == {"basic": 0.75, "inc": 0.25}
    wanted = 0.75 * alone["basic"] + 0.25 * alone["inc"]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(model.user_vectors(ROWS), wanted, atol=1e-6)
    history, actions = (ROWS[f"history_{name}"].padded(2, newest_first=True) for name in ("item_ids", "actions"))
    exported = tf.function(model.user_vectors_of)(history, actions.astype(np.int32), tf.zeros(3, tf.int64))
    np.testing.assert_allclose(exported, wanted, atol=1e-6)


def test_a_residual_serves_the_sum_that_it_learned():
    for weight in (0.5, 1.0, 2.0):
        settings = presets.residual(weight)
        assert settings.residual_weight == pytest.approx(weight)
        assert settings.serving["inc"] / settings.serving["basic"] == pytest.approx(weight)


def test_what_was_retrieved_is_masked_only_where_the_settings_say_so():
    rows = requests([[]] * 2, [[]] * 2, rtg=[[103], [104]], itg=[[107], [108]], retrieved=[[103, 108, 119], []])
    settings = replace(sized(full(), "tiny"), uniform_negatives=400)  # so the pool holds every item
    batch = assembled(replace(settings, mask_retrieved=True), rows)
    assert [set(batch["pool_rows"][mask]) for mask in batch["retrieved"]] == [set(row(103, 108, 119)), set()]
    assert not assembled(settings, rows)["retrieved"].any()


def test_presets_change_one_thing_and_are_equally_tuned():
    changed = {
        name: {key: value for key, value in asdict(preset()).items() if value != asdict(one)[key]}
        for one, starts in ((base_aligned(), ("rtg", "res", "mask", "base")), (full(), ("blend", "expos", "full")))
        for name, preset in FILTERED.items()
        if name.startswith(starts)
    }
    residual = {"weight_inc": 1.0, "residual": True}
    assert changed == {
        "rtg_weight_0": {"rtg_weight": 0.0},
        "rtg_weight_quarter": {"rtg_weight": 0.25},
        "rtg_weight_half": {"rtg_weight": 0.5},
        "residual_half": residual | {"inc_share": pytest.approx(1 / 3)},
        "residual_1": residual | {"inc_share": 0.5},
        "residual_2": residual | {"inc_share": pytest.approx(2 / 3)},
        "residual_masked": residual | {"inc_share": 0.5, "mask_retrieved": True},
        "masked": {"mask_retrieved": True},
        "blend_0": {"inc_share": 0.0},
        "blend_quarter": {"inc_share": 0.25},
        "blend_half": {"inc_share": 0.5},
        "blend_three_quarters": {"inc_share": 0.75},
        "exposable": {"alpha": "exposure"},
        "base_aligned_with_item_cf": {"item_cf_share": 0.5},
        "full_with_item_cf": {"item_cf_share": 0.5},
    }
    study = increc_filtered()
    compared = {variant.name: study.settings(variant) for variant in study.variants}
    assert {*compared} == {*FILTERED, "base_aligned", "base", "boost", "full"}
    tuned = {(one.temperature, one.uniform_negatives, one.learning_rate, one.epochs) for one in compared.values()}
    assert tuned == {(0.4, 2048, 0.1, 4)}
    assert compared["full"].alpha == "batch"


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        ({"weight_basic": 1.0, "weight_inc": 1.0, "inc_share": 1.5}, "inc_share is 1.5, should be from 0 to 1"),
        ({"weight_inc": 1.0, "inc_share": 0.5}, "need both towers"),
        ({"weight_basic": 1.0, "residual": True, "inc_share": 0.5}, "need both towers"),
        ({"weight_basic": 1.0, "weight_inc": 1.0, "residual": True}, "inc_share must be below 1"),
        ({"weight_inc": 1.0, "item_cf_share": 1.0}, "item_cf_share is 1.0, should be from 0 to below 1"),
        ({"weight_inc": 1.0, "alpha": "exposure"}, "alpha needs the alignment tower"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(faulty, says):
    with pytest.raises(ValueError, match=says):
        IncRecSettings(**faulty)


BEFORE = DAY - timedelta(1)


@pytest.fixture
def root(tmp_path):
    """Samples and item_stats of two days, retrievals of the later one."""
    for day in (BEFORE, DAY):
        write_samples(tmp_path, day)
        write_stats(tmp_path, day)
    write_logs(tmp_path)
    return tmp_path


def test_what_was_retrieved_is_read_for_requests_with_an_itg_item(tmp_path):
    catalogue = Catalogue.empty(4, None, 8).grown(np.arange(100, 120))
    sample = ("homepage", None, [], [], [], [])
    put(tmp_path, "increc_samples", DAY, [
        ("a", 1, *sample, [101], ["click"], [102], ["cart"]), ("b", 2, *sample, [], [], [103], ["cart"]),
        ("c", 3, *sample, [104], ["click"], [], []),
    ])  # fmt: skip
    put_delta(tmp_path, "retrievals", DAY, [
        ("b", "hot", [110, 5], []), ("a", "hot", [110, 111], []), ("a", "swing", [101, 110], []),
        ("c", "hot", [112], []),
    ])  # fmt: skip
    found = Retrieved.read(str(tmp_path), [DAY], catalogue).of(["c", "b", "a", "b"])
    lists = [sorted(found.take(np.array([n])).values.tolist()) for n in range(4)]
    assert lists == [[], row(110), row(101, 110, 110, 111), row(110)]  # 5 is unknown, c has no ITG item


def test_masking_needs_the_retrievals_and_ids_that_name_one_request(root):
    catalogue = Catalogue.empty(4, None, 8)
    with pytest.raises(MissingDataError, match=f"logs/retrievals has no date {BEFORE}"):
        Retrieved.read(str(root), [BEFORE], catalogue)
    put_delta(root, "retrievals", BEFORE, [("r00", "hot", [1], [])])
    with pytest.raises(WorkFailedError, match="30 request ids of increc_samples stand in two dates"):
        Retrieved.read(str(root), [BEFORE, DAY], catalogue)


def test_they_are_trained_and_judged_as_any_preset(root):
    put_delta(root, "retrievals", BEFORE, [("r00", "hot", [1], [])])
    flags = ["--root", str(root), "--date", str(BEFORE), "--size", "tiny", "--preset", "residual_masked,blend_half"]
    train_increc.main(train_increc.arg_parser().parse_args(flags), BEFORE)
    manifests = {name: train_increc.ModelDirectory(str(root), "increc", BEFORE, f"{name}-tiny", 1).manifest()
                 for name in ("residual_masked", "blend_half")}  # fmt: skip
    assert manifests["residual_masked"]["serving"] == {"basic": 0.5, "inc": 0.5}
    assert ["logs/retrievals" in each["made_from"] for each in manifests.values()] == [True, False]
    judged = evaluate_increc.main(Namespace(root=str(root), requests=1000), DAY)
    assert judged["models"] == [f"models/increc/date={BEFORE}/{name}-tiny-seed1" for name in sorted(manifests)]


def test_item_cf_is_fused_with_the_same_towers_where_they_are_judged(root):
    """full and full_with_item_cf are one model; the second's order is that of 1/(60 + rank) summed over both lists."""
    names = ("full", "full_with_item_cf")
    flags = ["--root", str(root), "--date", str(BEFORE), "--size", "tiny", "--preset", ",".join(names)]
    train_increc.main(train_increc.arg_parser().parse_args(flags), BEFORE)
    judge = Judge(str(root), DAY, Settings())
    towers, fused = (
        judge._trained(train_increc.ModelDirectory(str(root), "increc", BEFORE, f"{name}-tiny", 1))(0, 3)
        for name in names
    )
    item_cf = judge._untrained["item_cf_twice"](0, 3)
    assert not np.array_equal(np.argsort(-towers), np.argsort(-fused))
    for scores, other, found in zip(towers, item_cf, fused, strict=True):
        ranks = [{item: n for n, item in enumerate(sorted(range(len(of)), key=lambda item: (-of[item], item)), start=1)}
                 for of in (scores.tolist(), other.tolist())]  # fmt: skip
        wanted = [0.5 / (60 + ranks[0][item]) + 0.5 / (60 + ranks[1][item]) for item in range(len(found))]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
