"""Files become few and old ones go; rows, versions within the retention and what commits recorded stay."""

import json
import os
import time
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from jobs import maintain_tables
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.storage.spark import Store
from schemas.table import MissingDataError
from schemas.tables import logs
from schemas.tables.labels import target_groups
from tests.support import landed

DAY, NEXT, EMPTY = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
REQUESTS = [(f"r{n:02}", n, "homepage", NOON) for n in range(40)]
LABELLED = {"window_hours": 24, "scenario": "homepage"}


def label(item: int) -> tuple:
    """A row of target_groups."""
    return ("r1", 1, item, "ETG", None, None, None, 0, ["hot"], 1)


def maintain(root, *flags: str) -> dict:
    return maintain_tables.main(landed.flags(maintain_tables, root, DAY, *flags), DAY)


def file_counts(root, table) -> dict[date, int]:
    """Files of each date in the newest version."""
    added = pa.table(arrow.delta(str(root), table).get_add_actions(flatten=True))
    days = added["partition.date"].to_pylist()
    return {day: days.count(day) for day in set(days)}


def age(path, days: int) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_compaction_changes_no_row_for_those_who_read_on(spark, tmp_path):
    root = tmp_path / "a root"  # a blank, as paths may have
    rows = landed.frame(spark, logs.requests, REQUESTS).repartition(20)
    for day in (DAY, NEXT):
        Store(spark, str(root)).replace(logs.requests, day, rows, {})
    for day, labels in ((DAY, [label(1)]), (EMPTY, [])):
        Store(spark, str(root)).replace(target_groups, day, landed.frame(spark, target_groups, labels), LABELLED)
    many = file_counts(root, logs.requests)
    assert min(many.values()) >= maintain_tables.MANY
    reader = Store(spark, str(root))
    held = reader.read(logs.requests, DAY).select(*logs.requests.names)

    counts = maintain(root)
    assert counts["tables"]["logs/requests"] == {
        "dates_compacted": 1, "files_compacted": many[DAY], "files_added": 1, "files_deleted": 0, "bytes_freed": 0,
    }  # fmt: skip
    assert counts["tables"]["labels/target_groups"]["dates_compacted"] == 0
    assert (counts["files_compacted"], counts["files_deleted"], counts["rows_written"]) == (many[DAY], 0, 0)
    assert file_counts(root, logs.requests) == {DAY: 1, NEXT: many[NEXT]}
    assert sorted(row["request_id"] for row in held.collect()) == [row[0] for row in REQUESTS]
    assert sorted(landed.rows_of(spark, root, "requests", DAY)) == REQUESTS
    after = Store(spark, str(root))
    assert after.labelled(target_groups, DAY) == LABELLED
    assert after.has_date(target_groups, EMPTY)
    assert after.has_date(logs.requests, DAY)
    assert Store(spark, str(root)).replace(logs.requests, DAY, rows.limit(3), {}) == 3
    assert maintain(root)["files_compacted"] == 0


def test_vacuum_deletes_what_no_version_within_the_retention_names(spark, tmp_path):
    """Three states of a date, replaced 40 and 10 days ago, all files 60 days old; the table would forget after 7."""
    forgets = "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration"
    usual = spark.conf.get(forgets)
    spark.conf.set(forgets, "interval 7 days")
    try:
        for item in (1, 2, 3):
            frame = landed.frame(spark, target_groups, [label(item)])
            Store(spark, str(tmp_path)).replace(target_groups, DAY, frame, LABELLED)
    finally:
        spark.conf.set(forgets, usual)
    table = tmp_path / "labels" / "target_groups"
    for version, days in ((1, 40), (2, 10)):
        backdate_removals(table / "_delta_log" / f"{version:020}.json", days)
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    killed, writing = table / f"date={DAY}" / "part-killed.parquet", table / f"date={DAY}" / "part-writing.parquet"
    killed.write_bytes(b"half")
    for path in table.glob("date=*/*.parquet"):
        age(path, 60)
    writing.write_bytes(b"half")

    counts = maintain(tmp_path)["tables"]["labels/target_groups"]
    assert counts["files_deleted"] == 2  # the first state's file, and the killed writer's
    assert counts["bytes_freed"] > 4
    assert not killed.exists()
    assert writing.exists()
    assert [row[2] for row in landed.rows_of(spark, tmp_path, "target_groups", DAY)] == [3]
    reader = Store(spark, str(tmp_path))
    reader.made_from[target_groups.path] = 1
    assert [row["item_id"] for row in reader.read(target_groups, DAY).collect()] == [2]
    assert reader.labelled(target_groups, DAY) == LABELLED
    assert maintain(tmp_path, "--retention-days", "7")["files_deleted"] == 1  # the second state's


def backdate_removals(commit, days: int) -> None:
    """Let the files that a commit removed have been removed so many days ago."""
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    removals = [action["remove"] for action in actions if "remove" in action]
    assert removals
    for removal in removals:
        removal["deletionTimestamp"] -= days * 86_400_000
    commit.write_text("".join(json.dumps(action) + "\n" for action in actions))
    (commit.parent / f".{commit.name}.crc").unlink(missing_ok=True)


def test_folders_of_killed_runs(tmp_path, capsys):
    """Old ones go, but for what is all that there is of a date."""
    place = f"samples/increc_samples/date={DAY}"
    folders = {name: tmp_path / "_staging" / name for name in ("new", "old", "only")}
    files = [folders["new"] / "new" / place, folders["old"] / "new" / place, folders["only"] / "retired" / place]
    for folder in files:
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(b"rows")
    for name in ("old", "only"):
        for path in (*folders[name].rglob("*"), folders[name]):
            age(path, 31)
    assert maintain_tables.clear(Root.of(str(tmp_path)), datetime.now(UTC) - timedelta(days=30)) == 1
    assert {name for name, folder in folders.items() if folder.exists()} == {"new", "only"}
    assert f"all that there is of {place}" in capsys.readouterr().err


def test_less_than_a_week_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        landed.flags(maintain_tables, tmp_path, DAY, "--retention-days", "6")
    assert ended.value.code == 2
    assert "'6' is no whole number of at least 7" in capsys.readouterr().err
    assert landed.flags(maintain_tables, tmp_path, DAY).retention_days == 30


def test_a_root_without_tables(spark, tmp_path):
    with pytest.raises(MissingDataError, match="no Delta table below"):
        maintain(tmp_path)
