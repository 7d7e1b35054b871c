"""Commits to Delta tables by delta-rs, of Parquet files that a Spark Connect engine has written.

The engine writes files, and delta-rs names them in the log: a kill between the two leaves files that no version names,
as one of Spark's does. One commit is one attempt; where another
run was faster, its changes are looked at, and only what it did to the same date is a conflict.
"""

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions
from pyarrow import fs, parquet
from pyspark.sql import DataFrame

from schemas.storage import delta_log
from schemas.storage.delta_log import GONE
from schemas.storage.root import Root
from schemas.storage.session import RETENTION_DAYS
from schemas.table import ConflictError, ContractError, Table, partition

# As Spark's session has them for new tables.
_PROPERTIES = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": f"interval {RETENTION_DAYS} days",
}
_MOST_ATTEMPTS = 100
_LONGEST_STATISTIC = 32  # characters; a longer smallest or greatest text is left out


class Commits:
    """Each method but the last three is one commit, which holds `recorded` as its user metadata.

    Args:
        address: the root as deltalake opens it.
        uri: from a path below the root to what the engine opens.
    """

    conflicts = (ConflictError,)

    def __init__(self, root: Root, address: str, uri: Callable[[str], str]):
        self.root, self.uri, self._address = root, uri, address.rstrip("/")

    def replace(self, table: Table, day: date, frame: DataFrame, recorded: str) -> None:
        """Replace the rows of one date.

        Raises:
            ConflictError: another run changed the date since this call began.
        """
        began = self._version(table)
        folder, files = f"{partition(table, day)}/{uuid.uuid4().hex}", []
        try:
            frame.write.parquet(self.uri(folder))
            files = self._settled(folder)
            adds = [self._add(table, day, info) for info in files]
            fields = fields_of(table, self._schema(files[0]) if files else table.schema)
            told = _told(recorded, sum(json.loads(add.stats)["numRecords"] for add in adds))
            self._attempt(table, day, began, recorded, lambda: self._overwrite(table, day, fields, adds, told))
        except BaseException:
            with suppress(OSError):  # what cannot be removed is for VACUUM; the first fault is the one to tell
                if not self._committed(table, began, recorded):
                    self.root.remove(folder)
                    for info in files:
                        self.root.filesystem.delete_file(info.path)
            raise

    def record(self, table: Table, day: date, frame: DataFrame, recorded: str) -> None:
        """Change no row."""
        self._attempt(table, day, self._version(table), recorded, lambda: self._append_nothing(table, recorded))

    def merge(self, table: Table, day: date, changes: DataFrame, recorded: str) -> None:
        """Put the rows of `changes` into one date, or delete those of their keys where `GONE` holds.

        The changes are held in memory; the date's files are not.

        Raises:
            ConflictError: another run changed the date since this call began.
        """
        began = self._version(table)
        rows = changes.toArrow()
        # Spark and delta-rs disagree in the names of elements and in which fields may be null; the contract decides.
        kinds = [(column.name, column.type) for column in table.columns]
        rows = rows.select([*table.names, GONE]).cast(pa.schema([*kinds, (GONE, pa.bool_())]))
        rows = rows.append_column("date", pa.array([day] * len(rows), pa.date32()))
        commit = (lambda: self._merge(table, day, rows, recorded)) if len(rows) else None
        self._attempt(table, day, began, recorded, commit or (lambda: self._append_nothing(table, recorded)))

    def put(self, table: Table, changes: DataFrame, recorded: str) -> None:
        """Put rows into a table without dates, by their keys; they are held in memory.

        Raises:
            ConflictError: another run wrote the table meanwhile.
        """
        fields = fields_of(table, table.schema)
        rows = changes.select(*table.names).toArrow().cast(fields)
        if self._version(table) < 0:
            DeltaTable.create(self._at(table), Schema.from_arrow(fields), mode="ignore", configuration=_PROPERTIES)
        began = self._version(table)
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in table.key)
        values = {f"`{name}`": f"change.`{name}`" for name in table.names}
        told = _once({"userMetadata": recorded})
        merge = self._open(table).merge(rows, same, "change", "target", commit_properties=told)
        try:
            merge.when_matched_update(values).when_not_matched_insert(values).execute()
        except DeltaError as fault:
            if self._version(table) == began:
                raise
            if not self._committed(table, began, recorded):
                raise ConflictError(f"{table.path} was written by another run") from fault

    def retype(self, table: Table, frame: DataFrame, recorded: str) -> None:
        """Not by this engine: all dates of a log are held in no memory.

        Raises:
            ContractError: always; it names the way out.
        """
        raise ContractError(f"{table.path}: an attribute's type changes by --engine spark alone")

    def compact(self, table: Table, days: list[date], small: int, merged: int) -> tuple[int, int]:
        """Merge the small files of these dates to at most `merged` bytes; returns how many were removed and added."""
        done = [
            self._open(table).optimize.compact(partition_filters=[("date", "=", str(day))], target_size=merged)
            for day in days
        ]
        return sum(one["numFilesRemoved"] for one in done), sum(one["numFilesAdded"] for one in done)

    def set_property(self, table: Table, name: str, value: str) -> None:
        self._open(table).alter.set_table_properties({name: value})

    def vacuum(self, table: Table, hours: int) -> None:
        """Delete the files that no version of the last hours names."""
        self._open(table).vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)

    def _attempt(self, table: Table, day: date, since: int, recorded: str, commit: Callable[[], None]) -> None:
        """Commit on top of the newest version, again where another run was faster but left this date alone."""
        for attempt in range(_MOST_ATTEMPTS):
            newest = self._version(table)
            self._look(table, day, since)
            try:
                return commit()
            except DeltaError:
                if self._committed(table, since, recorded):
                    return None  # what failed came after the commit: a checkpoint, say
                if self._version(table) == newest:
                    raise
            time.sleep(0.02 * attempt)
        raise ConflictError(f"{table.path} was changed {_MOST_ATTEMPTS} times by other runs")

    def _committed(self, table: Table, since: int, recorded: str) -> bool:
        """Whether a version after this one is the commit that says so."""
        if self._version(table) <= since:
            return False
        newer = takewhile(lambda commit: commit[0] > since, delta_log.commits(self.root, table))
        return any(info.get("userMetadata") == recorded for _, info in newer)

    def _look(self, table: Table, day: date, since: int) -> None:
        """Raise a ConflictError if a commit after the version touched this date."""
        if self._version(table) <= since:
            return
        touched = any(change.date == day for change in delta_log.file_changes(self.root, table, since))
        written = next(delta_log.replacements(self.root, table, day), (since,))[0]
        if touched or written > since:
            raise ConflictError(f"{table.path} of {day} was changed by another run")

    def _overwrite(self, table: Table, day: date, fields: pa.Schema, adds: list[AddAction], recorded: dict) -> None:
        if not delta_log.exists(self.root, table):
            dated = fields.append(pa.field("date", pa.date32()))
            create_table_with_add_actions(
                self._at(table), Schema.from_arrow(dated), adds, "error", ["date"], configuration=_PROPERTIES,
                commit_properties=_once(recorded),
            )  # fmt: skip
            return
        held = self._with_columns(table, fields)
        held.create_write_transaction(
            adds, "overwrite", held.schema(), ["date"], [("date", "=", str(day))], commit_properties=_once(recorded)
        )

    def _append_nothing(self, table: Table, recorded: str) -> None:
        held = self._open(table)
        held.create_write_transaction(
            [], "append", held.schema(), ["date"], commit_properties=_once(_told(recorded, 0))
        )

    def _merge(self, table: Table, day: date, rows: pa.Table, recorded: str) -> None:
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in table.key)
        values = {f"`{name}`": f"change.`{name}`" for name in (*table.names, "date")}
        merge = self._with_columns(table, fields_of(table, table.schema)).merge(
            rows,
            f"target.date = '{day}' AND {same}",
            source_alias="change",
            target_alias="target",
            commit_properties=_once({"userMetadata": recorded}),
        )
        merge = merge.when_matched_delete(f"change.{GONE}").when_matched_update(values)
        merge.when_not_matched_insert(values).execute()

    def _with_columns(self, table: Table, fields: pa.Schema) -> DeltaTable:
        """The table, which has all of these columns from now on."""
        held = self._open(table)
        columns = {field.name for field in held.schema().fields}
        if new := [field for field in fields if field.name not in columns]:
            held.alter.add_columns(Schema.from_arrow(pa.schema(new)).fields)
            held = self._open(table)
        return held

    def _version(self, table: Table) -> int:
        """The newest version, -1 if there is no table."""
        return delta_log.version(self.root, table) if delta_log.exists(self.root, table) else -1

    def _settled(self, folder: str) -> list[fs.FileInfo]:
        """The files of the folder, which are moved up into the date's where that costs a name and no copy."""
        files = self.root.files(folder, ".parquet")
        if not self.root.is_local or not files:
            return files
        above, _, run = self.root.at(folder).rpartition("/")
        paths = [f"{above}/part-{n:05}-{run}.parquet" for n in range(len(files))]
        for info, path in zip(files, paths, strict=True):
            self.root.filesystem.move(info.path, path)
        self.root.remove(folder)
        return self.root.filesystem.get_file_info(paths)

    def _schema(self, info: fs.FileInfo) -> pa.Schema:
        with self.root.filesystem.open_input_file(info.path) as source:
            return parquet.read_schema(source)

    def _at(self, table: Table) -> str:
        return f"{self._address}/{table.path}"

    def _open(self, table: Table) -> DeltaTable:
        return DeltaTable(self._at(table))

    def _add(self, table: Table, day: date, info: fs.FileInfo) -> AddAction:
        """The log's line of one file, whose path has no character that a URL would write otherwise."""
        path = info.path.removeprefix(f"{self.root.at(table.path)}/")
        with self.root.filesystem.open_input_file(info.path) as source:
            stats = json.dumps(statistics(parquet.read_metadata(source)))
        return AddAction(path, info.size, {"date": str(day)}, int(info.mtime.timestamp() * 1000), True, stats)


