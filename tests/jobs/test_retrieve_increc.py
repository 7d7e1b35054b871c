"""jobs/retrieve_increc.py: which model retrieves what for whom, where it lands, and what refuses to start."""

import json
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyarrow import parquet

from jobs import (
    build_increc_samples,
    build_item_stats,
    build_user_histories,
    evaluate_increc,
    export_models,
    label_target_groups,
    retrieve_increc,
)
from jobs.command.cli import WorkFailedError
from jobs.simulator.landing import land
from jobs.simulator.settings import World
from models import batches, checkpoint
from models.increc import model as increc
from models.serving.load import chosen, newest
from schemas import serving
from schemas.serving import Serving
from schemas.storage import arrow
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from schemas.tables.logs import requests, retrievals
from schemas.tables.reports import evaluations
from schemas.tables.samples import increc_samples
from tests.jobs.test_evaluate_increc import ITEMS, write_model
from tests.support.ingested import ingest
from tests.support.landed import flags
from tests.support.tiny_root import put, put_delta, put_landing

DAY = date(2020, 1, 15)
BEFORE = DAY - timedelta(1)
NOON = datetime(2020, 1, 15, 12, tzinfo=UTC)
REQUESTS = 12
HISTORIES = {n: ITEMS[n : n + n % 5].tolist() for n in range(REQUESTS)}
FOLDER = f"landing/retrievals/date={DAY}/increc"


def write_logs(root, histories=HISTORIES, more=()):
    """Requests 0 to 10 of the homepage, 11 a search; no list is logged of one more, and histories are backwards."""
    rows = [(f"r{n:02}", 100 + n, "search" if n == REQUESTS - 1 else "homepage", NOON) for n in range(REQUESTS)]
    put_delta(root, "requests", DAY, [*rows, ("unlabelable", 7, "homepage", NOON)])
    told = [(f"r{n:02}", ids, ["cart"] * len(ids), [NOON] * len(ids)) for n, ids in histories.items()]
    put(root, "user_histories", DAY, told[::-1])
    lists = [(f"r{n:02}", "hot", [1, 2], []) for n in range(REQUESTS)]
    put_landing(root, "retrievals", DAY, lists)
    put_delta(root, "retrievals", DAY, [*lists, *((f"r{n:02}", "swing", [3], []) for n in range(3)), *more])


def publish(root, **made):
    """An untrained model, exported."""
    directory, model = write_model(root, **made)
    rows = {
        "user_id": np.arange(5),
        "history_item_ids": batches.Ragged.of([HISTORIES[n] for n in range(5)]),
        "history_actions": batches.Ragged.of([[3] * len(HISTORIES[n]) for n in range(5)]),
    }
    folder = checkpoint.open_directory()
    manifest = directory.manifest()
    export_models.copy(directory, folder)
    exported = export_models.exported_to(folder, model, rows, directory) | {"checkpoint": "c0ffee"}
    checkpoint.publish(folder, directory, manifest | {"exported": exported})
    return directory


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("root")
    write_logs(made)
    publish(made, variant="full")
    return made


def retrieve(root, *given):
    return retrieve_increc.main(flags(retrieve_increc, root, DAY, *given), DAY)


def landed(root, folder=FOLDER):
    return parquet.read_table(root / folder, partitioning=None)


def test_each_request_has_the_items_nearest_to_its_user(root):
    counts = retrieve(root, "--items", "7")
    assert counts == {"rows_written": 11, "model": f"models/increc/date={BEFORE}/full-seed1"}
    found = landed(root)
    assert found.schema.equals(retrievals.schema)
    assert found["request_id"].to_pylist() == [f"r{n:02}" for n in reversed(range(REQUESTS - 1))]
    assert set(found["channel"].to_pylist()) == {"increc"}
    model = increc.load(newest(str(root), "increc", "full", 1, DAY))
    rows = {
        "user_id": np.arange(100, 111),
        "history_item_ids": batches.Ragged.of([HISTORIES[n] for n in range(11)]),
        "history_actions": batches.Ragged.of([[3] * len(HISTORIES[n]) for n in range(11)]),
    }
    scores = model.user_vectors(rows) @ model.item_vectors(ITEMS).T
    for n, row in enumerate(reversed(found.to_pylist())):
        best = np.argsort(-scores[n], kind="stable")[:7]
        assert row["item_ids"] == ITEMS[best].tolist()
        np.testing.assert_allclose(row["scores"], scores[n][best], atol=1e-5)
    assert len({tuple(row) for row in found["item_ids"].to_pylist()}) > 1


