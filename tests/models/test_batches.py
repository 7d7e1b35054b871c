"""Batches from Parquet row groups, ragged columns, and the catalogue of known items."""

from datetime import date

import models  # noqa: F401 isort: skip
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from models import batches
from models.batches import Ragged
from models.item_vocabulary import Catalogue
from schemas.storage import arrow
from schemas.table import ContractError, MissingDataError
from schemas.tables.samples import hccp_samples, increc_samples

DAY = date(2020, 1, 1)


def samples(count: int, start: int = 0) -> pa.Table:
    """Requests `start`.. of one user each, user n with history [10n, 10n + 1] and ITG item n."""
    users = range(start, start + count)
    rows = [
        {
            "request_id": f"r{n}", "user_id": n, "scenario": "homepage", "request_time": n,
            "history_item_ids": [10 * n, 10 * n + 1], "history_actions": ["click", "purchase"],
            "etg_item_ids": [], "etg_actions": [], "rtg_item_ids": [], "rtg_actions": [],
            "itg_item_ids": [n], "itg_actions": ["cart"],
        }
        for n in users
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=increc_samples.schema)


def write(root, day: date, rows: pa.Table) -> None:
    arrow.write(str(root), increc_samples, day, rows, made_from={}, settings={"seed": 0})


def test_ragged_takes_maps_and_pads():
    lists = Ragged.of([[1, 2, 3], [], [4]])
    assert lists.lengths.tolist() == [3, 0, 1]
    assert lists.owners.tolist() == [0, 0, 0, 2]
    taken = lists.take(np.array([2, 0, 1]))
    assert (taken.values.tolist(), taken.offsets.tolist()) == ([4, 1, 2, 3], [0, 1, 4, 4])
    assert lists.padded(2).tolist() == [[1, 2], [0, 0], [4, 0]]
    assert lists.padded(4, newest_first=True).tolist() == [[3, 2, 1, 0], [0, 0, 0, 0], [4, 0, 0, 0]]
    assert Ragged.of([[], []]).padded(2).tolist() == [[0, 0], [0, 0]]


def test_decode_codes_actions_and_levels():
    rows = pa.table(
        {
            "history_actions": pa.array([["click"], ["", "purchase"], ["favorite", "cart"]]),
            "levels": pa.array([["purchased"], ["filtered"], []]),
            "sampling_weights": pa.array([[1.5], [2.0], []], pa.list_(pa.float32())),
        }
    ).slice(1)
    batch = batches.decode(rows)
    assert batch["history_actions"].values.tolist() == [0, 4, 2, 3]
    assert batch["history_actions"].offsets.tolist() == [0, 2, 4]
    assert batch["levels"].values.tolist() == [6]
    assert batch["sampling_weights"].values.tolist() == [2.0]


def test_decode_refuses_an_unknown_action_and_a_null_list():
    with pytest.raises(ContractError, match=r"history_actions holds \['stare'\], should be one of"):
        batches.decode(pa.table({"history_actions": pa.array([["stare"]])}))
    with pytest.raises(ContractError, match="item_ids: 1 lists are null"):
        batches.decode(pa.table({"item_ids": pa.array([[1], None])}))


def test_decode_takes_a_whole_hccp_sample():
    rows = pa.Table.from_pylist(
        [
            {
                "request_id": "r", "user_id": 1, "request_time": 0,
                "history_item_ids": [7], "history_actions": ["cart"],
                "item_ids": [1, 2], "levels": ["clicked", "ranked"], "teacher_ranks": [1, 2], "actions": ["click", ""],
                "in_scenario_actions": ["click", ""], "sampling_weights": [1.0, 3.0],
            }
        ],
        schema=hccp_samples.schema,
    )  # fmt: skip
    batch = batches.decode(rows)
    assert batch["in_scenario_actions"].values.tolist() == [1, 0]
    assert batch["teacher_ranks"].values.dtype == np.int32


def epoch(root, groups, seed, number, rows=32, window=100) -> list[int]:
    read = batches.batches(str(root), groups, ["user_id", "itg_item_ids"], rows, [seed], number, window_rows=window)
    users = []
    for batch in read:
        assert batch["itg_item_ids"].values.tolist() == batch["user_id"].tolist()  # lists stay beside their row
        users.append(batch["user_id"].tolist())
    assert [len(one) for one in users[:-1]] == [rows] * (len(users) - 1)
    return [user for one in users for user in one]


def test_an_epoch_holds_each_row_once_in_an_order_set_by_seed_and_epoch(tmp_path, monkeypatch):
    # Two dates; the first has three row groups of 50 rows.
    monkeypatch.setattr(arrow, "_ROWS_PER_GROUP", 50)
    write(tmp_path, date(2020, 1, 2), samples(41, start=150))
    write(tmp_path, DAY, samples(150))
    groups = batches.row_groups(str(tmp_path), increc_samples, [DAY, date(2020, 1, 2)])
    assert [group.rows for group in groups] == [50, 50, 50, 41]
    first = epoch(tmp_path, groups, 1, 0)
    assert sorted(first) == list(range(191))
    assert first == epoch(tmp_path, groups, 1, 0)
    assert first != epoch(tmp_path, groups, 1, 1)
    assert first != epoch(tmp_path, groups, 2, 0)


