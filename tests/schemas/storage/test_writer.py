"""The doorway for rows that come in pieces."""

from datetime import date

import pyarrow as pa
import pytest
from pyarrow import parquet

from schemas.storage import arrow
from schemas.table import ContractError, partition
from schemas.tables import reports

DAY = date(2020, 1, 1)
TABLE = reports.quality


def piece(start: int, size: int) -> pa.Table:
    columns = [
        ["t"] * size,
        [f"{n:06d}" for n in range(start, start + size)],
        [1.0] * size,
        [None] * size,
        [True] * size,
    ]
    return pa.table(columns, schema=TABLE.schema)


def write(root, *pieces: pa.Table) -> dict:
    with arrow.Writer(str(root), TABLE, DAY, partition(TABLE, DAY), {}, {}) as writer:
        for rows in pieces:
            writer.write(rows)
    return writer.manifest


def test_pieces_become_whole_row_groups_in_order(tmp_path):
    manifest = write(tmp_path, piece(0, 5_000), piece(5_000, 5_000), piece(10_000, 10))
    assert manifest["rows"] == 10_010
    assert arrow.read(str(tmp_path), TABLE, DAY)["check"].to_pylist() == [f"{n:06d}" for n in range(10_010)]
    (path,) = arrow.files(str(tmp_path), TABLE, DAY)
    metadata = parquet.read_metadata(path)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [8192, 10_010 - 8192]


def test_many_rows_become_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "_ROWS_PER_GROUP", 10)
    monkeypatch.setattr(arrow, "_ROWS_PER_FILE", 20)
    assert write(tmp_path, *(piece(n * 9, 9) for n in range(5)))["rows"] == 45
    assert len(arrow.files(str(tmp_path), TABLE, DAY)) == 3
    assert arrow.read(str(tmp_path), TABLE, DAY)["check"].to_pylist() == [f"{n:06d}" for n in range(45)]


def test_nothing_written_is_a_date_without_rows(tmp_path):
    assert write(tmp_path)["rows"] == 0
    assert arrow.read(str(tmp_path), TABLE, DAY).num_rows == 0


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    write(tmp_path, piece(0, 3))
    with pytest.raises(ContractError, match="check: missing"):
        write(tmp_path, piece(3, 9_000), piece(0, 2).drop_columns("check"))
    assert arrow.read(str(tmp_path), TABLE, DAY).num_rows == 3
    assert not list((tmp_path / "_staging").rglob("*.parquet"))
