"""The DAG of late conversions keeps the daily one's policies and says what each job understands."""

import importlib
from functools import partial

import pytest

from tests.support import dag_descriptions

JOBS = (
    "ingest_logs",
    "relabel_late",
    "build_user_histories",
    "build_increc_samples",
    "build_hccp_samples",
    "build_channel_value",
)
CASES = {"daily": {}, "two_days_old": {"maturity_days": 2, "look_back_days": 3}}
TRIGGERED = "triggered_without_an_interval"


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    return dag_descriptions.describe("late_conversions", {**CASES, TRIGGERED: None}, tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def arguments(described):
    return partial(dag_descriptions.arguments, described)


def test_labels_follow_logs_and_samples_follow_labels(described):
    upstream = {job: task["upstream"] for job, task in described["tasks"].items()}
    assert upstream == {
        "ingest_logs": [],
        "relabel_late": ["ingest_logs"],
        "build_user_histories": ["relabel_late"],
        "build_increc_samples": ["build_user_histories"],
        "build_hccp_samples": ["build_user_histories"],
        "build_channel_value": ["relabel_late"],
    }


def test_policies(described):
    assert (described["catchup"], described["runs"]) == (False, 1)
    for job, task in described["tasks"].items():
        assert task["retries"] >= 1, job
        assert not task["depends_on_past"], job
        assert f"`{job}`" in described["doc"], f"the triage notes do not speak of {job}"
        assert task["operator"] == ("BashOperator" if job == "build_channel_value" else "SparkSubmitOperator"), job


@pytest.mark.parametrize("job", JOBS)
def test_every_argument_is_one_that_the_job_takes(arguments, job):
    parser = importlib.import_module(f"jobs.{job}").arg_parser()
    parsed = {case: parser.parse_args(arguments(case, job)) for case in CASES}
    dates = {case: (str(given.date[0]), str(given.date[-1])) for case, given in parsed.items()}
    if job == "relabel_late":
        assert dates == {"daily": ("2017-11-30",) * 2, "two_days_old": ("2017-11-29",) * 2}
    elif job == "ingest_logs":
        assert dates == {"daily": ("2017-11-01", "2017-11-30"), "two_days_old": ("2017-11-27", "2017-11-29")}
    else:
        # A row of the first ingested date can change labels of the dates whose windows hold it.
        assert dates == {"daily": ("2017-10-31", "2017-11-30"), "two_days_old": ("2017-11-25", "2017-11-29")}
    if job != "relabel_late":
        assert all(given.stale for given in parsed.values())


def test_a_run_without_an_interval_says_how_to_start_one(arguments):
    assert all("started by hand without a date" in arguments(TRIGGERED, job) for job in JOBS)