def test_again_it_replaces_its_own_rows_alone(root):
    retrieve(root, "--items", "7")
    first = landed(root)
    retrieve(root, "--items", "7")
    assert landed(root).equals(first)
    there = [parquet.read_table(path)["channel"].to_pylist() for path in (root / FOLDER).parent.rglob("*.parquet")]
    assert sorted(name for names in there for name in names) == ["hot"] * 12 + ["increc"] * 11
    retrieve(root, "--items", "3", "--scenario", "search")
    other = landed(root)
    assert (other["request_id"].to_pylist(), [len(row) for row in other["item_ids"].to_pylist()]) == (["r11"], [3])


def test_a_catalogue_smaller_than_the_list_is_returned_whole(root):
    retrieve(root, "--items", "1000")
    assert {len(row) for row in landed(root)["item_ids"].to_pylist()} == {len(ITEMS)}


def test_the_manifest_says_what_it_was_made_from(root):
    retrieve(root, "--items", "7")
    says = json.loads((root / FOLDER / "_manifest.json").read_text())
    assert says["settings"] == {"items": 7, "scenarios": ["homepage"]}
    assert says["made_from"] == {
        f"models/increc/date={BEFORE}/full-seed1": "c0ffee",
        "logs/requests": arrow.delta(str(root), requests).version(),
        "logs/retrievals": arrow.delta(str(root), retrievals).version(),
        f"features/user_histories/date={DAY}": says["made_from"][f"features/user_histories/date={DAY}"],
    }


def test_the_newest_published_model_before_the_date_retrieves(tmp_path):
    """Not the date's own, not one that was held back, not another seed's."""
    publish(tmp_path, variant="full", day=BEFORE - timedelta(2))
    write_model(tmp_path, variant="full", day=BEFORE)
    publish(tmp_path, variant="full", day=DAY)
    publish(tmp_path, variant="full", day=BEFORE, seed=2)
    assert newest(str(tmp_path), "increc", "full", 1, DAY).day == BEFORE - timedelta(2)
    with pytest.raises(MissingDataError, match=r"base-seed1 before 2020-01-15; no checkpoint of it either"):
        newest(str(tmp_path), "increc", "base", 1, DAY)
    with pytest.raises(MissingDataError, match=r"before 2020-01-12; no checkpoint"):
        newest(str(tmp_path), "increc", "full", 1, BEFORE - timedelta(2))
    write_model(tmp_path, variant="na", day=BEFORE)
    with pytest.raises(MissingDataError, match=rf"not published: models/increc/date={BEFORE}/na-seed1$"):
        newest(str(tmp_path), "increc", "na", 1, DAY)


def test_the_model_that_serves_retrieves_unless_a_variant_or_a_later_date_is_asked_for(tmp_path):
    root = str(tmp_path)
    served = publish(tmp_path, variant="base", day=BEFORE - timedelta(2))
    newer = publish(tmp_path, variant="full")
    assert chosen(root, "increc", None, None, DAY) == newer
    serving.write(root, "increc", Serving(served.place, str(BEFORE), "put there by hand"))
    assert chosen(root, "increc", None, None, DAY) == served
    assert chosen(root, "increc", "full", None, DAY) == newer
    with pytest.raises(MissingDataError, match="no published models/increc/date=D/full-seed1 before 2020-01-12"):
        chosen(root, "increc", None, None, served.day)  # it has learned from the date
    write_model(tmp_path, variant="base", day=served.day)  # trained anew, and not exported since
    assert chosen(root, "increc", None, None, DAY) == newer


def test_no_dead_item_is_retrieved_and_rows_speak_the_producers_language(tmp_path):
    write_logs(tmp_path)
    put_delta(tmp_path, "items", BEFORE, [(item, None) for item in ITEMS.tolist()])
    alive = ITEMS[::40].tolist()
    put_delta(tmp_path, "items", DAY, [(item, None) for item in alive])
    publish(tmp_path, variant="full")
    texts = {"id": ITEMS, "text": [f"sku-{n}" for n in range(len(ITEMS))], "first_date": [DAY] * len(ITEMS)}
    write_deltalake(f"{tmp_path}/ids/item_id", pa.table(texts))
    columns = '{ request_id = "rid", item_ids = "skus", channel = "path:source" }'
    (tmp_path / "settings.toml").write_text(f'[ids]\nitem_id = "text"\n[logs.retrievals]\ncolumns = {columns}\n')
    assert retrieve(tmp_path, "--items", "5")["rows_written"] == 11
    rows = landed(tmp_path, f"{FOLDER}/source=increc")
    assert rows.column_names == ["rid", "skus", "scores"]
    assert {tuple(sorted(row)) for row in rows["skus"].to_pylist()} == {("sku-0", "sku-40", "sku-80")}
    assert {len(row) for row in rows["scores"].to_pylist()} == {3}
    assert all(row == sorted(row, reverse=True) for row in rows["scores"].to_pylist())
    assert retrieve(tmp_path, "--items", "5")["rows_written"] == 11  # its own folder is no other channel's


