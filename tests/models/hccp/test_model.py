"""models/hccp/model.py, hccp_inputs.py and jobs/train_hccp.py: what is fed, what is learned, what is kept."""

from dataclasses import asdict, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from jobs import train_hccp
from jobs.command.cli import WorkFailedError
from models import batches, checkpoint
from models.batches import Ragged
from models.checkpoint import ModelDirectory
from models.hccp import inputs as hccp_inputs
from models.hccp import model as hccp
from models.hccp.presets import PRESETS, full, sized
from models.item_vocabulary import Catalogue
from schemas.table import MissingDataError
from schemas.vocabulary import Level
from tests.support.planted_funnel import Funnel

FIRST = date(2020, 1, 1)
SECOND, THIRD = FIRST + timedelta(1), FIRST + timedelta(2)
P, C, E, R, S, F = (hccp_inputs.LEVEL_CODES[level] for level in Level)
NOON_1970 = 43_200_000_000


def catalogue_of(item_ids):
    return Catalogue.empty(4, None, 8).grown(np.array(item_ids))


def two_requests():
    """Request 0: item 5 bought, 6 shown, 7 ranked, 8 filtered; request 1, a day later: item 9 shown, no history."""
    return {
        "request_time": np.array([NOON_1970, NOON_1970 + 86_400_000_000]),
        "history_item_ids": Ragged.of([[5, 9], []]),
        "history_actions": Ragged.of([[1, 4], []]),
        "item_ids": Ragged.of([[5, 6, 7, 8], [9]]),
        "levels": Ragged.of([[P, E, R, F], [E]]),
        "teacher_ranks": Ragged.of([[1, 2, 3, 4], [1]]),
        "actions": Ragged.of([[4, 0, 0, 1], [0]]),
        "in_scenario_actions": Ragged.of([[4, 0, 0, 0], [0]]),
        "sampling_weights": Ragged(np.array([1, 1, 2.5, 12.5, 1], np.float32), np.array([0, 4, 5])),
    }


def assembled(settings, seed=0):
    catalogue = catalogue_of([5, 6, 7, 8, 9])  # rows 5 to 9, after padding and four unknown buckets
    counts = {day: np.full((catalogue.rows, 4), day + 1, np.float32) for day in (0, 1)}
    return hccp_inputs.assemble(two_requests(), catalogue, counts, settings, np.random.default_rng(seed))


def test_a_batch_by_hand():
    batch = assembled(replace(sized(full(), "tiny"), unknown_share=0.0))
    assert batch["rows"][:, :4].tolist() == [[5, 6, 7, 8], [9, 0, 0, 0]]
    assert batch["levels"].tolist() == [[P, E, R, F], [E, 0, 0, 0]]
    assert batch["history_rows"][:, :3].tolist() == [[9, 5, 0], [0, 0, 0]]  # newest first
    assert batch["history_actions"][:, :3].tolist() == [[4, 1, 0], [0, 0, 0]]
    assert batch["counts"][:, :, 0].tolist() == [[1.0] * 10, [2.0] * 10]  # each of its own date
    assert batch["actions"].tolist() == [[4, 0, 0, 0], [0, 0, 0, 0]]
    assert batch["all_scenario_actions"].tolist() == [[4, 0, 0, 1], [0, 0, 0, 0]]
    assert batch["sampling_weights"].tolist() == [[1, 1, 2.5, 12.5], [1, 0, 0, 0]]
    easy, own = batch["rows"][:, 4:], [{5, 6, 7, 8}, {9, 0}]
    assert batch["easy"].tolist() == [[row not in mine for row in line] for line, mine in zip(easy, own, strict=True)]
    for name, spec in hccp_inputs.SIGNATURE.items():
        assert spec.is_compatible_with(tf.constant(batch[name])), name


def test_an_item_that_is_trained_as_unknown_is_no_easy_negative_of_its_own_request():
    batch = assembled(replace(full(), unknown_share=1.0, in_batch_easy=0, catalogue_easy=200))
    assert batch["rows"][:, :4].max() <= 4  # all are hidden
    drawn = batch["rows"][:, 4:]
    assert {*np.unique(drawn)} == {5, 6, 7, 8, 9}
    assert batch["easy"].tolist() == [[row == 9 for row in drawn[0]], [row != 9 for row in drawn[1]]]