def test_a_date_without_samples_is_named(tmp_path):
    write(tmp_path, DAY, samples(1))
    with pytest.raises(MissingDataError, match="2020-01-05"):
        batches.row_groups(str(tmp_path), increc_samples, [date(2020, 1, 5)])


ITEMS = pa.table(
    {
        "item_id": pa.array([5, 9, 2**40]),
        "category_id": pa.array([1, None, 1]),
        "brand": ["a", "b", None],
        "price": [1.0, 2.0, 3.0],
    }
)


def test_the_catalogue_appends_and_never_moves_a_row():
    early = Catalogue.empty(8, ITEMS, 100).grown(np.array([9, 5, 2**40]), ITEMS)
    late = early.grown(np.array([-6, 5, 7]), ITEMS)
    assert late.item_ids.tolist() == [5, 9, 2**40, -6, 7]
    known = np.array([5, 9, 2**40])
    assert early.lookup(known).tolist() == late.lookup(known).tolist() == [9, 10, 11]
    assert late.lookup(np.array([-6, 7])).tolist() == [12, 13]
    assert late.codes.shape == (1 + 8 + 5, 3)


def test_unknown_ids_get_a_bucket_always_the_same_and_spread():
    catalogue = Catalogue.empty(8, None, 100).grown(np.array([1]))
    ids = np.arange(1000, 9000)
    rows = catalogue.lookup(ids)
    assert (rows == catalogue.lookup(ids[::-1])[::-1]).all()
    counts = np.bincount(rows, minlength=9)[1:9]
    assert counts.sum() == 8000
    assert counts.min() > 700  # 1000 expected


def test_the_tensor_lookup_agrees_with_the_array_lookup():
    random = np.random.default_rng(5)
    known = random.integers(-(2**62), 2**62, 500)
    catalogue = Catalogue.empty(64, None, 100).grown(known[:200]).grown(known[200:400])
    ids = np.concatenate([known, np.array([0, -1, 2**24 + 1, -(2**63), 2**63 - 1])])
    assert catalogue.lookup_tensor(tf.constant(ids)).numpy().tolist() == catalogue.lookup(ids).tolist()
    assert catalogue.lookup_tensor(tf.constant(ids[:4].reshape(2, 2))).shape == (2, 2)


def test_attributes_are_hashed_or_bucketised_and_null_is_unknown():
    catalogue = Catalogue.empty(2, ITEMS, 100).grown(np.array([5, 7, 9, 2**40]), ITEMS)
    category, brand, price = catalogue.codes[catalogue.lookup(np.array([5, 7, 9, 2**40]))].T
    assert category[0] == category[3] > 0
    assert category[1] == category[2] == 0  # not in the snapshot; null
    assert brand[0] > 0
    assert brand[3] == 0
    assert 0 < price[0] < price[2] < price[3]
    assert (catalogue.codes[:3] == 0).all()
    dearer = pa.table({"item_id": pa.array([5]), "price": [99.0]})
    changed = catalogue.grown(np.zeros(0, np.int64), dearer).codes[catalogue.lookup(np.array([5]))[0]]
    assert changed.tolist() == [category[0], brand[0], price[3]]


def test_a_catalogue_survives_a_checkpoint():
    catalogue = Catalogue.empty(4, ITEMS, 100).grown(np.array([9, 5]), ITEMS)
    again = Catalogue.of(catalogue.arrays())
    assert again.attributes == catalogue.attributes
    assert again.lookup(np.array([5, 9, 77])).tolist() == catalogue.lookup(np.array([5, 9, 77])).tolist()
    assert (again.codes == catalogue.codes).all()


def test_a_number_that_is_not_finite_is_no_attribute_value():
    snapshot = pa.table({"item_id": [1, 2, 3, 4], "price": [1.0, float("nan"), float("inf"), 3.0]})
    catalogue = Catalogue.empty(8, snapshot, 100).grown(np.arange(1, 5), snapshot)
    (price,) = catalogue.attributes
    assert np.isfinite(price.boundaries).all()
    codes = catalogue.codes[catalogue.lookup(np.arange(1, 5)), 0].tolist()
    assert codes[1:3] == [0, 0]
    assert 0 < codes[0] < codes[3]


def test_some_values_of_lists():
    kept = Ragged.of([[1, 2, 3], [], [4], [5, 6]]).where(np.array([True, False, True, False, True, True]))
    assert kept.values.tolist() == [1, 3, 5, 6]
    assert kept.offsets.tolist() == [0, 2, 2, 2, 4]


def test_parts_hold_every_row_once_and_there_is_one_of_nothing():
    rows = {"n": np.arange(5), "lists": Ragged.of([[0], [1, 1], [], [3], [4]])}
    found = [(part["n"].tolist(), part["lists"].values.tolist()) for part in batches.parts(rows, 2)]
    assert found == [([0, 1], [0, 1, 1]), ([2, 3], [3]), ([4], [4])]
    assert [batches.size(part) for part in batches.parts(batches.take(rows, np.zeros(0, int)), 2)] == [0]
