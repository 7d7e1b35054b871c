"""Fetches Delta's jars once per machine, so that Spark's processes find them without asking Maven."""

import sys
import tempfile
from pathlib import Path

from examples.taobao.progress import follow, last_error

DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"  # as schemas.storage.session has it; a test compares


def paths():
    """Return the paths of Delta's own jars in Ivy's folder; none if they are not all there."""
    names = ("delta-spark_4.2_2.13", "delta-storage", "delta-kernel-api", "delta-kernel-defaults")
    version = DELTA_PACKAGE.split(":")[-1]
    for folder in sorted(Path.home().glob(".ivy2*/jars"), reverse=True):
        jars = [folder / f"io.delta_{name}-{version}.jar" for name in names]
        others = [*folder.glob(f"io.delta_delta-kernel-unitycatalog-{version}.jar"), *folder.glob("io.unitycatalog_*")]
        if all(jar.exists() for jar in jars) and others:
            return jars + sorted(others)
    return []


def fetch():
    """Let Spark resolve the Delta package, unless its jars are there already. Exits with one line on failure."""
    if paths():
        return
    folder = Path(tempfile.mkdtemp(prefix="headrace-delta-"))
    script, log = folder / "empty.py", folder / "spark.log"
    script.write_text("# Nothing to run: Spark resolves its packages first.\n")
    command = ["spark-submit", "--master", "local[1]", "--packages", DELTA_PACKAGE, str(script)]
    if follow("fetching the Delta jar (87 MB, once)", command, log) or not paths():
        sys.exit(
            f"Spark could not fetch {DELTA_PACKAGE}: {last_error(log)} (all of it: {log}). If it says 'download "
            "failed', a half-filled local Maven repository is in the way: move ~/.m2/repository aside and run again"
        )
