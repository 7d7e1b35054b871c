"""Spark's doorway to the tables: their rows enter through `read` and leave through `replace`, `renew` or `update`."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa
from delta import exceptions
from delta.tables import DeltaTable
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.storage import delta_log, partitions
from schemas.storage.root import Root
from schemas.storage.staging import publish, stage
from schemas.table import ConflictError, ContractError, MissingDataError, Table, partition

# What an engine raises when it cannot do what a plan says.
ENGINE_FAULTS = (PySparkException, Py4JError)
_GONE = "_gone"  # whether `Store.update` deletes the row of this key, else it puts the row
_REFUSED = r"\[USER_RAISED_EXCEPTION\] (.*?)(?: SQLSTATE|\n|$)"  # a `raise_error` among the rows
_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
# What Delta raises when two runs commit at once; they share no class of their own.
_CONFLICTS = tuple(getattr(exceptions, name) for name in exceptions.__all__)


class Store:
    """One run's view of a root.

    A Delta table is pinned to the version it had when this run first read it, so that a run sees one
    state of the world, and `replace` records in the manifest which state that was.
    """

    def __init__(self, spark: SparkSession, root: str):
        self.spark = spark
        self.root = Root.of(root)
        self.root.check_for_delta()
        # A path alone would be one of the cluster's default file system.
        self._uri = str(root) if "://" in str(root) else f"file://{self.root.path}"
        self.made_from: dict[str, int | str] = {}
        self._run = uuid.uuid4().hex  # tells this run's commits from another's

    def uri(self, relative: str) -> str:
        return f"{self._uri.rstrip('/')}/{relative}"

    def read_files(self, uris: Iterable[str], schema: str | None = None) -> DataFrame:
        """The rows of Parquet files, whose names are no patterns; nothing in their paths becomes a column."""
        # A name's brackets or stars would be a pattern to Spark, `date=` in its folders a column.
        reader = self.spark.read.option("__globPaths__", "false").option("recursiveFileLookup", "true")
        return (reader.schema(schema) if schema else reader).parquet(*uris)

    def read(self, table: Table, first: date, last: date | None = None) -> DataFrame:
        """The rows of the dates first..last (both included; last is first if None), with a `date` column.

        Dates between that have no rows are no error for a Delta table; a Parquet table must have each.

        Raises:
            MissingDataError: the table, or a date of a Parquet table, is not there.
            ContractError: a column of the contract is missing or has another type.
            ConflictError: a run replaces a date of a Parquet table at this moment.
        """
        last = last or first
        if table.storage == "delta":
            frame = self._delta(table).where(F.col("date").between(F.lit(first), F.lit(last)))
        else:
            days = [first + timedelta(n) for n in range((last - first).days + 1)]
            for day in days:
                self.made_from[partition(table, day)] = partitions.identity(self.root, table, day)
            reader = self.spark.read.option("__globPaths__", "false").option("basePath", self.uri(table.path))
            frame = reader.parquet(*(self.uri(partition(table, day)) for day in days))
            for day in days:  # Spark has listed the files by now, and keeps to them
                if partitions.identity(self.root, table, day) != self.made_from[partition(table, day)]:
                    raise ConflictError(f"{partition(table, day)} was replaced while its files were listed; run again")
            frame = with_added(table, frame.withColumn("date", F.col("date").cast("date")))
        check(table, frame.drop("date"))
        return frame

    def read_all(self, table: Table) -> DataFrame:
        """Every row of a Delta table, with its `date` column."""
        frame = self._delta(table)
        check(table, frame.drop("date"))
        return frame

    def require(self, day: date, *tables: Table) -> None:
        """Make sure that each of these Delta tables has the date, were it without rows.

        Raises:
            MissingDataError: names every table that lacks it, and the dates that there are.
        """
        faults = []
        for table in tables:
            if not self.has(table):
                faults.append(f"there is no {table.path} below {self.root.path}")
            elif not self.has_date(table, day):
                first, last = self._delta(table).agg(F.min("date"), F.max("date")).first()
                there = f"dates there: {first} to {last}" if first else "it has no rows at all"
                faults.append(f"{table.path} has no date {day} below {self.root.path} ({there})")
        if faults:
            raise MissingDataError("; ".join(faults))

    def has_date(self, table: Table, day: date) -> bool:
        """Whether a Delta table has the date: some commit replaced it, or it has rows."""
        replaced = next(delta_log.replacements(self.root, table, day), None)
        return replaced is not None or not self._delta(table).where(F.col("date") == F.lit(day)).isEmpty()

    def has(self, table: Table) -> bool:
        """Whether a Delta table exists: it has a version."""
        return delta_log.exists(self.root, table)

    def replace(self, table: Table, day: date, frame: DataFrame, settings: dict) -> int:
        """Replace one date of a table; returns the number of rows written.

        A Delta date is replaced in one commit, whose user metadata holds `made_from` and the settings.

        Raises:
            ContractError: the frame does not have the contract's columns, or a row met a `raise_error`; nothing is
                written.
            ConflictError: another run replaced the date meanwhile; its rows stay.
        """
        check(table, frame)
        with fault_in_one_line(_REFUSED, f"{table.path} of {day} was not written: {{}}"):
            if table.storage == "delta":
                return self._replace_delta(table, day, frame, settings)
            with stage(self.root, partition(table, day)) as staged:
                frame.write.parquet(self.uri(staged.folder))
                return publish(staged, table, day, self.made_from, settings)["rows"]

    def read_at(self, table: Table, version: int) -> DataFrame:
        """Every row that a Delta table had at a version, with its `date` column."""
        frame = self.spark.read.format("delta").option("versionAsOf", version).load(self.uri(table.path))
        return with_added(table, frame)

    def update(self, table: Table, day: date, there: DataFrame, wanted: DataFrame, settings: dict) -> int:
        """Turn rows of one date of a Delta table into others, in one commit that changes only what differs.

        The commit records what `replace` does, even if nothing differs.

        Args:
            there: rows that the date has, all or those of some keys.
            wanted: what they should be; the same columns.

        Returns:
            How many rows were added, changed or deleted.

        Raises:
            ContractError: `wanted` does not have the contract's columns; nothing is written.
            ConflictError: another run wrote the date since this one read it; its rows stay.
        """
        check(table, wanted)
        newest = next(delta_log.replacements(self.root, table, day), (0,))[0]
        if newest > self.made_from[table.path]:
            raise ConflictError(f"{table.path} of {day} was written by another run meanwhile; run this again, alone")
        key = list(table.key)
        put = wanted.exceptAll(there).withColumn(_GONE, F.lit(False))
        gone = there.join(wanted.select(*key), on=key, how="left_anti").withColumn(_GONE, F.lit(True))
        changes = put.unionByName(gone).withColumn("date", F.lit(day)).persist()
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in key)
        values = {f"`{name}`": f"change.`{name}`" for name in (*table.names, "date")}
        self.spark.conf.set(_USER_METADATA, self._recorded(day, settings))
        try:
            merge = (
                DeltaTable.forPath(self.spark, self.uri(table.path))
                .alias("target")
                .merge(changes.alias("change"), f"target.date = DATE'{day}' AND {same}")
                .withSchemaEvolution()
                .whenMatchedDelete(f"change.{_GONE}")
                .whenMatchedUpdate(set=values)
                .whenNotMatchedInsert(values=values)
            )
            return self._commit(table, day, merge.execute)
        finally:
            self.spark.conf.unset(_USER_METADATA)
            changes.unpersist()

    def renew(self, table: Table, day: date, frame: DataFrame, settings: dict) -> int:
        """Do what `replace` does, but let the files of a Delta date that has these rows already stay.

        The commit then holds only what it records, and there are no old files to be kept for readers of older versions.
        Told by a hash of each row's columns, an open table's further attributes among them.

        Returns:
            How many rows the date has now.
        """
        if day not in delta_log.newest(self.root, table):
            return self.replace(table, day, frame, settings)
        held = self.read(table, day).drop("date")
        attributes = [name for name in held.columns if name not in frame.columns]
        wanted = frame.withColumns({name: F.lit(None).cast(held.schema[name].dataType) for name in attributes})
        there = _digest(held)
        if set(wanted.columns) != set(held.columns) or there != _digest(wanted.select(*_quoted(held.columns))):
            return self.replace(table, day, frame, settings)
        self._replace_delta(table, day, frame.where(F.lit(False)), settings, where="date IS NULL")
        return there[0]

    def merge(self, table: Table, day: date, changes: DataFrame, settings: dict) -> int:
        """Put rows into a Delta table that has no dates: in place of the row with the same key, or as a new one.

        Files without such a row stay. The commit records the date that the rows come from.

        Returns:
            How many rows were added or changed.

        Raises:
            ContractError: `changes` does not have the contract's columns; nothing is written.
            ConflictError: another run wrote the table meanwhile; its rows stay.
        """
        check(table, changes)
        uri, names = self.uri(table.path), list(table.names)
        if not self.has(table):
            nothing = changes.select(*names).where(F.lit(False))
            nothing.write.format("delta").mode("append").save(uri)
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in table.key)
        values = {f"`{name}`": f"change.`{name}`" for name in names}
        self.spark.conf.set(_USER_METADATA, self._recorded(day, settings))
        try:
            merge = DeltaTable.forPath(self.spark, uri).alias("target").merge(changes.alias("change"), same)
            return self._commit(
                table, day, merge.whenMatchedUpdate(set=values).whenNotMatchedInsert(values=values).execute
            )
        finally:
            self.spark.conf.unset(_USER_METADATA)

    def retype(self, table: Table, types: dict[str, pa.DataType]) -> None:
        """Give attributes of a Delta table other types: one commit that writes each of its files anew.

        A value is cast, and null where it does not fit: between a list and a single value, or lists of others.
        """
        whole = self._delta(table)
        columns = {name: _retyped(whole, name, sql_type(kind)) for name, kind in types.items()}
        write = (
            whole.withColumns(columns)
            .write.format("delta")
            .mode("overwrite")
            .partitionBy("date")
            .option("overwriteSchema", "true")
            .option("userMetadata", json.dumps({delta_log.RETYPED: sorted(types), "run": self._run}))
        )
        try:
            write.save(self.uri(table.path))
        except _CONFLICTS as fault:
            raise ConflictError(f"{table.path} below {self.root.path} was changed meanwhile; run this again") from fault
        self.made_from.pop(table.path)

    def labelled(self, table: Table, day: date) -> dict:
        """The settings recorded by the commit that last replaced this date of a Delta table.

        Raises:
            MissingDataError: no commit replaced that date.
        """
        self._delta(table)
        return delta_log.settings(self.root, table, day, self.made_from[table.path])

    def _delta(self, table: Table) -> DataFrame:
        if not self.has(table):
            raise MissingDataError(f"there is no {table.path} below {self.root.path}")
        if table.path not in self.made_from:
            self.made_from[table.path] = delta_log.version(self.root, table)
        return self.read_at(table, self.made_from[table.path])

    def _replace_delta(self, table: Table, day: date, frame: DataFrame, settings: dict, where: str = "") -> int:
        write = (
            frame.withColumn("date", F.lit(day))
            .write.format("delta")
            .mode("overwrite")
            .partitionBy("date")
            .option("replaceWhere", where or f"date = '{day}'")
            .option("mergeSchema", str(table.grows).lower())
            .option("userMetadata", self._recorded(day, settings))
        )
        return self._commit(table, day, lambda: write.save(self.uri(table.path)))

    def _commit(self, table: Table, day: date, write: Callable[[], object]) -> int:
        """Make one commit; returns how many rows it put or took away."""
        conflict = (
            f"{table.path} of {day} below {self.root.path} was changed by another run while this one wrote it; "
            "the other's rows stay; run this again, alone"
        )
        try:
            write()
        except _CONFLICTS as fault:
            raise ConflictError(conflict) from fault
        for _, recorded, rows in delta_log.replacements(self.root, table, day):
            if recorded.get("run") == self._run:
                return rows
        # On a local disk Delta looks whether a version is there and then renames: of two processes that do so at the
        # same moment one replaces the other's commit, and neither is told.
        raise ConflictError(conflict)

    def _recorded(self, day: date, settings: dict) -> str:
        recorded = {"date": day.isoformat(), "made_from": self.made_from, "settings": settings, "run": self._run}
        return json.dumps(recorded, sort_keys=True)


def _retyped(frame: DataFrame, name: str, wanted: str) -> Column:
    value, had = F.col(f"`{name}`"), dict(frame.dtypes)[name]
    lists = had.startswith("array<"), wanted.startswith("array<")
    if lists[0] != lists[1] or (had == "array<string>" and wanted != had):
        return F.lit(None).cast(wanted)
    return value.try_cast(wanted)


@contextmanager
def fault_in_one_line(pattern: str, told: str) -> Iterator[None]:
    """Turn a fault of Spark's whose text matches into a ContractError; any other passes.

    Args:
        told: what to say; `{}` is what the pattern's group found.
    """
    try:
        yield
    except (PySparkException, Py4JError) as fault:
        found = re.search(pattern, str(fault))
        if found is None:
            raise
        raise ContractError(told.format(found[1])) from fault


def _digest(frame: DataFrame) -> tuple[int, Decimal | None]:
    """How many rows, and a sum that is the same for the same rows in any order; the hash itself skips nulls."""
    columns = [F.col(name) for name in _quoted(frame.columns)]
    hashed = F.xxhash64(*columns, *(column.isNull() for column in columns)).cast("decimal(20,0)")
    return tuple(frame.agg(F.count(F.lit(1)), F.sum(hashed)).first())


def _quoted(names: Iterable[str]) -> list[str]:
    return [f"`{name.replace('`', '``')}`" for name in names]


def with_added(table: Table, frame: DataFrame) -> DataFrame:
    """The frame with nulls for the columns that tables of an earlier release lack."""
    lacking = [column for column in table.columns if column.added and column.name not in frame.columns]
    return frame.withColumns({column.name: F.lit(None).cast(sql_type(column.type)) for column in lacking})


def check(table: Table, frame: DataFrame) -> None:
    """Raise a ContractError unless the frame has the table's columns with the table's types."""
    wanted = {column.name: sql_type(column.type) for column in table.columns}
    table.check_columns(dict(frame.dtypes), wanted)


def sql_type(kind: pa.DataType) -> str:
    """Spark's name of an Arrow type."""
    if pa.types.is_list(kind):
        return f"array<{sql_type(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return {"int64": "bigint", "int32": "int", "string": "string", "float": "float", "double": "double",
            "bool": "boolean", "date32[day]": "date"}[str(kind)]  # fmt: skip
