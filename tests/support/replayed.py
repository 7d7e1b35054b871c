"""What a replay has landed, for its tests."""

from datetime import date

from pyarrow import parquet

from schemas.table import Table, landing


def landed(root, table: Table, day: date) -> list[dict]:
    """A date of a landing folder, sorted by its key; a date without rows has a file all the same."""
    rows = parquet.read_table(f"{root}/{landing(table, day)}")
    assert rows.schema.names == list(table.names)
    return sorted(rows.to_pylist(), key=lambda row: [row[name] for name in table.key])
