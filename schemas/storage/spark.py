"""The engines' doorway to the tables: their rows enter through `read` and leave through `replace`, `renew`, `update`.

It is the same for Spark and Sail, but for who commits to Delta tables: delta-spark for a session of a JVM, delta-rs for
a Spark Connect client's. Tables change hands both ways.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from functools import reduce
from urllib.parse import quote

import pyarrow as pa
from pyarrow import parquet
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from schemas.storage import delta_log, partitions
from schemas.storage.days import dates_between
from schemas.storage.delta_log import GONE
from schemas.storage.root import Root
from schemas.storage.session import engine_name, is_connected, is_sail
from schemas.storage.staging import publish, stage
from schemas.table import ConflictError, ContractError, MissingDataError, Table, partition

try:
    from py4j.protocol import Py4JError
except ImportError:  # pyspark-client alone has no JVM to fail
    Py4JError = PySparkException
# What an engine raises when it cannot do what a plan says.
ENGINE_FAULTS = (PySparkException, Py4JError)
_REFUSED = r"refused: (.*?)(?: SQLSTATE|\n|$)"  # a `refuse` among the rows


class Store:
    """One run's view of a root.

    A Delta table is pinned to the version it had when this run first read it, so that a run sees one
    state of the world, and `replace` records in the manifest which state that was.
    """

    def __init__(self, spark: SparkSession, root: str):
        self.spark = spark
        self.root = Root.of(root)
        self.root.check_for_delta()
        self.engine = engine_name(spark)
        # A path alone would be one of the cluster's default file system.
        self._uri = (str(root) if "://" in str(root) else f"file://{self.root.path}").rstrip("/")
        self._quoted = is_sail(spark)
        self.commits = self._committer()
        self.made_from: dict[str, int | str] = {}
        self._run = uuid.uuid4().hex  # tells this run's commits from another's

    def uri(self, relative: str) -> str:
        """What the engine opens: Hadoop takes a path as it is; to Sail it is a URL, else `*` and `[` are patterns."""
        return f"{self._uri}/{relative}" if not self._quoted else quote(f"{self._uri}/{relative}", safe=":/=")

    def _files(self, table: Table, day: date) -> DataFrame:
        """The rows of a date of a Parquet table, by the names of its files.

        A Connect engine lists a folder each time that it runs a plan, and would mix two versions; a replaced file is
        not found. Nor does Sail know `basePath`, from which Spark would take the dates.
        """
        paths = [info.path.removeprefix(self.root.path).lstrip("/") for info in partitions.files(self.root, table, day)]
        return self._reader().parquet(*map(self.uri, paths)).withColumn("date", F.lit(day))

    def _reader(self) -> DataFrameReader:
        """Takes a path as it is: to Spark a name's brackets or stars would be a pattern."""
        return self.spark.read if self._quoted else self.spark.read.option("__globPaths__", "false")

    def _committer(self):
        if is_connected(self.spark):
            from schemas.storage import delta_rs

            address = self._uri if "://" in self._uri and not self.root.is_local else self.root.path
            return delta_rs.Commits(self.root, address, self.uri)
        from schemas.storage import delta_spark

        return delta_spark.Commits(self.spark, self.uri)

    def read_files(self, uris: Iterable[str], schema: str | None = None) -> DataFrame:
        """The rows of Parquet files, whose names are no patterns; nothing in their paths becomes a column."""
        # `date=` in the folders' names would be a column to Spark.
        reader = self._reader().option("recursiveFileLookup", "true")
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
            days = dates_between(first, last)
            for day in days:
                self.made_from[partition(table, day)] = partitions.identity(self.root, table, day)
            frame = with_added(table, reduce(DataFrame.unionByName, [self._files(table, day) for day in days]))
            for day in days:  # the files are listed by now
                if partitions.identity(self.root, table, day) != self.made_from[partition(table, day)]:
                    raise ConflictError(f"{partition(table, day)} was replaced while its files were listed; run again")
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
            ContractError: the frame does not have the contract's columns, or a row met a `refuse`; nothing is
                written.
            ConflictError: another run replaced the date meanwhile; its rows stay.
        """
        check(table, frame)
        with fault_in_one_line(_REFUSED, f"{table.path} of {day} was not written: {{}}"):
            if table.storage == "delta":
                recorded = self._recorded(day, settings)
                return self._commit(table, day, lambda: self.commits.replace(table, day, frame, recorded))
            with stage(self.root, partition(table, day)) as staged:
                self.write_parquet(table, frame, staged.folder)
                return publish(staged, table, day, self.made_from, settings, self.engine)["rows"]

    def write_parquet(self, table: Table, frame: DataFrame, folder: str) -> None:
        """Write the rows into a new folder below the root, at least one file, be it without rows."""
        frame.write.parquet(self.uri(folder))
        if not self.root.files(folder, ".parquet"):  # Sail writes none for no rows
            self.root.filesystem.create_dir(self.root.at(folder), recursive=True)
            with self.root.filesystem.open_output_stream(self.root.at(f"{folder}/part-0.parquet")) as stream:
                parquet.write_table(table.schema.empty_table(), stream)

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
        put = wanted.exceptAll(there).withColumn(GONE, F.lit(False))
        gone = there.join(wanted.select(*key), on=key, how="left_anti").withColumn(GONE, F.lit(True))
        changes = put.unionByName(gone)
        return self._commit(table, day, lambda: self.commits.merge(table, day, changes, self._recorded(day, settings)))

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
        nulls = {name: F.lit(None).cast(held.schema[name].dataType) for name in attributes}
        wanted = frame.withColumns(nulls) if nulls else frame
        there = _digest(held)
        if set(wanted.columns) != set(held.columns) or there != _digest(wanted.select(*_quoted(held.columns))):
            return self.replace(table, day, frame, settings)
        self._commit(table, day, lambda: self.commits.record(table, day, frame, self._recorded(day, settings)))
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
        return self._commit(table, day, lambda: self.commits.put(table, changes, self._recorded(day, settings)))

    def retype(self, table: Table, types: dict[str, pa.DataType]) -> None:
        """Give attributes of a Delta table other types: one commit that writes each of its files anew.

        A value is cast, and null where it does not fit: between a list and a single value, or lists of others.
        """
        whole = self._delta(table)
        columns = {name: _retyped(whole, name, sql_type(kind)) for name, kind in types.items()}
        recorded = json.dumps({delta_log.RETYPED: sorted(types), "run": self._run})
        try:
            self.commits.retype(table, whole.withColumns(columns), recorded)
        except self.commits.conflicts as fault:
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

    def _commit(self, table: Table, day: date, write: Callable[[], object]) -> int:
        """Make one commit; returns how many rows it put or took away."""
        conflict = (
            f"{table.path} of {day} below {self.root.path} was changed by another run while this one wrote it; "
            "the other's rows stay; run this again, alone"
        )
        try:
            write()
        except self.commits.conflicts as fault:
            raise ConflictError(conflict) from fault
        for _, recorded, rows in delta_log.replacements(self.root, table, day):
            if recorded.get("run") == self._run:
                return rows
        # On a local disk Delta looks whether a version is there and then renames: of two processes that do so at the
        # same moment one replaces the other's commit, and neither is told.
        raise ConflictError(conflict)

    def _recorded(self, day: date, settings: dict) -> str:
        recorded = {"date": day.isoformat(), "made_from": self.made_from, "settings": settings, "run": self._run}
        recorded["engine"] = self.engine
        return json.dumps(recorded, sort_keys=True)


def _retyped(frame: DataFrame, name: str, wanted: str) -> Column:
    value, had = F.col(f"`{name}`"), dict(frame.dtypes)[name]
    lists = had.startswith("array<"), wanted.startswith("array<")
    if lists[0] != lists[1] or (had == "array<string>" and wanted != had):
        return F.lit(None).cast(wanted)
    return value.try_cast(wanted)


def refuse(reason: Column) -> Column:
    """A column that lets the write fail, with this line, if a row needs its value."""
    # The word tells it from the engine's other faults: Sail passes the bare message on.
    return F.raise_error(F.concat(F.lit("refused: "), reason))


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


def row_hash(names: Iterable[str]) -> Column:
    """A hash of a row's columns that tells null from its absence; xxhash64 itself passes over nulls."""
    columns = [F.col(name) for name in _quoted(names)]
    return F.xxhash64(*columns, *(column.isNull() for column in columns))


def _digest(frame: DataFrame) -> tuple[int, Decimal | None]:
    """How many rows, and a sum that is the same for the same rows in any order."""
    hashed = row_hash(frame.columns).cast("decimal(20,0)")
    return tuple(frame.agg(F.count(F.lit(1)), F.sum(hashed)).first())


def _quoted(names: Iterable[str]) -> list[str]:
    return [f"`{name.replace('`', '``')}`" for name in names]


def with_added(table: Table, frame: DataFrame) -> DataFrame:
    """The frame with nulls for the columns that tables of an earlier release lack."""
    if not any(column.added for column in table.columns):
        return frame  # a Connect engine would be asked for the columns
    nulls = {column.name: F.lit(None).cast(sql_type(column.type)) for column in table.lacking(frame.columns)}
    return frame.withColumns(nulls) if nulls else frame


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