def test_without_histories_or_other_channels_nothing_lands(tmp_path):
    publish(tmp_path, variant="full")
    write_logs(tmp_path, {n: HISTORIES[n] for n in range(3, REQUESTS)})
    with pytest.raises(WorkFailedError, match="3 of 11 requests of 2020-01-15 have no row in user_histories"):
        retrieve(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    write_logs(tmp_path / "alone")
    publish(tmp_path / "alone", variant="full")
    retrieve(tmp_path / "alone")
    for path in (tmp_path / "alone" / FOLDER).parent.glob("*.parquet"):
        path.unlink()
    with pytest.raises(MissingDataError, match="has no other channel"):
        retrieve(tmp_path / "alone")


def test_a_channel_that_was_served_and_a_model_that_is_not_all_published_are_refused(tmp_path):
    publish(tmp_path, variant="full")
    write_logs(tmp_path, more=[("unlabelable", "increc", [1], [])])  # own lists make no request labelable
    assert retrieve(tmp_path)["rows_written"] == 11
    put_landing(tmp_path, "retrievals", DAY, [("r00", "hot", [1], []), ("r00", "increc", [2], [])])
    with pytest.raises(WorkFailedError, match="has the channel increc already"):
        retrieve(tmp_path)
    publish(tmp_path, variant="full_with_item_cf")
    with pytest.raises(ValueError, match="full_with_item_cf-seed1 is judged fused with item-CF"):
        newest(str(tmp_path), "increc", "full_with_item_cf", 1, DAY)


def test_the_loop_closes(spark, tmp_path):
    """Simulated: what evaluate_increc says the channel finds of the ITG items are ITG no more once it is logged; but
    what IncRec learns from and is judged by, the other channels, stays."""
    root, days = str(tmp_path), [DAY, DAY + timedelta(1)]
    world = World(users=200, items=300, pre_ranking_keep=20)
    for day in days:
        land(root, world, day)
        ingest(tmp_path, day=day)
    label = partial(label_target_groups.main, flags(label_target_groups, root, DAY), DAY)
    label()
    for job in (build_user_histories, build_item_stats):
        job.main(flags(job, root, DAY), DAY)
    publish(tmp_path, variant="full", items=np.arange(1, 301))
    learned, figures = learned_and_judged(root)
    inc = figures["full", "inc", "all", 100]
    before, hits = itg(root), round(inc["value"] * inc["support"])
    assert len(before) == inc["support"] > hits > 10
    retrieve(root, "--items", "100")
    ingest(tmp_path, day=DAY)
    label()
    after = itg(root)
    assert after < before
    assert len(before - after) == hits
    rows = arrow.read(root, target_groups, DAY, ["request_id", "item_id", "group", "channels"]).to_pylist()
    alone = {(row["request_id"], row["item_id"]) for row in rows if row["channels"] == ["increc"]}
    assert before - after <= alone
    assert learned_and_judged(root) == (learned, figures)


def learned_and_judged(root) -> tuple[list, dict]:
    """The rows of increc_samples and of evaluations."""
    for job in (build_increc_samples, evaluate_increc):
        job.main(flags(job, root, DAY), DAY)
    samples = arrow.read(root, increc_samples, DAY).sort_by("request_id").to_pylist()
    rows = arrow.read(root, evaluations, DAY).to_pylist()
    return samples, {(row["variant"], row["metric"], row["segment"], row["k"]): row for row in rows}


def itg(root) -> set[tuple[str, int]]:
    rows = arrow.read(root, target_groups, DAY, ["request_id", "item_id", "group"]).to_pylist()
    return {(row["request_id"], row["item_id"]) for row in rows if row["group"] == "ITG"}
