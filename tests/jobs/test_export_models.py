"""export_models and models/serving/export.py: what is published, what is held back, and that it serves the same."""

import re
import shutil
from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from deltalake import write_deltalake
from pyarrow import parquet

from jobs import export_models
from jobs.command.cli import WorkFailedError
from jobs.evaluation import request_scores
from jobs.evaluation import table as evaluations
from models import checkpoint
from models.batches import Ragged
from models.checkpoint import ModelDirectory
from models.evaluation.per_request import PerRequest
from models.hccp import model as hccp
from models.hccp import presets as hccp_presets
from models.increc import model as increc
from models.increc import presets as increc_presets
from models.item_vocabulary import Catalogue
from models.serving import export
from schemas import serving
from schemas.serving import Serving
from schemas.table import ConflictError
from tests.support.tiny_root import put, put_delta

DAY = date(2020, 1, 15)
NOON = datetime(2020, 1, 15, 12, tzinfo=UTC)
ITEMS = 2**40 + np.arange(150)  # float32 would take them all for one item
ACTIONS = ["click", "favorite", "cart", "purchase"]
HISTORIES = [(ITEMS[n : n + n % 14].tolist(), [ACTIONS[(n + k) % 4] for k in range(n % 14)]) for n in range(40)]
DIRECTORIES = {name: f"models/{name}/date={DAY}/full-seed3" for name in ("increc", "hccp")}


def write_samples(root):
    increc_rows = [
        (f"r{n:02}", n, "homepage", NOON, items, actions, [], [], [], [], [int(ITEMS[n])], ["cart"])
        for n, (items, actions) in enumerate(HISTORIES)
    ]
    put(root, "increc_samples", DAY, increc_rows)
    hccp_rows = [
        (f"r{n:02}", n, NOON, items, actions, [int(ITEMS[n])], ["exposed"], [1], [""], [""], [1.0])
        for n, (items, actions) in enumerate(HISTORIES)
    ]
    put(root, "hccp_samples", DAY, hccp_rows)


def write_model(root, name, variant="full", seed=3, day=DAY):
    """An untrained model whose weights are all random, those that start at 0 too."""
    presets = {"increc": increc_presets, "hccp": hccp_presets}[name]
    settings = presets.sized(presets.PRESETS[variant](), "tiny")
    catalogue = Catalogue.empty(settings.unknown_buckets, None, settings.attribute_size).grown(ITEMS)
    model = (increc.IncRec if name == "increc" else hccp.Hccp)(settings, catalogue, seed)
    random = np.random.default_rng(seed)
    for variable in [*model.trainable_variables, *model.non_trainable_variables]:
        if variable.dtype.is_floating and variable.shape.rank:
            variable.assign(random.normal(scale=0.3, size=variable.shape))
    folder = checkpoint.open_directory()
    checkpoint.save(folder, model, catalogue)
    directory = ModelDirectory(str(root), name, day, variant, seed)
    before = ModelDirectory(str(root), name, day - timedelta(1), variant, seed)
    manifest = {
        "settings": asdict(model.settings),
        "seed": seed,
        "continued_from": before.place,
    }
    checkpoint.publish(folder, directory, manifest)
    return directory


def write_evaluation(root, day, model, metric, own, random, k=100):
    row = {"metric": metric, "segment": "all", "k": k, "support": 9}
    rows = [{**row, "variant": "random", "seed": 0, "value": random}]
    if own is not None:
        rows.append({**row, "variant": "full", "seed": 3, "value": own})
        rows.append({**row, "variant": "full", "seed": 4, "value": 1.0})  # another seed says nothing of ours
    evaluations.replace_rows(str(root), day, model, rows)


def run(root):
    return export_models.main(Namespace(root=str(root)), DAY)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("root")
    write_samples(made)
    for name, metric in (("increc", "inc"), ("hccp", "ash")):
        write_model(made, name)
        write_evaluation(made, DAY, name, metric, 0.3, 0.2)
    return made


@pytest.fixture(scope="module")
def counts(root):
    return run(root)


@pytest.fixture(scope="module", params=["increc", "hccp"])
def exported(request, root, counts):
    """(folder, the Keras model loaded from its checkpoint)"""
    directory = ModelDirectory(str(root), request.param, DAY, "full", 3)
    load = increc.load if request.param == "increc" else hccp.load
    return Path(root, directory.place), load(directory)


