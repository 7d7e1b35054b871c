"""Land rows for `ingest_logs`, run it, and look at what it kept and refused."""

import argparse
from datetime import date, datetime

import pyarrow as pa
from pyarrow import parquet

from jobs import ingest_logs
from schemas.storage import arrow

DAY = date(2024, 3, 1)


def at(clock: str, day: int = 1) -> datetime:
    """A naive time of March 2024; naive times are UTC."""
    return datetime.fromisoformat(f"2024-03-{day:02d} {clock}")


def land(root, table: str, columns: dict, part: int = 0, day: date = DAY) -> None:
    """Write one landing file; a column is a list of values, or an Arrow array where its type matters."""
    place = root / "landing" / table / f"date={day}"
    place.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), place / f"part-{part}.parquet")


def land_empty(root, *tables, day: date = DAY) -> None:
    for table in tables:
        place = root / "landing" / table.name / f"date={day}"
        place.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table.schema.empty_table(), place / "part-empty.parquet")


def ingest(root, share: float = 0.05, day: date = DAY, accept: bool = False, reset: tuple[str, ...] = ()) -> dict:
    arguments = argparse.Namespace(
        root=str(root), max_refused_share=share, accept_changes=accept, reset_attribute=list(reset)
    )
    return ingest_logs.main(arguments, day)


def kept(root, table, *columns: str) -> list[tuple]:
    """The rows of a log as tuples, sorted by their text."""
    rows = arrow.read(str(root), table, DAY, list(columns) or list(table.names)).to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=repr)


def refused(root, table: str, *columns: str) -> list[tuple]:
    rows = parquet.read_table(root / "quarantine" / table / f"date={DAY}", partitioning=None).to_pylist()
    return sorted((tuple(row[name] for name in (*columns, "reason")) for row in rows), key=repr)
