"""From sample tables to batches: Parquet row groups in, arrays out, nothing row by row.

A batch is a dict of column name -> NumPy array [B], or `Ragged` for a list column. The order of the rows is a
pure function of (seed, epoch) and the files: row groups are shuffled, then the rows inside a window of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, fs, parquet

from models.hashing import request_keys
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import ContractError, Table
from schemas.vocabulary import Action, Level

PADDING = 0
ACTION_CODES = len(Action) + 1  # 0 for none and for padding, then 1 (click) to 4 (purchase)
_VOCABULARIES = {"actions": list(Action), "levels": list(Level)}


@dataclass(frozen=True)
class Ragged:
    """A list column: the lists' values end to end, and where each list starts.

    values: [V]; offsets: int64 [B + 1], offsets[0] = 0, list b is values[offsets[b]:offsets[b + 1]].
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence]) -> "Ragged":
        """From Python lists of numbers."""
        lengths = [len(one) for one in lists]
        values = np.array([value for one in lists for value in one], np.int64)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each list, int64 [B]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """For each value the row that it belongs to, int64 [V]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: np.ndarray) -> "Ragged":
        """The lists of these rows, in this order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[rows], lengths) + inside], offsets)

    def map(self, values: np.ndarray) -> "Ragged":
        """The same lists with other values [V]."""
        return Ragged(values, self.offsets)

    def where(self, kept: np.ndarray) -> "Ragged":
        """The same lists with only these of their values; kept: bool [V]."""
        lengths = np.bincount(self.owners[kept], minlength=len(self))
        return Ragged(self.values[kept], np.concatenate([[0], np.cumsum(lengths)]))

    def padded(self, width: int, newest_first: bool = False) -> np.ndarray:
        """[B, width]: the first `width` values of each list, then 0; the last ones, last first, if `newest_first`."""
        column = np.arange(width)
        source = self.offsets[1:, None] - 1 - column if newest_first else self.offsets[:-1, None] + column
        there = column < self.lengths[:, None]
        if not len(self.values):
            return np.zeros(there.shape, self.values.dtype)
        return np.where(there, self.values[np.where(there, source, 0)], 0)


Batch = dict[str, "np.ndarray | Ragged"]


def decode(rows: pa.Table) -> Batch:
    """A table's columns as arrays [B] and `Ragged`s.

    Lists of actions become `Action.strength` (0 for the empty string), lists of levels 1 (best) upwards; times
    become int64 microseconds.

    Raises:
        ContractError: an action or level outside the closed vocabulary, a null list.
    """
    return {name: _decoded(name, rows[name]) for name in rows.column_names}


def _decoded(name: str, chunked: pa.ChunkedArray) -> "np.ndarray | Ragged":
    column = pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64()).to_numpy()
    if not pa.types.is_list(kind):
        return column.to_numpy(zero_copy_only=False)
    if column.null_count:
        raise ContractError(f"column {name}: {column.null_count} lists are null; an absent list is an empty list")
    values, offsets = column.flatten(), column.offsets.to_numpy().astype(np.int64)
    values = _codes(name, values) if pa.types.is_string(kind.value_type) else values.to_numpy(zero_copy_only=False)
    return Ragged(values, offsets - offsets[0])


def _codes(name: str, words: pa.Array) -> np.ndarray:
    vocabulary = _VOCABULARIES[name.rpartition("_")[2]]
    codes = pc.index_in(words, value_set=pa.array(["", *map(str, vocabulary)]))
    if codes.null_count:
        unknown = pc.unique(words.filter(pc.is_null(codes))).to_pylist()
        raise ContractError(f"column {name} holds {unknown}, should be one of {[*map(str, vocabulary)]} or empty")
    return codes.to_numpy()


def take(batch: Batch, rows: np.ndarray) -> Batch:
    """These rows of a batch, in this order."""
    return {name: column.take(rows) for name, column in batch.items()}


def size(batch: Batch) -> int:
    """B, the number of rows."""
    return len(next(iter(batch.values())))


