"""What this machine has, and which jobs it can run for it; needs nothing but the standard library."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

JAVA = 17  # the oldest that Spark 4.2 starts on
_DRIVER_MEMORY = 4 << 30  # what a job's Spark driver takes


@dataclass(frozen=True)
class Part:
    """Something a job may need; `fault` is None where it is there and fit, else what would mend it."""

    name: str
    state: str
    fault: str | None = None


@dataclass(frozen=True)
class Use:
    """A kind of work, the jobs that do it, and the parts that it needs."""

    name: str
    jobs: str
    parts: tuple[Part, ...]

    @property
    def faults(self) -> list[str]:
        return [part.fault for part in self.parts if part.fault]


def uses() -> list[Use]:
    """Every kind of work, in the order of a day."""
    memory, java, spark = _memory(), _java(), _package("pyspark", "spark")
    delta, numpy = _package("delta-spark", "spark"), _package("numpy", "spark")
    tensorflow, faiss = _package("tensorflow", "train"), _package("faiss-cpu", "train")
    duckdb, rich, textual, jinja = (_package(name, "report") for name in ("duckdb", "rich", "textual", "jinja2"))
    recommenders = _package("tensorflow-recommenders", "train")
    return [
        Use("Simulate logs", "simulate_logs", (numpy,)),
        Use("Ingest, label, build samples", "Spark's jobs", (java, spark, delta, memory)),
        Use("Train and evaluate", "train_*, evaluate_*", (tensorflow, recommenders, memory, _gpu())),
        Use("Export and retrieve", "export_models, retrieve_increc", (tensorflow, faiss)),
        Use("Look into tables", "inspect_table, browse_root", (duckdb, rich, textual)),
        Use("Reports", "render_report, build_channel_value", (duckdb, jinja)),
        Use("Schedule", "the DAGs", (_package("apache-airflow", "airflow"),)),
    ]


def _package(name: str, extra: str) -> Part:
    try:
        return Part(name, version(name))
    except PackageNotFoundError:
        return Part(name, "missing", f"pip install 'headrace[{extra}]'")


def _java(run: Callable[..., subprocess.CompletedProcess] = subprocess.run) -> Part:
    """The Java that Spark would start: that of JAVA_HOME, else the path's."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    mend = f"install Java {JAVA} or newer and set JAVA_HOME"
    if program is None or not os.access(program, os.X_OK):
        return Part("Java", f"none at {program}" if home else "missing", mend)
    said = run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None:
        return Part("Java", f"{program} says no version", mend)
    number = int(found.group(1))
    return Part("Java", str(number), None if number >= JAVA else f"Java {number} is too old: {mend}")


def _memory() -> Part:
    """The machine's memory, or what the container may have of it."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        size = min(size, int(text))
    few = f"{size / 2**30:.0f} GiB; Spark's driver alone takes {_DRIVER_MEMORY >> 30} GiB"
    return Part("memory", f"{size / 2**30:.0f} GiB", few if size < 2 * _DRIVER_MEMORY else None)


def _gpu() -> Part:
    """The graphics cards that the driver names; training runs without, more slowly."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Part("GPU", "none; training uses the CPU")
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    names: Sequence[str] = said.stdout.strip().splitlines() if said.returncode == 0 else []
    if not names:
        return Part("GPU", "its driver names none; training uses the CPU")
    sees = "" if find_spec("nvidia") or find_spec("tensorflow") is None else "; TensorFlow has no CUDA beside it"
    return Part("GPU", f"{len(names)} x {names[0]}{sees}")
