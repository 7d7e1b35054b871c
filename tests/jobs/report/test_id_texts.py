"""jobs/report/id_texts: text ids beside numbers, and accepted as arguments."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from rich.console import Console

from jobs import inspect_table as job
from jobs.report import query
from jobs.report.id_texts import IdTexts
from schemas.table import MissingDataError
from tests.support import tiny_root
from tests.support.terminal import view
from tests.support.tiny_root import DAY

ITEMS = {3: "sku-three", 9: "sku[9]"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    tiny_root.put_all(folder)
    (folder / "settings.toml").write_text('[ids]\nitem_id = "text"\n')
    ids = pa.table({"id": [*ITEMS], "text": [*ITEMS.values()], "first_date": [DAY] * 2})
    write_deltalake(f"{folder}/ids/item_id", ids)
    return str(folder)


def test_texts_are_numbers_and_back(root):
    texts = IdTexts(root)
    assert texts.number("item_id", "sku-three") == 3
    assert texts.number("item_id", "9") == 9  # no text is "9": it is the number that tables hold
    assert texts.number("user_id", "1") == 1
    texts.learn("item_id", [3, 9, 77])
    assert [texts.name("item_id", each) for each in (3, 9, 77)] == ["3 (sku-three)", "9 (sku[9])", "77"]
    with pytest.raises(MissingDataError, match="no item 'sku': ids/item_id has no such text"):
        texts.number("item_id", "sku")
    with pytest.raises(MissingDataError, match="no user 'anna': a user's id is a whole number here"):
        texts.number("user_id", "anna")


def test_stories_show_and_take_texts(root):
    assert "3 (sku-three)" in view(root, "--request", "r1")
    assert "9 (sku[9])" in view(root, "--user", "1")
    assert view(root, "--item", "sku-three") == view(root, "--item", "3")


def test_rows_have_the_text_beside_the_id(root, capsys):
    arguments = ["target_groups", "--root", root, "--json", "--rows", "20"]
    job.main(job.arg_parser().parse_args(arguments), Console(width=80))
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["item_id"]: row["item_id_text"] for row in rows} == {**dict.fromkeys((1, 2, 4, 5, 8)), **ITEMS}
    assert "user_id_text" not in rows[0]
    assert "sku-three" in view(root, "retrievals")


def test_ids_that_are_numbers_stay_alone(tmp_path):
    tiny_root.put_logs(tmp_path)
    rows = [{"item_id": 3, "item_ids": [3, 9]}]
    assert IdTexts(str(tmp_path)).beside(rows) == rows
    assert not Path(tmp_path, "ids").exists()


def test_a_query_joins_the_texts(root):
    sql = 'SELECT text, count(*) FROM target_groups JOIN "ids/item_id" ON id = item_id GROUP BY 1 ORDER BY 1'
    with query.answer(root, sql) as answer:
        assert [tuple(row.values()) for row in query.head(answer, 9)] == [("sku-three", 3), ("sku[9]", 1)]
