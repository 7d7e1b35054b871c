"""jobs/evaluation/table.py: one model's rows replaced, the others' kept, also when two write at once."""

from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context

import pytest

from jobs.evaluation.table import replace_rows
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import ContractError
from schemas.tables.reports import evaluations

DAY = date(2020, 1, 2)


def row(variant, value, **other):
    return {
        "variant": variant,
        "seed": 0,
        "metric": "ish",
        "segment": "all",
        "k": 10,
        "value": value,
        "support": 4,
    } | other


def written(root):
    return sorted((r["model"], r["variant"], r["value"]) for r in arrow.read(root, evaluations, DAY).to_pylist())


def test_own_rows_are_replaced_and_the_others_kept(tmp_path):
    root = str(tmp_path)
    assert replace_rows(root, DAY, "increc", [row("base", 0.5)], {"samples/increc_samples": "a"}, {"limit": 9}) == 1
    assert replace_rows(root, DAY, "hccp", [row("full", 0.25), row("old", 0.1)], {"samples/hccp_samples": "b"}) == 2
    assert replace_rows(root, DAY, "hccp", [row("full", None)]) == 1
    assert [r[:2] for r in written(root)] == [("hccp", "full"), ("increc", "base")]
    manifest = partitions.manifest(Root.of(root), evaluations, DAY)
    assert manifest["settings"] == {"increc": {"limit": 9}, "hccp": {}}
    # The second run for hccp was made from nothing: what the first was made from is not said any more.
    assert manifest["made_from"] == {"increc": {"samples/increc_samples": "a"}, "hccp": {}}


def test_what_is_recorded_under_no_model_goes(tmp_path):
    root = str(tmp_path)
    arrow.write(root, evaluations, DAY, evaluations.schema.empty_table(), {"samples/old": "a"}, {"increc": {}})
    replace_rows(root, DAY, "hccp", [row("full", 0.5)], {"samples/hccp_samples": "b"})
    made_from = partitions.manifest(Root.of(root), evaluations, DAY)["made_from"]
    assert made_from == {"hccp": {"samples/hccp_samples": "b"}}


def test_a_bad_row_is_refused_and_leaves_what_was_there(tmp_path):
    root = str(tmp_path)
    replace_rows(root, DAY, "hccp", [row("full", 0.5)])
    with pytest.raises(ContractError, match="share the key"):
        replace_rows(root, DAY, "hccp", [row("full", 0.1), row("full", 0.2)])
    with pytest.raises(ContractError, match="it should have"):
        replace_rows(root, DAY, "hccp", [row("full", 0.1, spread=3)])
    assert written(root) == [("hccp", "full", 0.5)]


def write_many(root, model):
    for n in range(5):
        replace_rows(root, DAY, model, [row("full", float(n))])


def test_two_writers_at_once_lose_nothing(tmp_path):
    root = str(tmp_path)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(write_many, [root, root], ["increc", "hccp"]))
    assert written(root) == [("hccp", "full", 4.0), ("increc", "full", 4.0)]
