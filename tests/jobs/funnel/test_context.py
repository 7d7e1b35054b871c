"""What samples say of a request and its user: attributes of the request's row and of the newest profile before it."""

from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from jobs import build_increc_samples, build_user_histories, label_target_groups
from jobs.funnel.context import Context
from schemas.storage import arrow
from schemas.storage.lineage import stale_dates
from schemas.storage.spark import Store
from schemas.tables.logs import requests, users
from schemas.tables.samples import increc_samples
from tests.support import worked_example as example
from tests.support.landed import flags, frame, put

DAY = example.DAY


def put_requests(spark, root, device: str = "phone") -> None:
    rows = frame(spark, requests, example.REQUESTS)
    named = F.when(F.col("request_id") == "r1", F.lit(device))
    store = Store(spark, str(root))
    store.replace(requests, DAY, rows.withColumn("device", named).withColumn("hour", F.hour("request_time")), {})


def put_users(spark, root, days_before: int, ages: dict[int, int]) -> None:
    rows = spark.createDataFrame(list(ages.items()), "user_id bigint, age bigint")
    Store(spark, str(root)).replace(users, DAY - timedelta(days=days_before), rows, {})


def test_the_newest_snapshot_before_the_date_counts_as_a_whole(spark, tmp_path):
    """User 2 is in an older snapshot alone, user 3 in none of the days before."""
    put_requests(spark, tmp_path)
    put_users(spark, tmp_path, 31, {1: 10, 2: 10, 3: 10})
    put_users(spark, tmp_path, 2, {1: 20, 2: 20})
    put_users(spark, tmp_path, 1, {1: 30})
    put_users(spark, tmp_path, 0, {1: 40, 2: 40, 3: 40})
    context = Context.of(Store(spark, str(tmp_path)), str(tmp_path), DAY)
    assert context.snapshot == DAY - timedelta(days=1)
    joined = context.join(frame(spark, requests, example.REQUESTS).select("request_id", "user_id"))
    assert {row.request_id: (row.context_device, row.context_hour, row.profile_age) for row in joined.collect()} == {
        "r1": ("phone", 10, 30), "r2": (None, 12, 30), "r3": (None, 23, None), "r4": (None, 9, None),
        "r5": (None, 11, 30),
    }  # fmt: skip


@pytest.mark.parametrize(("days_before", "age"), [(30, 5), (31, None)])
def test_a_profile_is_at_most_thirty_days_old(spark, tmp_path, days_before, age):
    put_requests(spark, tmp_path)
    put_users(spark, tmp_path, days_before, {1: 5})
    context = Context.of(Store(spark, str(tmp_path)), str(tmp_path), DAY)
    joined = context.join(spark.createDataFrame([("r1", 1)], "request_id string, user_id bigint"))
    assert [row.profile_age for row in joined.collect()] == [age]
    assert context.settings == {"profiles_of": str(DAY - timedelta(days=30)) if age else None}


def test_samples_carry_both_and_are_stale_once_either_changed(spark, tmp_path):
    put_requests(spark, tmp_path)
    put_users(spark, tmp_path, 3, {1: 33})
    for name in ("retrievals", "impressions"):
        put(spark, tmp_path, name, DAY, getattr(example, name.upper()))
    for day in (DAY, DAY + timedelta(days=1)):
        put(spark, tmp_path, "conversions", day, [row for row in example.CONVERSIONS if row[4].date() == day])
    for job in (label_target_groups, build_user_histories, build_increc_samples):
        job.main(flags(job, tmp_path, DAY), DAY)
    rows = arrow.read(str(tmp_path), increc_samples, DAY).to_pylist()
    assert {row["request_id"]: (row["context_device"], row["profile_age"]) for row in rows} == {
        "r1": ("phone", 33), "r2": (None, 33), "r3": (None, None),
    }  # fmt: skip

    def stale() -> list:
        return stale_dates(str(tmp_path), [DAY], [increc_samples])

    assert stale() == []
    put_users(spark, tmp_path, 0, {1: 44})
    put_users(spark, tmp_path, 9, {1: 22})
    assert stale() == []
    put_users(spark, tmp_path, 1, {1: 44})
    assert stale() == [DAY]
