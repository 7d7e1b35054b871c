"""Commits to Delta tables by delta-spark: for sessions of a JVM, which Spark's people know and tune."""

from collections.abc import Callable
from datetime import date

from delta import exceptions
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.storage.delta_log import GONE
from schemas.table import Table

_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
# What Delta raises when two runs commit at once; they share no class of their own.
_CONFLICTS = tuple(getattr(exceptions, name) for name in exceptions.__all__)
_LISTING_TASKS = 32


class Commits:
    """Each method but the last two is one commit, which holds `recorded` as its user metadata."""

    def __init__(self, spark: SparkSession, uri: Callable[[str], str]):
        self.spark, self.uri = spark, uri
        self.conflicts = _CONFLICTS

    def replace(self, table: Table, day: date, frame: DataFrame, recorded: str) -> None:
        """Replace the rows of one date."""
        self._overwrite(table, day, frame, recorded, f"date = '{day}'")

    def record(self, table: Table, day: date, frame: DataFrame, recorded: str) -> None:
        """Change no row; the frame gives the columns."""
        self._overwrite(table, day, frame.where(F.lit(False)), recorded, "date IS NULL")

    def merge(self, table: Table, day: date, changes: DataFrame, recorded: str) -> None:
        """Put the rows of `changes` into one date, or delete those of their keys where `GONE` holds."""
        changes = changes.withColumn("date", F.lit(day)).persist()
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in table.key)
        values = {f"`{name}`": f"change.`{name}`" for name in (*table.names, "date")}
        self.spark.conf.set(_USER_METADATA, recorded)
        try:
            merge = (
                DeltaTable.forPath(self.spark, self.uri(table.path))
                .alias("target")
                .merge(changes.alias("change"), f"target.date = DATE'{day}' AND {same}")
                .withSchemaEvolution()
                .whenMatchedDelete(f"change.{GONE}")
                .whenMatchedUpdate(set=values)
                .whenNotMatchedInsert(values=values)
            )
            merge.execute()
        finally:
            self.spark.conf.unset(_USER_METADATA)
            changes.unpersist()

    def put(self, table: Table, changes: DataFrame, recorded: str) -> None:
        """Put rows into a table without dates, by their keys."""
        uri, names = self.uri(table.path), list(table.names)
        if not DeltaTable.isDeltaTable(self.spark, uri):
            nothing = changes.select(*names).where(F.lit(False))
            nothing.write.format("delta").mode("append").save(uri)
        same = " AND ".join(f"target.`{name}` = change.`{name}`" for name in table.key)
        values = {f"`{name}`": f"change.`{name}`" for name in names}
        self.spark.conf.set(_USER_METADATA, recorded)
        try:
            merge = DeltaTable.forPath(self.spark, uri).alias("target").merge(changes.alias("change"), same)
            merge.whenMatchedUpdate(set=values).whenNotMatchedInsert(values=values).execute()
        finally:
            self.spark.conf.unset(_USER_METADATA)

    def retype(self, table: Table, frame: DataFrame, recorded: str) -> None:
        """Replace all rows by those of `frame`, whose columns may have other types."""
        write = frame.write.format("delta").mode("overwrite").partitionBy("date").option("overwriteSchema", "true")
        write.option("userMetadata", recorded).save(self.uri(table.path))

    def compact(self, table: Table, days: list[date], small: int, merged: int) -> tuple[int, int]:
        """Merge files below `small` bytes to at most `merged`; returns how many were removed and added."""
        self.spark.conf.set("spark.databricks.delta.optimize.minFileSize", small)
        self.spark.conf.set("spark.databricks.delta.optimize.maxFileSize", merged)
        asked = ", ".join(f"DATE'{day}'" for day in days)
        merging = DeltaTable.forPath(self.spark, self.uri(table.path)).optimize().where(f"date IN ({asked})")
        return tuple(merging.executeCompaction().select("metrics.numFilesRemoved", "metrics.numFilesAdded").first())

    def set_property(self, table: Table, name: str, value: str) -> None:
        self.spark.sql(f"ALTER TABLE delta.`{self.uri(table.path)}` SET TBLPROPERTIES ('{name}' = '{value}')")

    def vacuum(self, table: Table, hours: int) -> None:
        """Delete the files that no version of the last hours names."""
        # Delta lists the table's folders in as many tasks: 10,000, if not told.
        self.spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", _LISTING_TASKS)
        DeltaTable.forPath(self.spark, self.uri(table.path)).vacuum(hours)

    def _overwrite(self, table: Table, day: date, frame: DataFrame, recorded: str, where: str) -> None:
        write = (
            frame.withColumn("date", F.lit(day))
            .write.format("delta")
            .mode("overwrite")
            .partitionBy("date")
            .option("replaceWhere", where)
            .option("mergeSchema", str(table.grows).lower())
            .option("userMetadata", recorded)
        )
        write.save(self.uri(table.path))
