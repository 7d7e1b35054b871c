"""jobs/report/query: SQL over a root's tables that reaches nothing else, and the export of rows."""

import csv
import json
from datetime import timedelta

import pytest
from pyarrow import parquet
from rich.console import Console

from jobs import inspect_table as job
from jobs.command.cli import WorkFailedError
from jobs.report import query
from schemas.table import MissingDataError
from tests.support import tiny_root
from tests.support.terminal import view
from tests.support.tiny_root import DAY


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root a=1")
    tiny_root.put_all(folder)
    tiny_root.put(folder, "user_histories", DAY + timedelta(days=1), [("r9", [], [], [])])
    return str(folder)


def rows(root: str, sql: str) -> list[tuple]:
    with query.answer(root, sql) as answer:
        return [tuple(row.values()) for row in query.head(answer, 1000)]


def test_tables_are_known_by_name_and_by_path(root):
    assert rows(root, 'SELECT "group", count(*) FROM target_groups GROUP BY 1 ORDER BY 1') == [
        ("ETG", 6), ("ITG", 2), ("RTG", 4)
    ]  # fmt: skip
    assert rows(root, "SELECT date, count(*) FROM user_histories GROUP BY 1 ORDER BY 1") == [
        (DAY, 3), (DAY + timedelta(days=1), 1)
    ]  # fmt: skip
    assert rows(root, 'SELECT count(*) FROM "landing/conversions"') == [(8,)]
    assert rows(root, "SELECT reason FROM \"quarantine/conversions\"") == [("action is unknown",)]  # fmt: skip
    joined = "SELECT count(*) FROM requests JOIN impressions USING (request_id) WHERE scenario = 'homepage'"
    assert rows(root, joined) == [(6,)]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "takes one SELECT"),
        ("SELECT 1; DROP TABLE requests", "takes one SELECT"),
        ("ATTACH '/tmp/x.db'", "takes one SELECT"),
        ("SET enable_external_access = true", "takes one SELECT"),
        ("SELECT", "Parser Error"),
        ("SELECT nope FROM requests", "nope"),
        ("SELECT * FROM users", "users does not exist"),
    ],
)
def test_what_it_may_not_or_cannot_is_one_line(root, sql, said):
    with pytest.raises(WorkFailedError, match=said) as refused:
        rows(root, sql)
    assert "\n" not in str(refused.value)


def test_an_answer_is_shown_and_cut(root, capsys):
    text = view(root, "--sql", "SELECT item_id, channels FROM target_groups", "--rows", "2")
    assert "2 rows" in text
    assert "… and more: --rows N shows them, --export FILE writes all" in text
    job.main(job.arg_parser().parse_args(["--root", root, "--json", "--sql", "SELECT 1 AS one"]), Console(width=80))
    assert json.loads(capsys.readouterr().out) == {
        "job": "inspect_table", "columns": ["one"], "rows": [{"one": 1}], "more": False
    }  # fmt: skip
    assert "no rows; columns one" in view(root, "--sql", "SELECT 1 AS one WHERE false")


def test_rows_go_to_files(root, tmp_path):
    view(root, "retrievals", "--export", str(tmp_path / "lists.csv"))
    with (tmp_path / "lists.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [json.loads(row["item_ids"]) for row in written] == [[1, 2, 3], [3, 4], [3, 4], [3, 4]]
    view(root, "user_histories", "--date", "2024-03-01..2024-03-02", "--export", str(tmp_path / "a.parquet"))
    assert parquet.read_table(tmp_path / "a.parquet")["request_id"].to_pylist() == ["r1", "r2", "r3", "r9"]
    view(root, "user_histories", "--export", str(tmp_path / "a.parquet"))  # the newest date alone, in its place
    assert parquet.read_table(tmp_path / "a.parquet")["request_id"].to_pylist() == ["r9"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "lists.csv"]


def test_an_export_that_fails_leaves_no_file(root, tmp_path):
    with pytest.raises(WorkFailedError):
        view(root, "--sql", "SELECT error('late') FROM requests", "--export", str(tmp_path / "x.csv"))
    assert list(tmp_path.iterdir()) == []


def test_wrong_questions(root, tmp_path):
    with pytest.raises(SystemExit) as ended:
        view(root, "requests", "--export", str(tmp_path / "x.xlsx"))
    assert ended.value.code == 2
    with pytest.raises(WorkFailedError, match="--export needs TABLE"):
        view(root, "--export", str(tmp_path / "x.csv"))
    with pytest.raises(MissingDataError, match="there is no root"):
        rows(str(tmp_path / "none"), "SELECT 1")
