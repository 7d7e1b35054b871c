"""train_increc from samples to a published model: it learns, it repeats itself, it goes on from yesterday."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta

import models  # noqa: F401 isort: skip
import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs import train_increc
from jobs.training import training
from models import batches, checkpoint
from models.checkpoint import ModelDirectory
from models.increc import presets
from models.increc.model import load
from schemas.storage import arrow
from schemas.table import MissingDataError
from schemas.tables.features import item_stats
from schemas.tables.samples import increc_samples

FIRST = date(2020, 1, 1)
TASTES, PER_TASTE = 8, 25
ITEMS = 1000 + np.arange(TASTES * PER_TASTE)  # item 1000 + 25 t + n is of taste t


def plant(root, day: date, seed: int, count: int = 600, more_items: tuple[int, ...] = ()) -> None:
    """A day of samples in which history, exposures and targets of a request are all of one taste."""
    random = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        items = ITEMS[random.integers(TASTES) * PER_TASTE :][:PER_TASTE]
        chosen = [int(item) for item in random.permutation(items)[:8]] + list(more_items)
        rows.append(
            {
                "request_id": f"{day}-{n}", "user_id": n, "scenario": "homepage",
                "request_time": datetime.combine(day, datetime.min.time(), UTC),
                "history_item_ids": chosen[:4], "history_actions": ["click", "cart", "favorite", "purchase"],
                "etg_item_ids": chosen[4:6], "etg_actions": ["", ""], "rtg_item_ids": chosen[6:7],
                "rtg_actions": ["click"], "itg_item_ids": chosen[7:], "itg_actions": ["cart"] * len(chosen[7:]),
            }
        )  # fmt: skip
    samples = pa.Table.from_pylist(rows, schema=increc_samples.schema)
    arrow.write(str(root), increc_samples, day, samples, made_from={}, settings={"seed": seed})
    count = len(ITEMS)
    stats = {name: np.ones(count, np.int64) for name in ("impressions", "clicks", "purchases", "conversions")}
    stats |= {"item_id": ITEMS, "sampling_probability": np.full(count, 1 / count), "popularity": ["tail"] * count}
    table = pa.table([stats[name] for name in item_stats.names], schema=item_stats.schema)
    arrow.write(str(root), item_stats, day, table, made_from={}, settings={})


def train(root, day: date, *flags: str) -> dict:
    arguments = train_increc.arg_parser().parse_args(["--root", str(root), "--date", str(day), *flags])
    return train_increc.main(arguments, day)


def model_of(root, day: date, variant: str = "full-tiny", seed: int = 1) -> ModelDirectory:
    return ModelDirectory(str(root), "increc", day, variant, seed)


def inc_at_25(directory: ModelDirectory, day: date) -> float:
    """Hit rate of the ITG items in the top 25 of 200; random gives 12.5 %."""
    model = load(directory)
    rows = batches.decode(arrow.read(directory.root, increc_samples, day))
    scores = model.user_vectors(rows) @ model.item_vectors(ITEMS).T
    top = np.argsort(-scores, axis=1)[:, :25]
    return np.mean([item in ITEMS[top[n]] for n, item in enumerate(rows["itg_item_ids"].values)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A root with three days of samples and models: two days at once, then the third from there."""
    root = tmp_path_factory.mktemp("root")
    for n in range(3):
        plant(root, FIRST + timedelta(n), seed=n)
    train(root, FIRST + timedelta(1), "--size", "tiny", "--days", "2")
    plant(root, FIRST + timedelta(2), seed=2, more_items=(999_999,))
    train(root, FIRST + timedelta(2), "--size", "tiny")
    return root


def test_what_is_planted_is_learned(trained):
    plant(trained, FIRST + timedelta(5), seed=5)
    assert inc_at_25(model_of(trained, FIRST + timedelta(1)), FIRST + timedelta(5)) > 0.5


def test_the_manifest_says_what_the_model_was_made_from(trained):
    manifest = model_of(trained, FIRST + timedelta(1)).manifest()
    assert manifest["days"] == ["2020-01-01", "2020-01-02"]
    assert manifest["continued_from"] is None
    assert manifest["requests"] == 1200
    assert manifest["share_of_requests_with_rtg_and_itg"] == 1
    assert manifest["items"] == 200
    assert set(manifest["made_from"]) == {
        "samples/increc_samples/date=2020-01-01",
        "samples/increc_samples/date=2020-01-02",
        "features/item_stats/date=2020-01-02",
    }
    losses = [epoch["loss_basic"] for epoch in manifest["epochs"]]
    assert len(losses) == manifest["settings"]["epochs"]
    assert losses[-1] < losses[0]
    assert 0 < manifest["epochs"][0]["rtg_share_of_loss_inc"] < 1


