"""SQL over the tables of a root, read-only, and the export of rows to a file."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType
from pyarrow import csv, dataset, parquet

from jobs.command.cli import WorkFailedError
from jobs.report import inventory
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError, Table
from schemas.tables.ids import IDS

_BATCH = 65536
_DATE = dataset.partitioning(pa.schema([("date", pa.date32())]), flavor="hive")


@dataclass(frozen=True)
class Answer:
    """The rows of a query, of which none is read before `batches` is."""

    columns: list[str]
    batches: pa.RecordBatchReader


@contextmanager
def answer(root: str, sql: str, as_text: bool = False) -> Iterator[Answer]:
    """Run one SELECT over tables by their names, or by their paths in double quotes.

    It sees the tables that it names and nothing else: no file, no extension, no setting.

    Args:
        as_text: lists and structs as JSON texts, as a CSV file needs them.

    Raises:
        WorkFailedError: it is not one SELECT, or DuckDB refuses it; the message is DuckDB's own.
        MissingDataError: there is no such root.
    """
    inventory.require(root)
    with tempfile.TemporaryDirectory(prefix="headrace-sql-") as folder, duckdb.connect() as connection:
        try:
            _check(sql)
            for name, source in _sources(root, sql):
                connection.register(name, source)
            connection.execute(f"SET temp_directory = '{folder}'")  # before external access ends, which locks it
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET python_enable_replacements = false")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            relation = connection.sql(sql)
            if as_text:
                relation = relation.project(", ".join(map(_flat, relation.columns, relation.types)))
            yield Answer(relation.columns, relation.to_arrow_reader(_BATCH))
        except (duckdb.Error, pa.ArrowException) as fault:
            raise WorkFailedError(f"--sql: {' '.join(str(fault).split())}") from fault


def export(batches: pa.RecordBatchReader, place: Path) -> int:
    """Write rows to a .csv or .parquet file, which appears whole or not at all; returns how many."""
    written = 0
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    make = csv.CSVWriter if place.suffix == ".csv" else parquet.ParquetWriter
    try:
        with make(beside, batches.schema) as file:
            for batch in batches:
                file.write_batch(batch)
                written += batch.num_rows
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return written


def select(path: str, days: Sequence[date]) -> str:
    """The query that gives some dates' rows of a table, oldest date first."""
    listed = ", ".join(f"DATE '{day}'" for day in days)
    return f'SELECT * FROM "{path}" WHERE date IN ({listed}) ORDER BY date'


def head(answer: Answer, most: int) -> list[dict]:
    """The first rows, read no further than that."""
    rows: list[dict] = []
    for batch in answer.batches:
        rows += batch.slice(0, most - len(rows)).to_pylist()
        if len(rows) == most:
            break
    return rows


def _check(sql: str) -> None:
    statements = duckdb.extract_statements(sql)
    if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
        raise WorkFailedError('--sql takes one SELECT, for one "SELECT count(*) FROM requests"')


def _sources(root: str, sql: str) -> Iterator[tuple[str, dataset.Dataset]]:
    """(name, rows) of the tables whose names the query has in it; a log's name alone is that of `logs/`."""
    known = inventory.paths() | {table.path: table for table in IDS.values()}
    names = {path: path for path in known} | {
        table.name: path for path, table in known.items() if table.name not in IDS and path == table.path
    }
    for name, path in names.items():
        if name.lower() in sql.lower() and (source := _dataset(root, path, known[path])) is not None:
            yield name, source


def _dataset(root: str, path: str, table: Table) -> dataset.Dataset | None:
    """All dates of a table with their `date`; None where it does not exist."""
    place, plain = Root.of(root), path != table.path
    if table.storage == "delta" and not plain:
        try:
            return arrow.delta(root, table).to_pyarrow_dataset()
        except MissingDataError:
            return None
    if plain:
        groups = [place.files(f"{path}/date={day}", ".parquet") for day in partitions.dates_below(place, path)]
    else:
        groups = [partitions.files(place, table, day) for day in partitions.dates(place, table)]
    files = [info.path for group in groups for info in group]
    if not files:
        return None
    options = {"filesystem": place.filesystem, "format": "parquet", "partitioning": _DATE}
    options["partition_base_dir"] = place.at(path)
    first_of_each = [dataset.dataset([group[0].path], **options).schema for group in groups if group]
    return dataset.dataset(files, schema=pa.unify_schemas(first_of_each, promote_options="permissive"), **options)


def _flat(name: str, kind: DuckDBPyType) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    nested = kind.id in ("list", "struct", "map", "array")
    return f"to_json({quoted})::VARCHAR AS {quoted}" if nested else quoted