def fields_of(table: Table, written: pa.Schema) -> pa.Schema:
    """The Delta table's columns for a file: the contract's, then attributes; all may be null, as Spark makes them."""
    known = {column.name: column.type for column in table.columns}
    kinds = known | {field.name: field.type for field in written if field.name not in known}
    return pa.schema([pa.field(name, _nullable(kind)) for name, kind in kinds.items()])


def statistics(footer: parquet.FileMetaData) -> dict:
    """A file's statistics as Delta has them: rows, and of each plain column its nulls and its bounds.

    Floats have no bounds here, since NaN belongs to none; nor has a text that is longer than Delta's limit.
    """
    groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    stats = {"numRecords": footer.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for index in range(footer.num_columns):
        chunks = [group.column(index) for group in groups]
        name = footer.schema.column(index).path
        if "." in name or not chunks or not all(chunk.is_stats_set for chunk in chunks):
            continue
        held = [chunk.statistics for chunk in chunks]
        if all(each.has_null_count for each in held):
            stats["nullCount"][name] = sum(each.null_count for each in held)
        bounded = [each for each in held if each.num_values]
        if bounded and all(each.has_min_max for each in bounded):
            least = _bound(min(each.min for each in bounded), timedelta())
            # Delta's times have milliseconds: a greatest one that is cut off would lie below its row.
            most = _bound(max(each.max for each in bounded), timedelta(microseconds=999))
            if least is not None and most is not None:
                stats["minValues"][name], stats["maxValues"][name] = least, most
    return stats


def _bound(value: object, rounding: timedelta) -> int | str | None:
    if isinstance(value, datetime):
        return (value + rounding).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_STATISTIC else None
    return value if isinstance(value, int) else None


def _nullable(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", _nullable(kind.value_type))) if pa.types.is_list(kind) else kind


def _told(recorded: str, rows: int) -> dict:
    """What a commit says where Spark says it."""
    return {"userMetadata": recorded, "operationMetrics": {"numOutputRows": str(rows)}}


def _once(told: dict) -> CommitProperties:
    """One attempt: delta-rs would count any other run's commit as a conflict, or retry without a look at the date."""
    return CommitProperties(custom_metadata=told, max_commit_retries=0)