def test_the_next_day_goes_on_from_the_day_before(trained):
    before, after = (model_of(trained, FIRST + timedelta(n)) for n in (1, 2))
    assert after.manifest()["continued_from"] == before.place
    assert after.manifest()["days"] == ["2020-01-03"]
    assert after.manifest()["items"] == 201
    old, new = before.catalogue(), after.catalogue()
    assert (new.item_ids[:200] == old.item_ids).all()
    assert new.lookup(np.array([999_999])).tolist() == [new.first_row + 200]
    assert after.manifest()["epochs"][0]["loss_basic"] < before.manifest()["epochs"][0]["loss_basic"]
    steps = [int(one.arrays("optimizer")["iteration"]) for one in (before, after)]
    assert steps[1] > steps[0] > 0


def test_growing_the_catalogue_keeps_every_old_vector_and_gives_new_ones(trained):
    directory = model_of(trained, FIRST + timedelta(1))
    saved = directory.catalogue()
    grown = load(directory, saved.grown(np.array([-5, 7_000_000])))
    old = load(directory)
    np.testing.assert_array_equal(grown.item_vectors(saved.item_ids), old.item_vectors(saved.item_ids))
    rows = batches.decode(arrow.read(str(trained), increc_samples, FIRST))
    np.testing.assert_array_equal(grown.user_vectors(rows), old.user_vectors(rows))
    new = grown.item_vectors(np.array([-5, 7_000_000]))
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1, rtol=1e-5)
    slots = {variable.name: variable.numpy() for variable in grown.optimizer.variables}
    name = next(name for name in slots if "item_tower/ids" in name)
    assert len(slots[name]) == saved.rows + 2
    np.testing.assert_array_equal(slots[name][:-2], directory.arrays("optimizer")[name.partition(":")[0]])


