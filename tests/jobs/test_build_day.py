"""One start makes every table of landed dates; a second one only what is out of date."""

from datetime import timedelta

import pytest

from jobs import build_day as job
from jobs import build_hccp_samples, label_target_groups
from tests.support import landed, tiny_root
from tests.support import worked_example as example
from tests.support.worked_example import DAY

NEXT = DAY + timedelta(days=1)
JOBS = ["ingest_logs", "label_target_groups", "build_user_histories", "build_item_stats", "build_increc_samples",
        "build_hccp_samples"]  # fmt: skip


def build(root, days: object, *given: str) -> dict[str, tuple[list[str], list[str]]]:
    """Job -> the dates it did, and those it skipped; the second date has no stages, so no hccp_samples."""
    line = job.main(landed.flags(job, root, days, *given))
    assert list(line["jobs"]) == JOBS
    assert line["rows_written"] == sum(counts["rows_written"] for counts in line["jobs"].values())
    assert line["jobs"]["build_hccp_samples"]["left_out"] == [day for day in [str(NEXT)] if day in str(days)]
    return {name: (counts["done"], counts["skipped"]) for name, counts in line["jobs"].items()}


@pytest.fixture
def root(spark, tmp_path):
    for name in ("requests", "retrievals", "impressions"):
        tiny_root.put_landing(tmp_path, name, DAY, getattr(example, name.upper()))
        tiny_root.put_landing(tmp_path, name, NEXT, [])
    tiny_root.put_landing(tmp_path, "stages", DAY, [("r1", "ranking", [3, 1], [])])
    for day in (DAY, NEXT):
        tiny_root.put_landing(
            tmp_path, "conversions", day, [row for row in example.CONVERSIONS if row[4].date() == day]
        )
    return tmp_path


def test_what_is_up_to_date_is_skipped_and_what_is_not_is_made(spark, root):
    both, day = f"{DAY}..{NEXT}", [str(DAY)]
    days = [str(DAY), str(NEXT)]
    assert build(root, both) == {name: (days, []) for name in JOBS} | {"build_hccp_samples": (day, [])}
    labels = set(landed.rows_of(spark, root, "target_groups", DAY))
    assert labels == example.EXPECTED
    assert build(root, both) == {name: ([], days) for name in JOBS} | {"build_hccp_samples": ([], day)}

    # A shorter window: other labels, other samples of them; histories and stats know no window.
    done = {name for name, (dates, _) in build(root, str(DAY), "--window-hours", "1").items() if dates == day}
    assert done == {"label_target_groups", "build_increc_samples", "build_hccp_samples"}
    done = {name for name, (dates, _) in build(root, str(DAY), "--window-hours", "1", "--seed", "5").items() if dates}
    assert done == {"build_hccp_samples"}

    # A conversion of the second date comes late: it is ingested there, and reaches back to the labels of the first.
    late = ("late", 2, 6, "click", example.at("00:20", 2), "homepage", None, example.at("00:21", 2))
    second = [row for row in example.CONVERSIONS if row[4].date() == NEXT]
    tiny_root.put_landing(root, "conversions", NEXT, [*second, late])
    done = build(root, both, "--window-hours", "1", "--seed", "5")
    assert done["ingest_logs"] == ([str(NEXT)], day)
    assert str(DAY) in done["label_target_groups"][0]
    assert done["build_user_histories"] == ([str(NEXT)], day)
    assert (2, 6) in {row[1:3] for row in landed.rows_of(spark, root, "target_groups", DAY)}


def test_flags_reach_the_jobs_that_have_them(tmp_path):
    batch = landed.flags(job, tmp_path, DAY, "--window-hours", "6", "--attribution", "every_request", "--seed", "2")
    steps = {step.job: step.arguments(batch, DAY) for step in job.STEPS}
    assert steps["label_target_groups"] == landed.flags(
        label_target_groups, tmp_path, DAY, "--window-hours", "6", "--attribution", "every_request"
    )
    assert steps["build_hccp_samples"] == landed.flags(build_hccp_samples, tmp_path, DAY, "--seed", "2")