def test_both_passed(counts):
    gate = counts["serving"]
    assert {name: line.split(" serves now: nothing served before; ")[0] for name, line in gate.items()} == DIRECTORIES
    assert counts == {
        "rows_written": 300,
        "published": [DIRECTORIES["increc"], DIRECTORIES["hccp"]],
        "held_back": {},
        "serving": gate,
    }


@pytest.mark.parametrize("users", [slice(0, 1), slice(0, 40), slice(27, 29)])
def test_the_user_tower_gives_the_models_vectors(exported, users):
    folder, model = exported
    histories = HISTORIES[users]
    width = max(len(items) for items, _ in histories) + 2
    own = model.user_vectors(
        {
            "user_id": np.arange(len(histories)),
            "history_item_ids": Ragged.of([items for items, _ in histories]),
            "history_actions": Ragged.of([[ACTIONS.index(one) + 1 for one in actions] for _, actions in histories]),
        }
    )
    served = tf.saved_model.load(str(folder / "saved_model/user/1")).signatures["serving_default"](
        history_item_ids=tf.constant([items + [7] * (width - len(items)) for items, _ in histories], tf.int64),
        history_actions=tf.constant([actions + [""] * (width - len(actions)) for _, actions in histories]),
        user_ids=tf.range(len(histories), dtype=tf.int64),
    )["vectors"]
    assert max(len(items) for items, _ in HISTORIES) > model.settings.history_length
    np.testing.assert_allclose(served, own, atol=1e-5)


def test_the_item_tower_keeps_large_ids_apart(exported):
    folder, model = exported
    tower = tf.saved_model.load(str(folder / "saved_model/item/1")).signatures["serving_default"]
    assert tower.structured_input_signature[1]["item_ids"].dtype == tf.int64
    asked = np.concatenate([ITEMS[::-1], [1, 2**62, -5]])  # and ids that the model does not know
    served = tower(item_ids=tf.constant(asked, tf.int64))["vectors"].numpy()
    np.testing.assert_allclose(served, model.item_vectors(asked), atol=1e-5)
    assert len(np.unique(served[:150], axis=0)) == 150
    assert tower(item_ids=tf.constant([], tf.int64))["vectors"].shape == (0, served.shape[1])


def test_item_vectors_and_index_lead_back_to_items(exported):
    folder, model = exported
    table = parquet.read_table(folder / "item_vectors")
    assert [str(kind) for kind in table.schema.types] == ["int64", "list<element: float>"]
    assert table["item_id"].to_pylist() == ITEMS.tolist()
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_allclose(vectors, model.item_vectors(ITEMS), atol=1e-6)
    index, ids = faiss.read_index(str(folder / "index.faiss")), parquet.read_table(folder / "index_ids")
    assert ids["position"].to_pylist() == list(range(150))
    queries = np.random.default_rng(0).normal(size=(20, vectors.shape[1])).astype(np.float32)
    found = ids["item_id"].to_numpy()[index.search(queries, 5)[1]]
    np.testing.assert_array_equal(found, ITEMS[np.argsort(-(queries @ vectors.T), axis=1)[:, :5]])


def test_the_manifest_says_what_was_exported_from_what(exported):
    folder, model = exported
    name = "increc" if isinstance(model, increc.IncRec) else "hccp"
    says = ModelDirectory(str(folder.parents[3]), name, DAY, "full", 3).manifest()
    assert says["seed"] == 3
    made = says["exported"]
    assert (made["items"], made["index"]["kind"], made["index"]["recall"]) == (150, "flat", 1.0)
    assert made["largest_difference"] <= 1e-5
    assert len(made["checkpoint"]) == 16
    assert "0.3000 against 0.2000" in made["verdict"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["checkpoint", "index.faiss", "index_ids", "item_vectors", "logs", "manifest.json", "saved_model"]
    )


@pytest.fixture
def of_text(tmp_path):
    """An IncRec model of a root whose item ids are text; of its items every third is alive, and one it never saw."""
    directory = write_model(tmp_path, "increc")
    write_samples(tmp_path)
    alive = [*ITEMS[::3].tolist(), 17]
    put_delta(tmp_path, "items", DAY - timedelta(3), [(item, None) for item in ITEMS.tolist()])
    put_delta(tmp_path, "items", DAY, [(item, None) for item in alive])
    texts = {"id": ITEMS, "text": [f"sku-{n}" for n in range(len(ITEMS))], "first_date": [DAY] * len(ITEMS)}
    write_deltalake(f"{tmp_path}/ids/item_id", pa.table(texts))
    (tmp_path / "settings.toml").write_text('[ids]\nitem_id = "text"\n')
    return directory


