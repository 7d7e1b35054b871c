"""models/hccp/objective.py and hccp_presets.py: which items and labels each objective learns from, and which terms."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf

from models.hccp import model as hccp
from models.hccp.inputs import LEVEL_CODES, SIGNATURE
from models.hccp.networks import Scores
from models.hccp.objective import OBJECTIVES
from models.hccp.presets import EASY, FILTERED, MARGINS, PRESETS, WEIGHTS, full, sized
from models.item_vocabulary import Catalogue
from schemas.vocabulary import Level

P, C, E, R, S, F = (LEVEL_CODES[level] for level in Level)
LN2 = math.log(2)
TERMS = {
    "hybrid": {"loss_response", "loss_global", "loss_local", "loss_margin"},
    "bce_unexposed": {"loss_response"},
    "distillation": {"loss_response", "loss_distillation"},
    "asmol": {"loss_exposed", "loss_clicked", "loss_purchased"},
    "copr": {"loss_response", "loss_alignment"},
    "rank_flow": {"loss_response", "loss_tutor"},
    "fs_rank_net": {"loss_pairs"},
    "fs_lambda_loss": {"loss_pairs"},
    "arf": {"loss_recall", "loss_order"},
    "lcron": {"loss_cascade", "loss_single"},
    "ranker_order": {"loss_response", "loss_order", "loss_easy"},
}
LEFT_OUT = {
    "exposed_only": {"loss_global", "loss_local", "loss_margin"},
    "without_global": {"loss_global"},
    "without_local": {"loss_local"},
    "without_margin_loss": {"loss_margin"},
}


def batch_of(levels, actions, all_scenario_actions, sampling_weights, easy):
    """One request; ranks are the places, rows and histories stand for nothing here."""
    width = len(levels) + len(easy)
    return {
        "history_rows": tf.ones((1, 2), tf.int32),
        "history_actions": tf.ones((1, 2), tf.int32),
        "rows": tf.range(5, 5 + width)[None],
        "counts": tf.zeros((1, width, 4)),
        "levels": tf.constant([levels]),
        "ranks": tf.range(1, len(levels) + 1)[None],
        "actions": tf.constant([actions]),
        "all_scenario_actions": tf.constant([all_scenario_actions]),
        "sampling_weights": tf.constant([sampling_weights], tf.float32),
        "easy": tf.constant([easy]),
    }


# Bought, shown, ranked, filtered but clicked elsewhere; an easy item, and one that is the request's own.
# The ranked one was drawn out of 8, the filtered one out of 20.
BATCH = batch_of([P, E, R, F], [4, 0, 0, 0], [4, 0, 0, 1], [1, 1, 8, 20], [True, False])
# Of all levels, in the teacher's order; enough ordered items for three of COPR's chunks of four.
LONG = batch_of(
    [P, C, E, E, E, R, R, R, R, F, F], [4, 1] + [0] * 9, [4, 1] + [0] * 9, [1] * 5 + [3] * 4 + [9] * 2, [True, True]
)


def losses(objective, scores, batch=BATCH, **changes):
    """Term -> (weight, value) of the one request; both heads say 3 to 1 for every item."""
    scores, heads = tf.constant([scores], tf.float32), tf.fill((1, len(scores)), math.log(3))
    settings = replace(full(), objective=objective, **changes)
    terms = OBJECTIVES[objective](settings, batch, Scores(scores, heads, heads))
    return {name: (term.weight, float(term.losses_B[0])) for name, term in terms.items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_terms_see_what_they_should(objective):
    """With all scores alike every loss is a count of what it compares; the masked easy item is in none of them."""
    alike = losses(objective, [0, 0, 0, 0, 0, 9], weight_auxiliary=0.25)
    assert {*alike} == TERMS[objective]
    plain = {name: value for name, (_, value) in alike.items()}
    yes, no = 2 * math.log(4 / 3), 2 * math.log(4)  # both heads' cross-entropy on what was bought, and on what was not
    gains, discounts = [5, 3, 2, 1, 0], [1 / math.log2(place + 1) for place in range(1, 6)]  # nobody only clicked: no 4
    swaps = sum((gains[i] - gains[j]) * (discounts[i] - discounts[j]) for i in range(5) for j in range(i + 1, 5)) / sum(
        gain * discount for gain, discount in zip(gains, discounts, strict=True)
    )
    wanted = {
        "hybrid": {"loss_response": (yes + no) / 2},
        "bce_unexposed": {"loss_response": (yes + 4 * no) / 5},
        "distillation": {"loss_response": (yes + no) / 2, "loss_distillation": LN2},
        # Softmax over five items: exposed are 1, 2 and the one acted on elsewhere; clicked 1 and 4; purchased 1.
        "asmol": {
            name: n * math.log(5) for name, n in (("loss_exposed", 3), ("loss_clicked", 2), ("loss_purchased", 1))
        },
        # Three ordered items and chunks of four: nothing to align.
        "copr": {"loss_response": (yes + no) / 2, "loss_alignment": 0.0},
        "rank_flow": {"loss_response": (yes + 3 * no) / 4, "loss_tutor": LN2},
        "fs_rank_net": {"loss_pairs": 4 * LN2},  # four tiers have worse ones
        "fs_lambda_loss": {"loss_pairs": swaps * LN2},
        # Alike scores: each item has a fifth of every place, and three places are kept.
        "arf": {"loss_recall": math.log(5), "loss_order": math.log(5)},
        # p = 3/5; the ranker keeps the two exposed, drops the ranked. It saw 1 + 1 + 8 items and kept two, so it would
        # keep 1/5 of the others. Alone: p = 2/5.
        "lcron": {
            "loss_cascade": -(2 * math.log(3 / 5) + 2 * math.log(1 - 3 / 5 * 1 / 5)) / 5,
            "loss_single": -(2 * math.log(2 / 5) + 3 * math.log(3 / 5)) / 5,
        },
        # Who put the bought one before the shown one is not known: each has the ranked one behind it, which has none.
        "ranker_order": {"loss_response": (yes + no) / 2, "loss_order": 2 * LN2 / 3, "loss_easy": LN2},
    }[objective]
    assert {name: plain[name] for name in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    auxiliary = {"loss_distillation", "loss_alignment", "loss_tutor", "loss_single", "loss_easy"}
    auxiliary |= {"loss_order"} if objective == "arf" else set()
    assert all(weight == 0.25 for name, (weight, _) in alike.items() if name in auxiliary)


@pytest.mark.parametrize(
    ("weight", "popularity", "share"),
    [(1.0, 0.0, 1 + 2), (0.5, 0.0, (1 + 2) / 2), (1.0, 1.0, 2 * (1 + 2 * 3) / 4), (1.0, 2.0, 2 * (1 + 2 * 9) / 10)],
)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_filtered_items_count_as_often_as_the_settings_say(weight, popularity, share, temperature):
    """A bought item, a ranked one, and two filtered ones: of no conversions and e^(s/t) 1, of two and 2."""
    counts = np.zeros((1, 4, 4), np.float32)
    counts[0, :, 3] = math.log(9) / 8, math.log(9) / 8, 0, math.log(3) / 8  # filtered: 1 to 3, with a power of 2 1 to 9
    batch = batch_of([P, R, F, F], [4, 0, 0, 0], [4, 0, 0, 0], [1, 8, 9, 9], []) | {
        "counts": tf.constant(counts), "easy": tf.zeros((1, 0), tf.bool)
    }  # fmt: skip
    last = temperature * LN2
    changes = {"margin_ranked": 0.0, "margin_filtered": 0.0, "temperature": temperature}
    found = losses("hybrid", [0, 0, 0, last], batch, filtered_weight=weight, filtered_popularity=popularity, **changes)
    assert found["loss_margin"][1] == pytest.approx(4 * math.log(2 + share), rel=1e-5)  # bought: 1 + 1 + 2
    assert found["loss_local"][1] == pytest.approx(LN2 / 2, rel=1e-5)
    if temperature == 1.0:
        assert found["loss_global"][1] == pytest.approx((math.log(2 + share) + math.log(1 + share)) / 2, rel=1e-5)


def test_a_request_without_filtered_items_has_nothing_to_weigh():
    batch = batch_of([P, R], [4, 0], [4, 0], [1, 8], [True])
    weighed = losses("hybrid", [1, 0, 0], batch, filtered_weight=0.1, filtered_popularity=1.0)
    assert weighed == losses("hybrid", [1, 0, 0], batch)
    with pytest.raises(ValueError, match="filtered_weight is 0, should be above 0"):
        replace(full(), filtered_weight=0)


@pytest.mark.parametrize("objective", [name for name, terms in TERMS.items() if terms != {"loss_response"}])
def test_the_right_order_costs_less_than_its_reverse(objective):
    """Every term that orders; the response sees the heads, which say the same of every item here."""
    width = LONG["rows"].shape[1]
    right = np.linspace(3, -3, width)
    better, worse = (losses(objective, scores, LONG, sort_temperature=5.0) for scores in (right, right[::-1]))
    for name in TERMS[objective] - {"loss_response"}:
        assert 0 < better[name][1] < worse[name][1], name


# The ranker scored the second shadow item below the ranked one, the first above it.
SHADOWED = batch_of([P, E, S, R, S, F], [4] + [0] * 5, [4] + [0] * 5, [1] * 6, [True, False])


def test_a_shadow_item_stands_where_the_ranker_put_it():
    """All scores alike: a term counts what it compares. L_margin has weight 4 of the bought item, and no margins."""

    def values(objective, **changes):
        return {name: value for name, (_, value) in losses(objective, [0] * 7 + [9], SHADOWED, **changes).items()}

    none = {"margin_exposed": 0.0, "margin_ranked": 0.0, "margin_filtered": 0.0}
    hybrid = values("hybrid", **none)
    assert hybrid["loss_global"] == pytest.approx(sum(math.log(n) for n in (6, 5, 4, 3, 2)) / 5, rel=1e-5)
    assert hybrid["loss_local"] == pytest.approx(sum(math.log(n) for n in (5, 4, 3, 2, 1)) / 5, rel=1e-5)
    assert hybrid["loss_margin"] == pytest.approx(4 * math.log(1 + 3 + 1), rel=1e-5)  # exposed, ranked, filtered; easy
    order = values("ranker_order")["loss_order"]
    assert order == pytest.approx(sum(math.log(n) for n in (4, 4, 3, 2, 1)) / 5, rel=1e-5)
    # Of how far an item came, it came as far as the filtered one: four tiers have worse ones.
    assert values("fs_rank_net")["loss_pairs"] == pytest.approx(4 * LN2, rel=1e-5)


@pytest.mark.parametrize("objective", ["hybrid", "distillation", "copr", "ranker_order"])
def test_the_rankers_order_of_shadow_items_costs_less_than_its_reverse(objective):
    right, wrong = [5, 4, 3, 2, 1, 0, 0, 0], [5, 4, 1, 2, 3, 0, 0, 0]
    better, worse = (losses(objective, scores, SHADOWED, chunk=1) for scores in (right, wrong))
    ordered = {"loss_global", "loss_local", "loss_distillation", "loss_alignment", "loss_order"} & {*better}
    assert ordered
    for name in ordered:
        assert better[name][1] < worse[name][1], name


def test_copr_aligns_with_what_the_ranker_decided():
    """Whether a click or the ranker put the first of two exposed items first is not known: it says nothing."""
    batch = batch_of([C, E, R], [1, 0, 0], [1, 0, 0], [1, 1, 5], [])
    clicked_first, exposed_first = ([math.log(odd) for odd in odds] for odds in ((4, 2, 1), (2, 4, 1)))
    alignment = [
        losses("copr", scores, batch, chunk=1)["loss_alignment"][1] for scores in (clicked_first, exposed_first)
    ]
    # Chunks of one: both exposed items before the ranked one, weighted d(1, 3) = 1 and d(2, 3) = 1/log2 3 - 1/2.
    far, near = 1.0, 1 / math.log2(3) - 1 / 2
    wanted = [
        (far * math.log(1 + 1 / first) + near * math.log(1 + 1 / second)) / (far + near)
        for first, second in ((4, 2), (2, 4))
    ]
    assert alignment == pytest.approx(wanted, rel=1e-5)


def test_weights_and_margins_come_from_the_settings():
    assert {name: weight for name, (weight, _) in losses("asmol", [0] * 6, weight_clicked=3.0).items()} == {
        "loss_exposed": 1.0, "loss_clicked": 3.0, "loss_purchased": 2.0,
    }  # fmt: skip
    # One positive of weight 1 + 1 + 2 against three hard and one easy negative, all at e^s = 1; margins ln 2.
    changes = {"margin_exposed": 0.0, "margin_ranked": 0.0, "margin_filtered": 0.0}
    for changed, wanted in (
        ({}, math.log(5)),
        ({"margin_exposed": LN2}, math.log(1 + 1 / 2 + 1 + 1 + 1)),
        ({"margin_positive": LN2}, math.log(1 + 4 / (1 / 2))),
        ({"margin_positive": -LN2}, math.log(1 + 4 / 2)),
    ):
        margin = losses("hybrid", [0, 0, 0, 0, 0, 9], **(changes | changed))["loss_margin"]
        assert margin == pytest.approx((1.0, 4 * wanted), rel=1e-5)


def test_the_head_of_the_ranked_items_is_positive_where_the_settings_say_so():
    """Bought, two ranked, filtered, one easy; all at e^s = 1 and without margins. The bought one weighs 4, others 1."""
    batch = batch_of([P, R, R, F], [4, 0, 0, 0], [4, 0, 0, 0], [1, 1, 1, 9], [True])
    changes = {"margin_ranked": 0.0, "margin_filtered": 0.0}
    for most, wanted in ((0, 4 * math.log(1 + 4)), (1, 5 * math.log(1 + 3)), (2, 6 * math.log(1 + 2))):
        found = losses("hybrid", [0] * 5, batch, ranked_positives=most, **changes)
        assert found["loss_margin"][1] == pytest.approx(wanted, rel=1e-5)
    first, second = (
        losses("hybrid", s, batch, ranked_positives=1, **changes) for s in ([0, 1, 0, 0, 0], [0, 0, 1, 0, 0])
    )
    assert first["loss_margin"][1] < second["loss_margin"][1]  # it is the ranker's first that counts


def test_feedback_weighs_in_the_easy_term_alone():
    """The bought item stands e^2 above the easy one, the shown one level with it: 4 to 1, or as 1 to 1 without."""
    scores = [2.0, 0.0, 0.0, 0.0, 0.0, 9.0]
    bought, shown = math.log(1 + math.exp(-2)), LN2
    for changes, wanted in (
        ({"weight_clicked": 0.0, "weight_purchased": 0.0}, (bought + shown) / 2),
        ({"weight_clicked": 1.0, "weight_purchased": 2.0}, (4 * bought + shown) / 5),
    ):
        easy = losses("ranker_order", scores, **changes)["loss_easy"][1]
        assert easy == pytest.approx(wanted, rel=1e-5)


def test_presets_are_the_list_of_experiments():
    assert {PRESETS[name]().objective for name in PRESETS} == {*OBJECTIVES}
    swept = {name: preset() for name, preset in MARGINS.items()}
    assert {name: one.margin_exposed or one.margin_positive for name, one in swept.items()} == {
        "hard_margin_half": 0.5, "hard_margin_1": 1.0, "hard_margin_2": 2.0, "hard_margin_4": 4.0,
        "positive_margin_half": 0.5, "positive_margin_1": 1.0, "positive_margin_2": 2.0, "positive_margin_4": 4.0,
        "positive_margin_added_1": -1.0,
    }  # fmt: skip
    alike = {str(asdict(preset())) for preset in PRESETS.values()}
    assert len(alike) == len(PRESETS)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in {*MARGINS, *EASY, *FILTERED, *WEIGHTS}])
def test_every_preset_learns_from_a_batch(preset):
    settings = sized(PRESETS[preset](), "tiny")
    model = hccp.Hccp(settings, Catalogue.empty(4, None, 8).grown(np.arange(5, 11)), seed=1)
    assert {*BATCH} == {*SIGNATURE}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(BATCH)
    assert np.isfinite(loss)
    assert any(np.any(one) for one in map(dense, tape.gradient(loss, model.trainable_variables)))
    assert {*model.terms} == TERMS[settings.objective] - LEFT_OUT.get(preset, set())


def dense(gradient):
    return 0.0 if gradient is None else tf.convert_to_tensor(gradient).numpy()