def test_levels_left_out_play_no_part():
    without = assembled(replace(full(), filtered=False, unknown_share=0.0))
    assert without["levels"].tolist() == [[P, E, R, 0], [E, 0, 0, 0]]
    exposed = assembled(PRESETS["exposed_only"]())
    assert exposed["levels"].tolist() == [[P, E, 0, 0], [E, 0, 0, 0]]
    assert exposed["easy"].shape == (2, 0)
    settings = replace(full(), filtered=False, unknown_share=0.0)
    in_batch = [assembled(settings, seed)["rows"][:, 4 : 4 + settings.in_batch_easy] for seed in range(20)]
    assert {*np.unique(in_batch)} == {5, 6, 7, 9}  # not 8, the filtered one


@pytest.mark.parametrize(("popularity", "share"), [(0.0, 1 / 5), (0.5, 4 / 8), (1.0, 16 / 20)])
def test_popular_items_are_easy_negatives_as_often_as_the_settings_say(popularity, share):
    catalogue, draws = catalogue_of([5, 6, 7, 8, 9]), 20_000
    stats = pa.table({name: [400] for name in hccp_inputs.COUNTS} | {"item_id": [9], "conversions": [15]})
    none = stats.slice(0, 0)
    counts = {0: hccp_inputs.counts_by_row(catalogue, none), 1: hccp_inputs.counts_by_row(catalogue, stats)}  # 16 to 1
    settings = replace(full(), easy_popularity=popularity, in_batch_easy=0, catalogue_easy=draws)
    rows = hccp_inputs.assemble(two_requests(), catalogue, counts, settings, np.random.default_rng(0))["rows"][:, 4:]
    assert {*np.unique(rows)} == {5, 6, 7, 8, 9}
    assert np.mean(rows == 9) == pytest.approx(share, abs=0.01)  # five deviations


def test_shadow_items_are_learned_from_where_the_settings_say_so():
    def levels(settings):
        samples = two_requests() | {"levels": Ragged.of([[P, S, R, F], [E]])}
        catalogue = catalogue_of([5, 6, 7, 8, 9])
        counts = {day: np.zeros((catalogue.rows, 4), np.float32) for day in (0, 1)}
        return hccp_inputs.assemble(samples, catalogue, counts, settings, np.random.default_rng(0))["levels"].tolist()

    assert levels(full()) == [[P, 0, R, F], [E, 0, 0, 0]]
    assert levels(PRESETS["shadow"]()) == levels(PRESETS["ranker_order"]()) == [[P, S, R, F], [E, 0, 0, 0]]
    assert levels(PRESETS["ranker_order_without_shadow"]()) == [[P, 0, R, F], [E, 0, 0, 0]]


def test_some_items_are_trained_as_unknown():
    settings = replace(full(), unknown_share=1.0)
    assert ((assembled(settings)["rows"][0, :4] >= 1) & (assembled(settings)["rows"][0, :4] <= 4)).all()


def test_counts_are_scaled_logarithms():
    stats = pa.table({"item_id": [6], "impressions": [99], "clicks": [0], "purchases": [0], "conversions": [1]})
    counts = hccp_inputs.counts_by_row(catalogue_of([5, 6]), stats)
    np.testing.assert_allclose(counts[6], np.log([100, 1, 1, 2]) / 8, rtol=1e-6)
    assert not counts[:6].any()


def test_a_permutation_of_candidates_permutes_scores_and_keeps_the_loss():
    settings = replace(sized(full(), "tiny"), unknown_share=0.0)
    model, batch = hccp.Hccp(settings, catalogue_of([5, 6, 7, 8, 9]), seed=1), assembled(settings)
    order = np.array([2, 0, 3, 1])
    moved = batch | {name: batch[name][:, order] for name in ("levels", "ranks", "actions")}
    moved["rows"] = batch["rows"][:, [*order, *range(4, 10)]]
    np.testing.assert_allclose(
        model.base(moved, moved).ranking[:, :4], model.base(batch, batch).ranking.numpy()[:, order], rtol=1e-5
    )
    np.testing.assert_allclose(model.compute_loss(moved), model.compute_loss(batch), rtol=1e-5)