def parts(batch: Batch, most: int) -> Iterator[Batch]:
    """The batch in parts of at most this many rows; one part without a row if it has none."""
    for start in range(0, max(size(batch), 1), most):
        yield take(batch, np.arange(start, min(start + most, size(batch))))


def histories(batch: Batch, lookup: Callable[[np.ndarray], np.ndarray], width: int) -> dict[str, np.ndarray]:
    """What a user tower takes of histories: history_rows, history_actions, int32 [B, width], newest first.

    Args:
        lookup: item ids [V] -> catalogue rows.
    """
    items = batch["history_item_ids"]
    lists = {"history_rows": items.map(lookup(items.values)), "history_actions": batch["history_actions"]}
    return {name: one.padded(width, newest_first=True).astype(np.int32) for name, one in lists.items()}


@dataclass(frozen=True)
class RowGroup:
    path: str
    index: int
    rows: int


def row_groups(root: str, table: Table, days: Sequence[date]) -> list[RowGroup]:
    """Every row group of these dates of a Parquet table that has rows, in the order of dates and paths.

    Raises:
        MissingDataError: a date does not exist.
        ContractError: a file does not have the contract's columns.
    """
    filesystem, found = Root.of(root).filesystem, []
    for day in days:
        for path in arrow.files(root, table, day):
            with filesystem.open_input_file(path) as source:
                metadata = parquet.read_metadata(source)
            arrow.check(table, metadata.schema.to_arrow_schema())
            groups = (RowGroup(path, n, metadata.row_group(n).num_rows) for n in range(metadata.num_row_groups))
            found += [group for group in groups if group.rows]
    return found


def batches(
    root: str,
    groups: Sequence[RowGroup],
    columns: Sequence[str],
    batch_rows: int,
    seed: Sequence[int],
    epoch: int,
    window_rows: int = 65_536,
) -> Iterator[Batch]:
    """One epoch over the row groups in an order fixed by (seed, epoch); each row once, the last batch shorter.

    Args:
        seed: one or more whole numbers.
        window_rows: row groups are read until they hold this many rows, and rows are shuffled among them; memory
            holds one window.
    """
    random = np.random.default_rng([*seed, epoch])
    filesystem, rest = Root.of(root).filesystem, None
    for window in _windows([groups[n] for n in random.permutation(len(groups))], window_rows):
        read = pa.concat_tables(_read(filesystem, group, columns) for group in window)
        read = read if rest is None else pa.concat_tables([rest, read])
        rows = decode(read)
        order = random.permutation(size(rows))
        whole = len(order) - len(order) % batch_rows
        for start in range(0, whole, batch_rows):
            yield take(rows, order[start : start + batch_rows])
        rest = read.take(order[whole:])
    if rest is not None and rest.num_rows:
        yield decode(rest)


def chosen_samples(root: str, table: Table, day: date, columns: Sequence[str], seed: int, most: int) -> pa.Table:
    """Columns of a date's samples by rising request_id; of more than `most`, those whose keys are smallest.

    Raises:
        MissingDataError: the date has no samples.
        ContractError: a column of the contract is missing or has another type.
    """
    files = dataset.dataset(arrow.files(root, table, day), filesystem=Root.of(root).filesystem)
    arrow.check(table, files.schema)
    ids = files.to_table(columns=["request_id"])["request_id"].to_numpy()
    smallest = np.argsort(request_keys(ids, seed), kind="stable")[:most]
    chosen = pc.field("request_id").isin(pa.array(ids[smallest], pa.string()))
    return files.to_table(columns=list(columns), filter=chosen).sort_by("request_id")


def _windows(groups: Sequence[RowGroup], window_rows: int) -> Iterator[list[RowGroup]]:
    window: list[RowGroup] = []
    for group in groups:
        window.append(group)
        if sum(one.rows for one in window) >= window_rows:
            yield window
            window = []
    if window:
        yield window


def _read(filesystem: fs.FileSystem, group: RowGroup, columns: Sequence[str]) -> pa.Table:
    with filesystem.open_input_file(group.path) as source:
        return parquet.ParquetFile(source).read_row_group(group.index, columns=list(columns))