def test_a_stranger_without_history_and_an_unknown_item_have_vectors(trained):
    model = load(model_of(trained, FIRST + timedelta(1)))
    nobody = batches.Ragged.of([[], [123_456_789]])
    rows = {"user_id": np.array([-1, 2**40]), "history_item_ids": nobody}
    rows["history_actions"] = nobody.map(np.array([4]))
    np.testing.assert_allclose(np.linalg.norm(model.user_vectors(rows), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors(np.array([123_456_789])), axis=1), 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_losses_and_weights_and_another_does_not(trained):
    first, again = model_of(trained, FIRST + timedelta(1)), model_of(trained, FIRST + timedelta(1))
    losses, weights = first.manifest()["epochs"], first.arrays("weights")
    train(trained, FIRST + timedelta(1), "--size", "tiny", "--days", "2")
    assert again.manifest()["epochs"] == losses
    for name, values in again.arrays("weights").items():
        np.testing.assert_array_equal(values, weights[name])
    train(trained, FIRST + timedelta(1), "--size", "tiny", "--days", "2", "--seed", "2")
    other = model_of(trained, FIRST + timedelta(1), seed=2)
    assert other.manifest()["epochs"][0] != pytest.approx(losses[0], rel=1e-3)
    found = checkpoint.found(str(trained), "increc", FIRST + timedelta(1))
    assert [(one.variant, one.seed) for one in found] == [("full-tiny", 1), ("full-tiny", 2)]


def test_fewer_dates_than_asked_for_are_used_and_said(tmp_path, capsys):
    plant(tmp_path, FIRST, seed=0, count=40)
    train(tmp_path, FIRST, "--preset", "base", "--size", "tiny", "--days", "5")
    assert model_of(tmp_path, FIRST, "base-tiny").manifest()["days"] == ["2020-01-01"]
    assert "--days 5: increc_samples begin at 2020-01-01" in capsys.readouterr().err


def test_sizes_stand_beside_each_other():
    assert training.variant("full", "default") == "full"
    assert training.variant("full", "tiny") == "full-tiny"


def test_a_gap_or_a_missing_date_is_an_error_that_leaves_no_model(tmp_path):
    plant(tmp_path, FIRST, seed=0, count=10)
    plant(tmp_path, FIRST + timedelta(2), seed=0, count=10)
    with pytest.raises(MissingDataError, match="2020-01-02"):
        train(tmp_path, FIRST + timedelta(2), "--size", "tiny", "--days", "3")
    with pytest.raises(MissingDataError, match="no date 2020-01-09"):
        train(tmp_path, FIRST + timedelta(8), "--size", "tiny")
    assert not (tmp_path / "models").exists()


def test_a_model_of_other_settings_is_not_continued(trained, capsys):
    other = presets.replace(load(model_of(trained, FIRST + timedelta(1))).settings, dimensions=8)
    assert not training.continues(model_of(trained, FIRST + timedelta(1)), other)
    told = capsys.readouterr().err
    assert "has other settings, so training starts from nothing: dimensions " in told
    assert "now 8" in told
    beside = presets.replace(load(model_of(trained, FIRST + timedelta(1))).settings, item_cf_share=0.5)
    assert training.continues(model_of(trained, FIRST + timedelta(1)), beside)


def test_a_model_of_an_earlier_release_is_continued(trained, tmp_path, capsys):
    """Its manifest lacks a setting that came later and has one that went."""
    shutil.copytree(trained / "models", tmp_path / "models")
    directory = model_of(tmp_path, FIRST + timedelta(1))
    settings = load(directory).settings
    manifest = directory.manifest()
    del manifest["settings"]["item_cf_share"]
    manifest["settings"]["margin"] = 0.1
    (tmp_path / directory.place / "manifest.json").write_text(json.dumps(manifest))
    assert training.continues(directory, settings)
    assert "settings of an earlier release, which no longer count: margin" in capsys.readouterr().err
    assert load(directory).settings == settings


def test_skipped_days_are_made_up_for_and_attributes_may_come_later(trained, tmp_path, capsys):
    """Nobody trained on the 4th; a snapshot of the 3rd is the first with a brand. On the 6th the brand is a number."""
    shutil.copytree(trained, tmp_path / "root")
    root = tmp_path / "root"
    plant(root, FIRST + timedelta(3), seed=3, count=40)
    plant(root, FIRST + timedelta(4), seed=4, count=40)
    put_items(root, FIRST + timedelta(2), pa.array(["a", "b"] * (len(ITEMS) // 2)))
    train(root, FIRST + timedelta(4), "--size", "tiny")
    manifest = model_of(root, FIRST + timedelta(4)).manifest()
    assert manifest["continued_from"] == model_of(root, FIRST + timedelta(2)).place
    assert manifest["days"] == ["2020-01-04", "2020-01-05"]
    assert list(manifest["attributes"]) == ["brand"]
    old, new = (load(model_of(root, FIRST + timedelta(n))) for n in (2, 4))
    assert int(new.optimizer.iterations) > int(old.optimizer.iterations) > 0

    plant(root, FIRST + timedelta(5), seed=5, count=40)
    put_items(root, FIRST + timedelta(5), pa.array(np.linspace(0, 1, len(ITEMS))))
    train(root, FIRST + timedelta(5), "--size", "tiny")
    assert "learned the attribute brand of items otherwise than as double: not used" in capsys.readouterr().err
    assert (model_of(root, FIRST + timedelta(5)).catalogue().codes == new.catalogue.codes).all()


def put_items(root, day: date, brand: pa.Array) -> None:
    """A snapshot of the planted items, in a table of its own type."""
    shutil.rmtree(root / "logs/items", ignore_errors=True)
    rows = {"item_id": ITEMS, "category_id": pa.nulls(len(ITEMS), pa.int64()), "brand": brand}
    table = pa.table({**rows, "date": pa.array([day] * len(ITEMS), pa.date32())})
    write_deltalake(str(root / "logs/items"), table, partition_by=["date"])


def test_a_model_of_more_than_a_week_before_is_not_continued(trained):
    directory = model_of(trained, FIRST + timedelta(9))
    assert training.newest_before(directory) == model_of(trained, FIRST + timedelta(2))
    assert training.newest_before(model_of(trained, FIRST + timedelta(10))) is None


def test_an_unknown_preset_is_a_bad_argument(capsys):
    with pytest.raises(SystemExit) as stopped:
        train_increc.arg_parser().parse_args(["--root", "r", "--date", "2020-01-01", "--preset", "base,best"])
    assert stopped.value.code == 2
    assert "no preset named 'best'; there are base, boost, ori, na, full, full_request" in capsys.readouterr().err


def test_no_two_uses_of_a_seed_share_a_random_stream(tmp_path, monkeypatch):
    """The order of each epoch and the draws of each of its steps: two epochs of three batches."""
    plant(tmp_path, FIRST, seed=0, count=100)
    keys, generator = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: (keys.append(key), generator(key))[1])
    train(tmp_path, FIRST, "--size", "tiny")
    steps = -(-100 // presets.sized(presets.full(), "tiny").batch_requests)
    streams = {tuple(np.random.SeedSequence(key).generate_state(4)) for key in keys}
    epochs = presets.sized(presets.full(), "tiny").epochs
    assert len(streams) == len(keys) == epochs * (1 + steps)
