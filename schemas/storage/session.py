"""The jobs' session, of Spark or of Sail: which engine it is, and what the tables' contract needs of it.

1. Under spark-submit it is Spark, with what was submitted.
2. With SPARK_REMOTE it is the Spark Connect server that this names.
3. Else HEADRACE_ENGINE chooses, which a job's `--engine` sets: `spark` is Spark on this machine's cores, `sail` is Sail
   in this process, without Java.
"""

import os
import sys
from typing import TYPE_CHECKING

from schemas.storage import engines
from schemas.storage.engines import ENGINE, ENGINES, SAIL, SPARK
from schemas.table import MissingDataError, SettingsError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The 4.4.1 Python package exists on its index; its jar does not.
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"

# How long a Delta table keeps the files that its newest version no longer needs.
RETENTION_DAYS = 30

_SUBMITTED, _REMOTE = "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE"
# pyspark's functions build expressions for a Spark Connect server where this is set, else for a JVM.
_CONNECT_MODE = "SPARK_CONNECT_MODE_ENABLED"

# What the tables' contract needs, whatever a submitter says.
_TIME_ZONE = {"spark.sql.session.timeZone": "UTC"}
_REQUIRED = {
    **_TIME_ZONE,
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
_sail: list = []  # the server of this process and its session, once there is one


def session(app_name: str, needs_jvm: bool = False) -> "SparkSession":
    """The job's session.

    Under spark-submit the master, memory and jars are the submitter's, and so is every setting that the tables'
    contract does not need; started by Python it runs on this machine's cores.

    Args:
        needs_jvm: whether the job uses what Spark Connect lacks.

    Raises:
        MissingDataError: the engine is not installed, or Spark has no Java.
        SettingsError: HEADRACE_ENGINE names no engine, or not the one that spark-submit has started; or the job needs
            a JVM.
    """
    engine = os.environ.get(ENGINE) or SPARK
    if engine not in ENGINES:
        raise SettingsError(f"{ENGINE} is {engine!r}, should be one of {', '.join(ENGINES)}")
    if _SUBMITTED in os.environ and engine != SPARK:
        raise SettingsError(f"spark-submit runs Spark, not {engine}: leave out --engine, or start the job by python")
    if needs_jvm and _SUBMITTED not in os.environ and (engine != SPARK or _REMOTE in os.environ):
        raise SettingsError(f"{app_name} does not run on Sail or a Spark Connect server yet: use --engine {SPARK}")
    if _REMOTE in os.environ and _SUBMITTED not in os.environ:
        spark = _connected(os.environ[_REMOTE])
    else:
        spark = _sail_session() if engine == SAIL else _spark(app_name)
    engines.note(engine_name(spark))
    return spark


def is_connected(spark: "SparkSession") -> bool:
    """Whether the session is a Spark Connect client's, with no JVM in this process."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def is_sail(spark: "SparkSession") -> bool:
    """Whether Sail runs the session; it calls itself Spark wherever Spark's version is asked for."""
    # Spark's version() is longer: its own version and the revision that it was built from.
    return is_connected(spark) and " " not in spark.sql("SELECT version()").first()[0]


def engine_name(spark: "SparkSession") -> str:
    """The engine and its version, as a manifest and a commit name it."""
    return f"{SAIL} {spark.sql('SELECT version()').first()[0]}" if is_sail(spark) else f"{SPARK} {spark.version}"


def parallelism(spark: "SparkSession") -> int:
    """How many tasks run at once; of a Spark Connect server this machine's cores stand in for what it does not tell."""
    return os.cpu_count() or 1 if is_connected(spark) else spark.sparkContext.defaultParallelism


def _spark(app_name: str) -> "SparkSession":
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    os.environ.pop(_CONNECT_MODE, None)
    builder = SparkSession.builder.appName(app_name)
    settings = _DEFAULTS
    if _SUBMITTED in os.environ:
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
            "apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) and set JAVA_HOME, or use "
            f"--engine {SAIL}, which needs none"
        ) from fault


def _sail_session() -> "SparkSession":
    """The session of the Sail server in this process, which is started once."""
    if not _sail:
        # Sail reads its settings when it is imported, and logs each query that fails.
        for name, value in _sail_settings().items():
            os.environ.setdefault(name, value)
        try:
            from pysail.spark import SparkConnectServer
        except ImportError as fault:
            raise MissingDataError(
                f"Sail is not installed: pip install 'headrace[sail]', or --engine {SPARK}"
            ) from fault
        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        _sail.append(server)
        _sail.append(_connected(f"sc://127.0.0.1:{server.listening_address[1]}"))
    os.environ[_CONNECT_MODE] = "1"
    return _sail[1]


def _sail_settings() -> dict[str, str]:
    """Half of this machine's memory for what can spill to disk; the rest is for what cannot, and for Python."""
    return {
        "RUST_LOG": "off",
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(7 * 86_400),  # of silence, as while Python works
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(_memory() // 2),
    }


def _memory() -> int:
    """Bytes of memory of this machine or of the container that it is."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as limit:
            return min(whole, int(limit.read()))
    except (OSError, ValueError):  # no container, or one without a limit
        return whole


def _connected(address: str) -> "SparkSession":
    try:
        # Not pyspark.sql's builder, which refuses a second kind of session in a process that has a JVM's.
        from pyspark.sql.connect.session import SparkSession
    except ImportError as fault:
        raise MissingDataError(f"{fault}; pip install 'headrace[sail]'") from fault
    os.environ[_CONNECT_MODE] = "1"
    remote = SparkSession.builder.remote(address).create()
    for key, value in _TIME_ZONE.items():
        remote.conf.set(key, value)
    return remote
