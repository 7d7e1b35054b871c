"""The jobs' Spark session: what the tables' contract needs of it, and what suits it."""

import os
import sys

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from schemas.table import MissingDataError

# The 4.4.1 Python package exists on its index; its jar does not.
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"

# How long a Delta table keeps the files that its newest version no longer needs.
RETENTION_DAYS = 30

# What the tables' contract needs, whatever a submitter says.
_REQUIRED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    # A cast that loses digits, size(null) and an overflow mean other things without it.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.sources.partitionOverwriteMode": "static",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # Features that readers without a JVM lack.
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    "spark.databricks.delta.properties.defaults.columnMapping.mode": "none",
    "spark.databricks.delta.properties.defaults.enableTypeWidening": "false",
    "spark.databricks.delta.properties.defaults.enableRowTracking": "false",
    "spark.databricks.delta.properties.defaults.checkpointPolicy": "classic",
    # Delta would store the partition column in the files too, where the contract has it in the folder alone.
    "spark.databricks.delta.properties.defaults.writePartitionColumnsToParquet": "false",
    # A date without rows is a state too: its commit says what it was made from.
    "spark.databricks.delta.skipRecordingEmptyCommits": "false",
    # A date's commit says how it was labelled; it has to outlive Delta's 30 days.
    "spark.databricks.delta.properties.defaults.logRetentionDuration": "interval 3650 days",
    "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": f"interval {RETENTION_DAYS} days",
    # relabel_late looks at the files itself before it reads the version that labels were made from.
    "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration": "false",
}
_DEFAULTS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "32",
    "spark.sql.parquet.compression.codec": "zstd",
    # A write has one date; without this Spark sorts all of its rows by that date.
    "spark.sql.maxConcurrentOutputFileWriters": "1",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def session(app_name: str) -> SparkSession:
    """The job's Spark session with Delta.

    Under spark-submit the master, memory and jars are the submitter's, and so is every setting that the tables'
    contract does not need; started by Python it runs on this machine's cores.

    Raises:
        MissingDataError: there is no Java.
    """
    builder = SparkSession.builder.appName(app_name)
    settings = _DEFAULTS
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        SparkContext._ensure_initialized()  # until the JVM is there, SparkConf knows nothing of what was submitted
        submitted = SparkConf()
        settings = {key: value for key, value in settings.items() if not submitted.contains(key)}
    else:
        builder = builder.config("spark.jars.packages", DELTA_PACKAGE).config("spark.driver.memory", "4g")
        builder = builder.config("spark.master", os.environ.get("SPARK_MASTER", "local[*]"))
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        # Spark's Python workers would be the path's python3, which lacks what this one has installed.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for key, value in (settings | _REQUIRED).items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except PySparkRuntimeError as fault:
        if fault.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise MissingDataError(
            "Spark did not start; its reason stands above. It needs Java 17 or newer: install one (Debian, Ubuntu: "
            "apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) and set JAVA_HOME"
        ) from fault
