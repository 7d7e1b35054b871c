"""jobs/report/difference: what differs between dates, versions and roots, against rows changed by hand."""

import os

import pytest
from deltalake import DeltaTable
from rich.console import Console

from jobs import inspect_table as job
from jobs.command.cli import WorkFailedError
from jobs.report import difference, inventory
from schemas.table import MissingDataError
from tests.support import tiny_root
from tests.support.tiny_root import BEFORE, DAY


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Version 0: the day before. 1: the worked example. 2: r1's item 2 from RTG to ITG, r3's item 3 is gone."""
    folder = tmp_path_factory.mktemp("root")
    tiny_root.put_labels(folder)
    table = DeltaTable(f"{folder}/labels/target_groups")
    table.update(
        predicate="request_id = 'r1' AND item_id = 2", updates={'"group"': "'ITG'", "channels": "make_array()"}
    )
    table.delete("request_id = 'r3' AND item_id = 3")
    return str(folder)


def compared(root: str, pair: tuple[str, str], path: str = "labels/target_groups", day=None) -> dict:
    return difference.compare(*difference.sides(root, inventory.holding(root, path), pair, day))


def test_two_versions(root):
    told = compared(root, ("1", "3"))
    assert told["rows"] == [11, 10]
    assert (told["same_keys"], told["changed"], told["gone"], told["added"]) == (9, 0, 2, 1)
    assert told["gone_examples"] == [
        {"request_id": "r1", "item_id": 2, "group": "RTG"}, {"request_id": "r3", "item_id": 3, "group": "ETG"}
    ]  # fmt: skip
    assert told["moves"] == [{"from": "RTG", "to": "ITG", "items": 1}]
    groups = {row["group"]: row["items"] for row in told["distributions"]["By group"]}
    assert groups == {"ETG": [5, 4], "RTG": [4, 3], "ITG": [2, 3]}


def test_two_dates(root):
    told = compared(root, (str(BEFORE), str(DAY)))
    assert (told["rows"], told["same_keys"], told["gone"], told["added"]) == ([1, 10], 0, 1, 10)


def test_two_roots(root, tmp_path):
    for folder, clicks in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        rows = [(1, 9, clicks, 1, 5, 0.5, "top"), (3, 9, 1, 0, 3, 0.3, "middle")]
        tiny_root.put(folder, "item_stats", DAY, rows)
    pair = (str(tmp_path / "a"), str(tmp_path / "b"))
    told = compared(root, pair, "features/item_stats")
    assert (told["same_keys"], told["changed"], told["gone"], told["added"]) == (2, 1, 0, 0)
    assert {name for name, rows in told["changed_by_column"].items() if rows} == {"clicks"}
    assert "moves" not in told


@pytest.mark.parametrize("name", ["target_groups", "hccp_samples", "quality", "requests", "channel_value"])
def test_a_table_does_not_differ_from_itself(tmp_path, name):
    tiny_root.put_all(tmp_path)
    console = Console(width=80, record=True, file=open(os.devnull, "w"), highlight=False)  # noqa: SIM115
    arguments = [name, "--root", str(tmp_path), "--diff", str(DAY), str(DAY)]
    job.main(job.arg_parser().parse_args(arguments), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    counted = [line.split() for line in text.splitlines()]
    assert [line for line in counted if line[:1] in (["changed"], ["gone"], ["added"])] == [
        ["changed", "0"], ["gone", "0"], ["added", "0"]
    ]  # fmt: skip
    assert "moved" not in text


def test_wrong_pairs_are_named(root, tmp_path):
    with pytest.raises(MissingDataError, match="no version 9; the newest is 3"):
        compared(root, ("1", "9"))
    with pytest.raises(MissingDataError, match="no date 2023-01-01; dates there: 2024-02-29, 2024-03-01"):
        compared(root, ("2023-01-01", str(DAY)))
    with pytest.raises(MissingDataError, match="there is no root"):
        compared(root, (root, str(tmp_path / "none")))
    tiny_root.put_samples(tmp_path)
    with pytest.raises(WorkFailedError, match="no Delta table, so it has no versions"):
        compared(str(tmp_path), ("1", "2"), "features/item_stats")
