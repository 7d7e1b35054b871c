"""The maintenance DAG keeps the daily one's policies and says what its job understands."""

import pytest

from jobs import maintain_tables
from tests.support import dag_descriptions


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    return dag_descriptions.describe(
        "weekly_maintenance", {"weekly": {}, "triggered": None}, tmp_path_factory.mktemp("airflow")
    )


def test_its_one_task_is_the_job_with_our_policies(described):
    (task,) = described["tasks"].values()
    assert task["application"] == str(dag_descriptions.PROJECT / "jobs" / "maintain_tables.py")
    assert "`maintain_tables`" in described["doc"]
    assert (described["catchup"], described["runs"], task["depends_on_past"]) == (False, 1, False)
    assert task["retries"] >= 1
    assert task["connection"] == "spark_default"


def test_no_two_dags_start_together(described):
    starts = {name: cron.split()[:2] for name, cron in described["schedules"].items()}
    assert starts == {"daily_batch": ["0", "0"], "late_conversions": ["0", "12"], "weekly_maintenance": ["0", "18"]}


def test_every_argument_is_one_that_the_job_takes(described):
    """A run whose interval ends as the 2nd begins takes the dates up to the 1st, the last whole day."""
    given = dag_descriptions.arguments(described, "weekly", "maintain_tables")
    parsed = maintain_tables.arg_parser().parse_args(given)
    assert (parsed.root, list(map(str, parsed.date)), parsed.retention_days) == ("/a root", ["2017-12-01"], 30)


def test_a_run_without_an_interval_says_how_to_start_one(described):
    assert "started by hand without a date" in dag_descriptions.arguments(described, "triggered", "maintain_tables")


def test_the_root_is_absolute_or_what_the_environment_says(described, monkeypatch, tmp_path):
    assert described["root"] == str(dag_descriptions.PROJECT / "root")
    monkeypatch.setenv("HEADRACE_ROOT", "s3a://bucket/root")
    assert dag_descriptions.describe("daily_batch", {"daily": {}}, tmp_path)["root"] == "s3a://bucket/root"
