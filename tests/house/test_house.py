"""The rules of the house that a program can check: imports point one way, names say what a module is about."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

from examples.taobao import delta_jars, run_daily_batch
from schemas.storage.session import DELTA_PACKAGE
from tests.support.project import PROJECT

PACKAGES = ("schemas", "models", "jobs", "airflow_dags")
SPARK, TENSORFLOW = {"pyspark", "delta"}, {"tensorflow", "tensorflow_recommenders", "tf_keras", "keras", "faiss"}


def imported(path: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it: `from jobs import command` is `jobs.command`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((PROJECT / package).rglob("*.py"))
}
IMPORTS = {name: imported(path) for name, path in MODULES.items()}
JOBS = sorted(name for name in MODULES if name.count(".") == 1 and MODULES[name].parent == PROJECT / "jobs")


def reached(name: str) -> set[str]:
    """All that a module imports, directly or by way of our own modules."""
    seen, todo, found = set(), [name], set()
    while todo:
        for target in IMPORTS[todo.pop()]:
            found.add(target)
            for ours in (target, target.rpartition(".")[0]):
                if ours in MODULES and ours not in seen:
                    seen.add(ours)
                    todo.append(ours)
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_jobs_are_found():
    assert {"jobs.ingest_logs", "jobs.label_target_groups"} <= set(JOBS)
    assert "jobs.command" not in JOBS


@pytest.mark.parametrize(
    ("package", "may"),
    [("schemas", {"schemas"}), ("models", {"schemas", "models"}), ("jobs", {"schemas", "models", "jobs"}),
     ("airflow_dags", {"airflow_dags"})],
)  # fmt: skip
def test_imports_point_one_way(package, may):
    ours = {name: roots(found) & set(PACKAGES) for name, found in IMPORTS.items() if name.split(".")[0] == package}
    assert {name: found - may for name, found in ours.items() if found - may} == {}


def test_a_job_is_never_imported():
    importers = {
        name: sorted(job for job in JOBS if any(f"{target}.".startswith(f"{job}.") for target in targets))
        for name, targets in IMPORTS.items()
    }
    assert {name: jobs for name, jobs in importers.items() if jobs} == {}


def test_no_module_needs_both_engines():
    both = [name for name in MODULES if roots(reached(name)) & SPARK and roots(reached(name)) & TENSORFLOW]
    assert both == []


# What a JVM alone has: these modules are for it, or look before they use it. The replay and the ingestion need Spark.
OF_A_JVM = ("schemas.storage.session", "schemas.storage.delta_spark", "jobs.replay", "jobs.ingest")
NOT_IN_CONNECT = {"sparkContext", "_jvm", "_jsc", "_jdf", "rdd", "toRDD", "clearCache", "groupingSets", "try_divide"}


def test_jobs_use_what_spark_connect_has():
    """Names of attributes, and imports of the JVM's bridge."""
    faults = {}
    for name, path in MODULES.items():
        if not name.startswith(OF_A_JVM):
            used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            faults[name] = used & NOT_IN_CONNECT | {each for each in IMPORTS[name] if each.split(".")[0] == "delta"}
    assert {name: found for name, found in faults.items() if found} == {}


def test_models_never_reach_spark():
    assert [name for name in MODULES if name.startswith("models") and roots(reached(name)) & SPARK] == []


@pytest.mark.parametrize(
    "job", ["train_increc", "train_hccp", "evaluate_increc", "evaluate_hccp", "export_models", "render_report",
            "inspect_table", "browse_root", "simulate_logs", "build_channel_value", "run_study", "erase_user"]
)  # fmt: skip
def test_jobs_without_a_jvm_never_reach_spark(job):
    assert roots(reached(f"jobs.{job}")) & SPARK == set()


def test_dags_import_airflow_and_the_standard_library():
    allowed = {*sys.stdlib_module_names, "airflow", "airflow_dags"}
    outside = {name: roots(IMPORTS[name]) - allowed for name in MODULES if name.startswith("airflow_dags")}
    assert {name: found for name, found in outside.items() if found} == {}


def test_the_environment_is_made_with_the_standard_library_alone():
    paths = [path for path in (PROJECT / "examples/taobao").glob("*.py") if path.name != "make_slice.py"]
    names = {each for path in paths for each in roots(top_level_imports(path))}
    assert names - sys.stdlib_module_names == {"examples"}


def top_level_imports(path: Path) -> set[str]:
    """Full names of what a module imports when it is imported; imports inside functions come later."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_first_command_does_the_batch_anew_when_the_dag_changes():
    """And the modules it is made of; how the environment is made changes no row."""
    made_of = {"airflow_dags.daily_batch", *reached("airflow_dags.daily_batch")}
    paths = {MODULES.get(name, MODULES.get(name.rpartition(".")[0])) for name in made_of}
    watched = {path for pattern in run_daily_batch.SOURCES for path in PROJECT.glob(pattern)}
    assert paths - {None} <= watched
    assert {path for path in PROJECT.glob("jobs/**/*") if path.suffix in (".html", ".css")} <= watched


def test_no_module_is_named_after_nothing():
    shunned = {"utils", "util", "helpers", "helper", "common", "base", "misc", "shared", "core"}
    parts = {part for path in [*MODULES.values(), *(PROJECT / "tests").rglob("*.py")] for part in path.parts[-2:]}
    assert {Path(part).stem for part in parts} & shunned == set()


def test_tests_are_no_package():
    assert list((PROJECT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_docstring_parser_main_and_guard(job):
    tree = ast.parse(MODULES[job].read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    documentation = ast.get_docstring(tree) or ""
    assert {"arg_parser", "main"} <= functions
    assert "Reads:" in documentation
    assert "Writes:" in documentation
    assert isinstance(tree.body[-1], ast.If)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_at_most_six_flags(job):
    """`--root` and `--date` among them; `--help` is Python's, `--engine` every Spark job's. A view has one for each
    question it answers.
    """
    most = {"jobs.inspect_table": 12}.get(job, 6)
    actions = importlib.import_module(job).arg_parser()._actions
    flags = [action.dest for action in actions if action.dest not in ("help", "engine")]
    assert len(flags) <= most, flags


def test_delta_is_written_down_alike():
    assert delta_jars.DELTA_PACKAGE == DELTA_PACKAGE
