"""The few rows of a table that hold one key, found without reading the table.

A first pass over each file reads the key's column alone; only row groups that can hold the key are read whole.
"""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import Table


def dates(root: str, table: Table, first: date | None = None, last: date | None = None) -> list[date]:
    """The dates of a table from `first` to `last`, sorted; none if the table does not exist."""
    return [
        day for day in arrow.dates(root, table) if (first is None or day >= first) and (last is None or day <= last)
    ]


def rows(
    root: str, table: Table, days: Sequence[date], condition: pc.Expression, columns: Sequence[str] | None = None
) -> list[dict]:
    """The rows of these dates for which the condition holds, each with its `date`; dates without the table have none.

    Args:
        condition: over the key's columns.
        columns: the columns to return; all if None.
    """
    present = [day for day in dates(root, table) if day in days]
    if not present:
        return []
    if table.storage == "delta":
        source = arrow.delta(root, table).to_pyarrow_dataset()
        return [row for day in present for row in _rows(source, day, condition, columns)]
    place = Root.of(root)
    return [
        row
        for day in present
        for row in _rows(
            dataset.dataset(
                [info.path for info in partitions.files(place, table, day)],
                filesystem=place.filesystem,
                format="parquet",
            ),
            day,
            condition,
            columns,
        )
    ]


def _rows(source: dataset.Dataset, day: date, condition: pc.Expression, columns: Sequence[str] | None) -> list[dict]:
    dated = "date" in source.schema.names
    names = [name for name in source.schema.names if name != "date" and (columns is None or name in columns)]
    parts: list[pa.Table] = []
    for fragment in source.get_fragments(pc.field("date") == day if dated else None):
        if fragment.scanner(schema=source.schema, columns=[], filter=condition).count_rows():
            for group in fragment.split_by_row_group(filter=condition, schema=source.schema):
                parts.append(group.to_table(schema=source.schema, columns=names, filter=condition, use_threads=False))
    found = [row for part in parts for row in part.to_pylist()]
    return [{**row, "date": day} for row in found]