def test_vectors_score_as_the_network_does():
    settings = replace(sized(full(), "tiny"), unknown_share=0.0)
    model, batch = hccp.Hccp(settings, catalogue_of([5, 6, 7, 8, 9]), seed=1), two_requests()
    model.counts.assign(np.full(model.counts.shape, 1.0))
    model.base.biases.assign(np.arange(10.0)[:, None])
    fed = assembled(settings)
    fed["counts"][:] = 1.0
    users, items = model.user_vectors(batch), model.item_vectors(np.array([5, 6, 7, 8]))
    scores = model.score(users[:, None], items)
    np.testing.assert_allclose(scores[0], model.base(fed, fed).ranking[0, :4], rtol=1e-5)
    np.testing.assert_allclose(model.item_vectors_of(tf.constant([5, 6, 7, 8], tf.int64)), items, rtol=1e-6)
    histories, actions = tf.constant([[9, 5]], tf.int64), tf.constant([[4, 1]])
    np.testing.assert_allclose(
        model.user_vectors_of(histories, actions, tf.constant([1], tf.int64)), users[:1], rtol=1e-5
    )
    assert model.item_vectors(np.array([123_456_789])).shape == (1, settings.dimensions + 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three small days of samples, nothing trained."""
    place = str(tmp_path_factory.mktemp("root"))
    funnel = Funnel(seed=3)
    for day in (FIRST, SECOND, THIRD):
        funnel.put_day(place, day, requests=60)
    return place


def trained(root, day, *flags):
    arguments = train_hccp.arg_parser().parse_args(["--root", root, "--date", str(day), *flags])
    return train_hccp.main(arguments, day)


def test_training_from_nothing_then_continuing(root):
    line = trained(root, SECOND, "--size", "tiny", "--days", "2")
    assert line == {"rows_written": 120, "models": [f"models/hccp/date={SECOND}/full-tiny-seed1"]}
    directory = ModelDirectory(root, "hccp", SECOND, "full-tiny", 1)
    first, before = directory.manifest(), directory.arrays("weights")
    assert first["days"] == [str(FIRST), str(SECOND)]
    assert first["items_by_level"]["filtered"] == 20 * 120
    assert [set(epoch) for epoch in first["epochs"]] == [
        {"loss_response", "loss_global", "loss_local", "loss_margin"}
    ] * 2
    assert first["epochs"][1]["loss_global"] < first["epochs"][0]["loss_global"]
    assert checkpoint.found(root, "hccp", SECOND) == [directory]

    trained(root, SECOND, "--size", "tiny", "--days", "2")  # the same seed gives the same losses and weights
    assert directory.manifest() == first
    for name, values in directory.arrays("weights").items():
        np.testing.assert_array_equal(values, before[name])

    trained(root, THIRD, "--size", "tiny", "--days", "2")
    later = ModelDirectory(root, "hccp", THIRD, "full-tiny", 1).manifest()
    assert later["continued_from"] == directory.place
    assert later["days"] == [str(THIRD)]
    assert later["epochs"][0]["loss_global"] < first["epochs"][0]["loss_global"]


def test_a_loaded_model_grows_and_keeps_what_it_knew(tmp_path):
    settings = sized(full(), "tiny")
    model = hccp.Hccp(settings, catalogue_of([5, 6, 7, 8, 9]), seed=1)
    model.step({name: tf.constant(array) for name, array in assembled(settings).items()})
    folder, directory = checkpoint.open_directory(), ModelDirectory(str(tmp_path), "hccp", FIRST, "tiny", 1)
    checkpoint.save(folder, model, model.catalogue)
    checkpoint.publish(folder, directory, {"settings": asdict(settings), "seed": 1})
    grown = hccp.load(directory, directory.catalogue().grown(np.array([2, 11])))
    assert grown.item_vocabulary.tolist() == [5, 6, 7, 8, 9, 2, 11]
    np.testing.assert_array_equal(grown.item_vectors(np.array([5, 9])), model.item_vectors(np.array([5, 9])))
    assert int(grown.optimizer.iterations) == 1


def test_what_is_missing_or_unknown_is_said(root, capsys):
    with pytest.raises(MissingDataError, match="2020-02-02"):
        trained(root, date(2020, 2, 2), "--size", "tiny")
    with pytest.raises(WorkFailedError, match="hold no item of level shadow, which shadow-tiny learns from"):
        trained(root, SECOND, "--size", "tiny", "--preset", "shadow")
    with pytest.raises(SystemExit) as stopped:
        train_hccp.arg_parser().parse_args(["--root", root, "--date", "2020-01-01", "--preset", "full,fast"])
    assert stopped.value.code == 2
    assert "no preset named 'fast'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="base is 'deep'"):
        hccp.Hccp(replace(full(), base="deep"), catalogue_of([5]), seed=1)
    with pytest.raises(ValueError, match="objective is 'best'"):
        hccp.Hccp(replace(full(), objective="best"), catalogue_of([5]), seed=1)
    with pytest.raises(ValueError, match="nothing would be learned"):
        replace(PRESETS["exposed_only"](), weight_response=0.0)


def test_the_samples_columns_are_read_as_the_contract_has_them(root):
    groups = batches.row_groups(root, train_hccp.hccp_samples, [FIRST])
    batch = next(batches.batches(root, groups, hccp_inputs.COLUMNS, 8, [1], 0))
    assert set(np.unique(batch["levels"].values)) <= {P, C, E, R, F}
    assert (batch["in_scenario_actions"].values[batch["levels"].values == P] == 4).all()
