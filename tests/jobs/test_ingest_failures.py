"""What a failed ingest_logs says, and what it leaves alone."""

import shutil
from datetime import timedelta

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs import ingest_logs
from jobs.command.cli import WorkFailedError
from schemas.storage import arrow
from schemas.table import ContractError, MissingDataError
from schemas.tables import logs
from schemas.tables.reports import quality
from tests.support.ingested import DAY, at, ingest, kept, land, land_empty, refused


def small(root, count: int = 40) -> None:
    """A date without a fault: `count` requests, a retrieval each, nothing else."""
    land_empty(root, logs.impressions, logs.conversions)
    names = [f"r{n}" for n in range(count)]
    land(root, "requests", {"request_id": names, "user_id": list(range(count)), "scenario": ["homepage"] * count,
                            "request_time": [at("10:00") + timedelta(minutes=n) for n in range(count)]})  # fmt: skip
    land(root, "retrievals", {"request_id": names, "channel": ["hot"] * count, "item_ids": [[1, 2]] * count})


def state(root) -> dict:
    """Every row of every log of the date, and the quarantine's dates."""
    found = {table.name: kept(root, table) for table in logs.LOGS if arrow.dates(str(root), table)}
    found["quarantine"] = sorted(path.name for path in (root / "quarantine").glob("*/date=*"))
    return found


def test_a_failed_run_changes_no_log_and_a_later_one_repairs_it(spark, tmp_path):
    small(tmp_path)
    land(tmp_path, "stages", {"request_id": ["r0"], "stage": ["ranking"], "item_ids": [[1]]})
    assert ingest(tmp_path)["rows_written"] == 81
    before = state(tmp_path)

    # Two requests of 42 are refused: 4.8 %. But the three retrievals of unknown requests of 43 are 7 %.
    land(tmp_path, "requests", {"request_id": ["", ""], "user_id": [1, 2], "scenario": ["a", "b"],
                                "request_time": [at("10:00")] * 2}, part=1)  # fmt: skip
    land(tmp_path, "retrievals", {"request_id": ["x", "y", "z"], "channel": ["hot"] * 3, "item_ids": [[1]] * 3}, part=1)
    with pytest.raises(WorkFailedError) as fault:
        ingest(tmp_path)
    assert "retrievals: 7.0% of 43 rows refused: request_id: no valid request of the date (3)" in str(fault.value)
    assert "requests:" not in str(fault.value).split("retrievals")[0]
    assert {name: rows for name, rows in state(tmp_path).items() if name != "quarantine"} == {
        name: rows for name, rows in before.items() if name != "quarantine"
    }
    assert len(refused(tmp_path, "retrievals")) == 3
    checks = {
        (row["table"], row["check"]): row["passed"] for row in arrow.read(str(tmp_path), quality, DAY).to_pylist()
    }
    assert checks["requests", "refused_share"]
    assert not checks["retrievals", "refused_share"]

    # The producer takes the faulty files back, and the stages: as a first run without them, without a quarantine.
    for table in ("requests", "retrievals"):
        (tmp_path / "landing" / table / f"date={DAY}" / "part-1.parquet").unlink()
    shutil.rmtree(tmp_path / "landing" / "stages")
    assert ingest(tmp_path)["rows_written"] == 80
    assert state(tmp_path) == {name: rows for name, rows in before.items() if name != "stages"}


def test_a_broken_page_is_named_and_changes_nothing(spark, tmp_path):
    small(tmp_path, count=2)
    land(tmp_path, "items", {"item_id": list(range(1000)), "category_id": list(range(1000))})
    path = tmp_path / "landing" / "items" / f"date={DAY}" / "part-0.parquet"
    pages = bytearray(path.read_bytes())
    start = parquet.read_metadata(path).row_group(0).column(1).dictionary_page_offset
    pages[start : start + 200] = b"x" * 200
    path.write_bytes(pages)
    with pytest.raises(ContractError, match=r"items/date=2024-03-01/part-0.parquet cannot be read: \w+") as fault:
        ingest(tmp_path)
    assert "\n" not in str(fault.value)
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


def faulty_columns(root) -> None:
    land(root, "requests", {"Request_ID": ["r1"], "user_id": [1], "scenario": ["a"], "request_time": [at("10:00")]})


def faulty_type(root) -> None:
    land(root, "requests", {"request_id": ["r1"], "user_id": pa.array([1], pa.time64("us")), "scenario": ["a"]})


def text_file(root) -> None:
    (root / "landing" / "requests" / f"date={DAY}" / "part-9.parquet").write_text("request_id,user_id\nr1,1\n")


def truncated(root) -> None:
    path = root / "landing" / "requests" / f"date={DAY}" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def missing(root) -> None:
    place = root / "landing" / "impressions" / f"date={DAY}"
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (faulty_columns, ContractError, ["request_id and Request_ID differ only by case"]),
        (faulty_type, ContractError, ["part-0.parquet", "column user_id", "should be int64"]),
        (text_file, ContractError, ["part-9.parquet cannot be read as Parquet"]),
        (truncated, ContractError, ["part-0.parquet cannot be read as Parquet"]),
        (missing, MissingDataError, [f"landing/impressions/date={DAY} has no Parquet file"]),
    ],
)
def test_what_cannot_be_read_is_named_before_anything_starts(tmp_path, spoil, error, words):
    small(tmp_path, count=2)
    spoil(tmp_path)
    with pytest.raises(error) as fault:
        ingest(tmp_path)
    assert all(word in str(fault.value) for word in words), str(fault.value)
    assert "\n" not in str(fault.value)
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


def test_the_share_is_a_share():
    parser = ingest_logs.arg_parser()
    assert parser.parse_args(["--root", "x", "--date", "2024-03-01"]).max_refused_share == 0.05
    for wrong in ("5", "-0.1", "few", "nan"):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(["--root", "x", "--date", "2024-03-01", "--max-refused-share", wrong])
        assert stopped.value.code == 2
