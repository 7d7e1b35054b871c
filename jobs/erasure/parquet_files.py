"""A Parquet file without some of its rows: the same schema, compression and row groups, in the same order."""

import posixpath
from collections.abc import Callable, Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs, parquet

# Of a table with the columns that decide, whether each row is to go; never null.
Mask = Callable[[pa.Table], pa.ChunkedArray]


def columns(filesystem: fs.FileSystem, path: str) -> list[str]:
    """The names of a file's columns; raises pa.ArrowException for what is no Parquet file."""
    with filesystem.open_input_file(path) as source:
        return parquet.read_schema(source).names


def rows(filesystem: fs.FileSystem, path: str) -> int:
    """How many rows a file has."""
    with filesystem.open_input_file(path) as source:
        return parquet.read_metadata(source).num_rows


def read(filesystem: fs.FileSystem, path: str, names: Collection[str]) -> Iterator[pa.Table]:
    """Some columns of a file, a row group at a time."""
    with filesystem.open_input_file(path) as source:
        yield from _row_groups(parquet.ParquetFile(source), list(names))


def count(filesystem: fs.FileSystem, path: str, names: Collection[str], mask: Mask) -> int:
    """How many rows the mask hits.

    Args:
        names: the columns that the mask reads.
    """
    return sum(pc.sum(mask(group)).as_py() or 0 for group in read(filesystem, path, names))


def copy_without(filesystem: fs.FileSystem, path: str, target: str, mask: Mask) -> None:
    """Write the rows that the mask does not hit to another file.

    A time of the old INT96 kind becomes a microsecond timestamp, which every reader of the tables takes alike.
    """
    filesystem.create_dir(posixpath.dirname(target), recursive=True)
    with filesystem.open_input_file(path) as source:
        opened = parquet.ParquetFile(source, coerce_int96_timestamp_unit="us")
        schema = opened.schema_arrow
        with parquet.ParquetWriter(target, schema, filesystem=filesystem, compression=_compression(opened)) as writer:
            for group in _row_groups(opened):
                left = group.filter(pc.invert(mask(group)))
                writer.write_table(left.cast(schema), row_group_size=max(1, left.num_rows))


def _row_groups(opened: parquet.ParquetFile, names: list[str] | None = None) -> Iterator[pa.Table]:
    for group in range(opened.num_row_groups):
        yield opened.read_row_group(group, columns=names)


def _compression(opened: parquet.ParquetFile) -> str:
    """The first column's; one that this writer lacks gives way to zstd."""
    if not opened.num_row_groups or not opened.metadata.num_columns:
        return "zstd"
    name = opened.metadata.row_group(0).column(0).compression.lower()
    name = {"uncompressed": "none"}.get(name, name)
    return name if name == "none" or pa.Codec.is_available(name) else "zstd"