def test_dead_items_leave_index_and_vectors_which_have_the_producers_ids(of_text):
    exported = export_models.export(of_text, "passed")
    folder, alive = Path(of_text.root, of_text.place), ITEMS[::3].tolist()
    assert (exported["items"], exported["alive"]) == (50, f"logs/items of {DAY}")
    assert exported["made_from"] == {"logs/items": 1}
    for name, columns in (("item_vectors", ["item_id", "item_text", "vector"]),
                          ("index_ids", ["position", "item_id", "item_text"])):  # fmt: skip
        rows = parquet.read_table(folder / name)
        assert rows.column_names == columns
        assert rows["item_id"].to_pylist() == alive
        assert rows["item_text"].to_pylist() == [f"sku-{n}" for n in range(0, 150, 3)]
    assert faiss.read_index(str(folder / "index.faiss")).ntotal == 50


def test_a_model_that_knows_no_living_item_is_not_exported(tmp_path):
    directory = write_model(tmp_path, "increc")
    write_samples(tmp_path)
    put_delta(tmp_path, "impressions", DAY, [("r1", 17, 1, NOON)])
    with pytest.raises(WorkFailedError, match="knows none of the 1 items of logs/impressions and logs/conversions of"):
        export_models.export(directory, "passed")
    assert "exported" not in directory.manifest()


@pytest.mark.parametrize("at", ["user", "user/2"])
def test_older_exports_without_and_those_with_version_folders_load(root, counts, tmp_path, at):
    shutil.copytree(Path(root, DIRECTORIES["increc"], "saved_model/user/1"), tmp_path / at)
    tower = export.load_saved_model(tmp_path / "user").signatures["serving_default"]
    assert set(tower.structured_outputs) == {"vectors"}


def test_exporting_again_gives_the_same(root, counts):
    names = [f"{place}/{name}" for place in DIRECTORIES.values() for name in ("index.faiss", "manifest.json")]
    names += [f"models/{name}/serving.json" for name in DIRECTORIES]
    before = {name: Path(root, name).read_bytes() for name in names}
    assert {**run(root), "serving": counts["serving"]} == counts
    assert before == {name: Path(root, name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("on_the_day", "day_after", "continued", "passes", "reason"),
    [
        (None, None, True, False, "not evaluated yet"),
        ((0.3, 0.2), None, True, True, f"on {DAY} the model of 2020-01-14 .* stands above"),
        ((0.3, 0.2), None, False, False, "not evaluated yet"),  # trained from nothing: the day's figures are another's
        ((0.2, 0.2), None, True, False, "does not stand above random: inc@100 0.2000 against 0.2000"),
        ((0.3, 0.2), (0.1, 0.2), True, False, "on 2020-01-16 it does not stand above random"),
        ((0.1, 0.2), (0.3, 0.2), False, True, "on 2020-01-16 it stands above"),
        ((None, 0.2), None, True, False, "not evaluated yet"),
    ],
)
def test_the_verdict(tmp_path, on_the_day, day_after, continued, passes, reason):
    directory = ModelDirectory(str(tmp_path), "increc", DAY, "full", 3)
    before = ModelDirectory(str(tmp_path), "increc", DAY - timedelta(1), "full", 3)
    folder = checkpoint.open_directory()
    checkpoint.publish(folder, directory, {"continued_from": before.place if continued else None})
    for day, values in ((DAY, on_the_day), (DAY + timedelta(1), day_after)):
        if values:
            write_evaluation(tmp_path, day, "increc", "inc", *values)
    verdict = export_models.verdict(directory, "inc")
    assert verdict.passed == passes
    assert re.search(reason, verdict.why)


def test_an_evaluation_without_a_common_k_holds_back(tmp_path):
    directory = ModelDirectory(str(tmp_path), "increc", DAY, "full", 3)
    checkpoint.publish(checkpoint.open_directory(), directory, {})
    row = {"metric": "inc", "segment": "all", "support": 0}
    rows = [
        {**row, "variant": "random", "seed": 0, "k": 100, "value": 0.1},
        {**row, "variant": "full", "seed": 3, "k": 100, "value": None},
        {**row, "variant": "full", "seed": 3, "k": 500, "value": 0.9},
    ]
    evaluations.replace_rows(str(tmp_path), DAY + timedelta(1), "increc", rows)
    verdict = export_models.verdict(directory, "inc")
    assert not verdict.passed
    assert "no K" in verdict.why


@pytest.mark.parametrize("passed_over", [None, "2020-01-14"])
def test_models_of_the_day_before_are_judged_unless_a_person_passed_them_over(tmp_path, passed_over):
    root, (early, before) = str(tmp_path), (DAY - timedelta(2), DAY - timedelta(1))
    old, new = (ModelDirectory(root, "increc", day, "full", 3) for day in (early, before))
    for directory in (old, new):
        checkpoint.publish(checkpoint.open_directory(), directory, {"exported": {}})
    serving.write(root, "increc", Serving(old.place, "2020-01-14", "by hand", None, passed_over))
    write_evaluation(tmp_path, DAY, "increc", "inc", 0.3, 0.2)
    hit = [PerRequest("inc", "all", 100, np.arange(2), np.ones(2), np.ones(2), np.ones(2, int))]
    request_scores.replace_rows(root, DAY, "increc", pa.array(["r1", "r2"]), {old: hit, new: hit}, {})
    assert run(tmp_path)["published"] == []
    assert serving.read(root, "increc").place == (old if passed_over else new).place


def test_a_catalogue_smaller_than_every_k_is_said_in_whole_sentences(tmp_path):
    directory = ModelDirectory(str(tmp_path), "increc", DAY, "full", 3)
    checkpoint.publish(checkpoint.open_directory(), directory, {})
    row = {"metric": "in_catalogue", "segment": "all", "k": 0, "value": 0.5, "support": 9}
    rows = [{**row, "variant": "random", "seed": 0}, {**row, "variant": "full", "seed": 3}]
    evaluations.replace_rows(str(tmp_path), DAY + timedelta(1), "increc", rows)
    assert export_models.verdict(directory, "inc").why == (
        "the evaluation of 2020-01-16 measured it, but no inc@K: its K are 100, 500, 1000, and a catalogue of fewer "
        "than 100 items has no first 100 to look among. Nothing says whether it stands above random, so it is held back"
    )


def test_what_fails_its_check_leaves_what_was_there(root, counts, monkeypatch):
    place = Path(root, DIRECTORIES["increc"])
    before = (place / "manifest.json").read_bytes()
    monkeypatch.setattr(export, "largest_difference", lambda *_: 0.5)
    with pytest.raises(WorkFailedError, match=r"differ from the model's by 0\.5.*nothing was published"):
        run(root)
    assert (place / "manifest.json").read_bytes() == before
    assert (place / "index.faiss").exists()


def test_a_model_that_is_trained_anew_meanwhile_stays(root, counts, monkeypatch):
    directory = ModelDirectory(str(root), "increc", DAY, "full", 3)
    before = directory.manifest()

    def trained_anew(*_):
        folder = checkpoint.open_directory()
        (folder / "weights").write_text("newer")
        checkpoint.publish(folder, directory, before | {"epochs": 2})

    monkeypatch.setattr(export_models, "check", trained_anew)
    try:
        with pytest.raises(ConflictError, match=f"{directory.place} .* was replaced by another run"):
            export_models.export(directory, "passed")
        assert directory.manifest() == before | {"epochs": 2}
        assert Path(root, directory.place, "weights").read_text() == "newer"
    finally:
        write_model(root, "increc")
        monkeypatch.undo()
        run(root)


def test_a_poor_index_is_refused():
    directory = ModelDirectory("root", "increc", DAY, "full", 3)
    poor = {"largest_difference": 0.0, "index": {"recall": 0.97, "recall_at": 100}}
    with pytest.raises(WorkFailedError, match=r"finds 0\.970 of the exact top 100, should be at least 0\.98"):
        export_models.check(directory, poor)


def test_a_large_catalogue_gets_lists_and_enough_probes(monkeypatch):
    monkeypatch.setattr(export, "_FLAT_BELOW", 1000)
    random = np.random.default_rng(5)
    vectors = random.normal(size=(4000, 16)).astype(np.float32)
    queries = random.normal(size=(200, 16)).astype(np.float32)
    index, quality = export.build_index(vectors, queries)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
    found = faiss.deserialize_index(faiss.serialize_index(index)).search(queries, 100)[1]
    shared = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(exact, found, strict=True)])
    assert quality.kind == "ivf"
    assert 1 < quality.probes <= quality.cells
    assert shared >= 0.98
    assert quality.recall == pytest.approx(shared, abs=1e-3)


def test_nothing_to_export_is_no_failure(tmp_path, capsys):
    assert run(tmp_path) == {"rows_written": 0, "published": [], "held_back": {}, "serving": {}}
    assert f"no model dated {DAY}" in capsys.readouterr().err
