"""No row of an erased user is left in any current file; everybody else's rows stay as they were."""

import argparse
import uuid
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyarrow import parquet

from jobs import build_increc_samples, build_user_histories, label_target_groups, relabel_late
from jobs import erase_user as job
from jobs.erasure import landed, published, versioned
from schemas.storage import arrow, delta_log, partitions
from schemas.storage.root import Root
from schemas.table import landing, partition
from schemas.tables.features import user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import LOGS, conversions, requests
from schemas.tables.registry import TABLES
from schemas.tables.samples import increc_samples
from tests.support import tiny_root
from tests.support import worked_example as example
from tests.support.landed import flags, put, rows_of
from tests.support.worked_example import DAY

REQUESTS = {"r1", "r2", "r5"}  # user 1's; user 2 has r3, user 3 has r4
OF_A_USER = [
    *LOGS[:-1],
    target_groups,
    *(TABLES[name] for name in ("user_histories", "increc_samples", "hccp_samples")),
]


def erase(root, user: object, *given: str) -> dict:
    return job.main(job.arg_parser().parse_args(["--root", str(root), "--user-id", str(user), *given]))


def rows_by_folder(root) -> dict[str, list[dict]]:
    """The rows of every folder that a reader or the next ingest_logs takes rows from."""
    folders = {}
    for table in OF_A_USER:
        for day in arrow.dates(str(root), table):
            folders[partition(table, day)] = arrow.read(str(root), table, day).to_pylist()
        for layer in ("landing", "quarantine"):
            for path in sorted((root / layer / table.name).rglob("*.parquet")):
                rows = parquet.read_table(path, partitioning=None).to_pylist()
                folders[f"{layer}/{table.name}"] = folders.get(f"{layer}/{table.name}", []) + rows
    return folders


def is_theirs(row: dict) -> bool:
    return row.get("user_id") == 1 or ("user_id" not in row and row.get("request_id") in REQUESTS)


@pytest.fixture
def root(tmp_path):
    tiny_root.put_all(tmp_path)
    arrow.write(str(tmp_path), TABLES["user_histories"], example.DAY - timedelta(days=1), tiny_root.rows(
        "user_histories", [("r1", [5], ["click"], [datetime(2024, 2, 1, tzinfo=UTC)])]), {}, {})  # fmt: skip
    return tmp_path


def test_the_users_rows_go_and_the_others_stay(root):
    before = rows_by_folder(root)
    line = erase(root, 1)
    expected = {folder: [row for row in rows if not is_theirs(row)] for folder, rows in before.items()}
    # Ids of requests are unique within a date alone: r1 of the day before is somebody else's.
    day_before = partition(user_histories, DAY - timedelta(days=1))
    expected[day_before] = before[day_before]
    assert {folder: rows for folder, rows in rows_by_folder(root).items() if rows} == {
        folder: rows for folder, rows in expected.items() if rows
    }
    counted = {path: rows for path, rows in line["tables"].items() if rows}
    assert counted == {
        "landing/requests": 3, "landing/retrievals": 3, "landing/stages": 4, "landing/impressions": 5,
        "landing/conversions": 7, "quarantine/conversions": 1,  # one landed twice, one refused
        "logs/requests": 3, "logs/retrievals": 3, "logs/stages": 4, "logs/impressions": 5, "logs/conversions": 5,
        "labels/target_groups": 9, "features/user_histories": 2,
        "samples/increc_samples": 2, "samples/hccp_samples": 2,
    }  # fmt: skip
    assert line["rows_erased"] == sum(counted.values())


def test_a_second_run_finds_nothing_and_commits_nothing(root):
    erase(root, 1)
    versions = {table.path: delta_log.version(Root.of(str(root)), table) for table in (target_groups, requests)}
    line = erase(root, 1)
    assert (line["rows_erased"], line["files_rewritten"], set(line["tables"].values())) == (0, 0, {0})
    assert versions == {table.path: delta_log.version(Root.of(str(root)), table) for table in (target_groups, requests)}


def test_manifests_count_what_is_left(root):
    erase(root, 1)
    place = Root.of(str(root))
    for name, rows in {"user_histories": 1, "increc_samples": 1, "hccp_samples": 0}.items():
        assert partitions.manifest(place, TABLES[name], DAY)["rows"] == rows
        assert sum(info.size for info in partitions.files(place, TABLES[name], DAY)) > 0  # raises unless bytes agree
    assert partitions.manifest(place, increc_samples, DAY)["seed"] == 1
    assert not (root / "quarantine/conversions" / f"date={DAY}").exists()
    manifest = (root / landing(requests, DAY) / "_manifest.json").read_text()
    assert '"rows": 2' in manifest


@pytest.mark.parametrize("steps", range(1, 20, 3))
def test_a_run_that_was_killed_is_finished_by_the_next(root, monkeypatch, steps):
    left = iter(range(steps))

    def until_killed(work):
        def step(*given):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return work(*given)

        return step

    with monkeypatch.context() as patched:
        for module in (landed, published, versioned):
            patched.setattr(module, "erase", until_killed(module.erase))
        with pytest.raises(KeyboardInterrupt):
            erase(root, 1)
    erase(root, 1)
    day_before = partition(user_histories, DAY - timedelta(days=1))
    assert [
        row for folder, rows in rows_by_folder(root).items() for row in rows if folder != day_before and is_theirs(row)
    ] == []


def test_no_commit_names_the_user(tmp_path):
    tiny_root.put_delta(tmp_path, "conversions", DAY, [("e1", 7654321, 1, "click", *[example.at("10:00"), "homepage",
                        None, example.at("10:00")]), ("e2", 2, 1, "click", *[example.at("10:00"), "homepage", None,
                        example.at("10:00")])])  # fmt: skip
    erase(tmp_path, 7654321)
    commit = tmp_path / "logs/conversions/_delta_log/00000000000000000001.json"
    assert "7654321" not in commit.read_text()


def test_old_versions_hold_the_rows_until_a_vacuum(root):
    assert erase(root, 1)["old_versions_days"] == 7  # Delta's default, which this root's tables have
    assert arrow.delta(str(root), requests).version() == 1
    line = erase(root, 1, "--vacuum")
    assert line["old_versions_days"] == 0
    assert line["old_files_deleted"] > 0
    held = [path for path in (root / "logs/requests").rglob("*.parquet") if "_delta_log" not in path.parts]
    assert [parquet.read_table(path, partitioning=None)["user_id"].to_pylist() for path in held] == [[2, 3]]


def test_an_int64_root_refuses_a_text(run_job, tmp_path):
    status, _, told = run_job("erase_user", "--root", tmp_path, "--user-id", "ada")
    assert status == 1
    assert told == (
        "erase_user: --user-id 'ada' is no int64, as this root's user ids are; text ids need user_id = \"text\" in "
        "[ids] of settings.toml\n"
    )


LANDED_IDS = {
    "strings": pa.array(["7", "17", " 007", None]),
    "whole numbers as floats": pa.array([7.0, 17.0, 7.0, None]),
    "small numbers": pa.array([7, 17, 7, None], pa.int16()),
    "decimals": pa.array(["7", "17", "7", None]).cast(pa.decimal128(20, 0)),
    "a dictionary": pa.array(["7", "17", "7", None]).dictionary_encode(),
}


@pytest.mark.parametrize("ids", LANDED_IDS.values(), ids=LANDED_IDS.keys())
def test_landing_files_of_any_type_lose_the_user(tmp_path, ids):
    place = tmp_path / "landing/requests/date=2024-03-01"
    place.mkdir(parents=True)
    parquet.write_table(pa.table({"request_id": ["a", "b", "c", "d"], "user_id": ids}), place / "rows")
    (place / ".rows.crc").write_bytes(b"old")
    others = tmp_path / "landing/impressions/date=2024-03-01"
    others.mkdir(parents=True)
    parquet.write_table(pa.table({"request_id": ["a", "b", "c", "d"]}), others / "part-[0].parquet")
    line = erase(tmp_path, 7)
    assert {path: rows for path, rows in line["tables"].items() if rows} == {
        "landing/requests": 2, "landing/impressions": 2,
    }  # fmt: skip
    assert parquet.read_table(place / "rows", partitioning=None)["request_id"].to_pylist() == ["b", "d"]
    assert parquet.read_table(place / "rows", partitioning=None)["user_id"].type == ids.type
    assert [path.name for path in place.iterdir()] == ["rows"]  # Hadoop's checksum of the old file is gone


TEXT = """
arrives_within_days = 1
[ids]
user_id = "text"
[logs.requests]
columns = { user_id = "uid", request_id = "rid" }
[logs.conversions]
columns = { user_id = "path:who" }
"""


def test_text_ids_by_the_producers_columns_and_folders(tmp_path):
    ada, bob = uuid.UUID(int=1), uuid.UUID(int=2)
    (tmp_path / "settings.toml").write_text(TEXT)
    place = tmp_path / "landing/requests/date=2024-03-01"
    place.mkdir(parents=True)
    uids = pa.array([ada.bytes, bob.bytes], pa.binary(16))
    parquet.write_table(pa.table({"rid": ["a", "b"], "uid": uids, "user_id": ["x", str(ada)]}), place / "0.parquet")
    late = tmp_path / "landing/retrievals/date=2024-03-02"  # in reach of the request's date
    late.mkdir(parents=True)
    parquet.write_table(pa.table({"request_id": ["a", "b"]}), late / "0.parquet")
    for who in (ada, bob):
        theirs = tmp_path / f"landing/conversions/date=2024-03-01/who={who}"
        theirs.mkdir(parents=True)
        parquet.write_table(pa.table({"event_id": ["e", "f"]}), theirs / "0.parquet")
    number = 42
    ids = pa.table({"id": [number, 43], "text": [str(ada), str(bob)], "first_date": [date(2024, 3, 1)] * 2})
    write_deltalake(str(tmp_path / "ids/user_id"), ids)
    for day, request in ((DAY, "a"), (DAY - timedelta(days=1), "a")):  # of these, the day before's is not ada's
        tiny_root.put_delta(tmp_path, "retrievals", day, [(request, "hot", [1], [])])
    tiny_root.put_delta(tmp_path, "requests", DAY, [("a", number, "homepage", example.at("10:00")),
                                                    ("b", 43, "homepage", example.at("10:00"))])  # fmt: skip
    line = erase(tmp_path, ada)
    assert {path: rows for path, rows in line["tables"].items() if rows} == {
        "landing/requests": 1, "landing/retrievals": 1, "landing/conversions": 2, "logs/requests": 1,
        "logs/retrievals": 1, "ids/user_id": 1,
    }  # fmt: skip
    assert parquet.read_table(place, partitioning=None)["rid"].to_pylist() == ["b"]
    assert parquet.read_table(late, partitioning=None)["request_id"].to_pylist() == ["b"]
    assert not any(str(ada) in str(path) for path in tmp_path.rglob("*"))
    left = tmp_path / "landing/conversions/date=2024-03-01"
    assert sorted(len(parquet.read_table(path, partitioning=None)) for path in left.rglob("*.parquet")) == [0, 2]
    assert erase(tmp_path, ada)["rows_erased"] == 0


def test_a_conversion_without_a_user_goes_with_the_request_it_names(tmp_path):
    for name, columns in {
        "requests": {"request_id": ["a"], "user_id": [7]},
        "conversions": {"event_id": ["e", "f", "g"], "user_id": [None, 8, None], "request_id": ["a", "a", "b"]},
    }.items():
        place = tmp_path / f"landing/{name}/date=2024-03-01"
        place.mkdir(parents=True)
        parquet.write_table(pa.table(columns), place / "0.parquet")
    assert erase(tmp_path, 7)["tables"]["landing/conversions"] == 1
    rows = parquet.read_table(tmp_path / "landing/conversions/date=2024-03-01", partitioning=None)
    assert rows["event_id"].to_pylist() == ["f", "g"]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_erased(run_job, tmp_path):
    place = tmp_path / "landing/requests/date=2024-03-01"
    place.mkdir(parents=True)
    parquet.write_table(pa.table({"request_id": ["a"], "user_id": [7]}), place / "0.parquet")
    (place / "1.csv").write_text("request_id,user_id\nb,7\n")
    status, line, told = run_job("erase_user", "--root", tmp_path, "--user-id", "7")
    assert (status, line["tables"]["landing/requests"]) == (1, 1)
    assert line["failed_files"] == [f"{place / '1.csv'} is no Parquet file"]
    assert told.splitlines() == [f"erase_user: {place / '1.csv'} is no Parquet file; it may hold rows of the user"]


def test_nothing_is_out_of_step_after_an_erasure(spark, tmp_path):
    """Tables that Spark wrote: nothing is stale, late conversions find nothing, builds give the same rows."""
    for name in ("requests", "retrievals", "impressions"):
        put(spark, tmp_path, name, DAY, getattr(example, name.upper()))
    for day in (DAY, DAY + timedelta(days=1)):
        put(spark, tmp_path, "conversions", day, [row for row in example.CONVERSIONS if row[4].date() == day])
    jobs = (label_target_groups, build_user_histories, build_increc_samples)
    for each in jobs:
        each.main(flags(each, tmp_path, DAY), DAY)
    erase(tmp_path, 1)
    assert build_increc_samples.stale(str(tmp_path), [DAY]) == []
    late = relabel_late.main(argparse.Namespace(root=str(tmp_path)), DAY)
    assert (late["rows_written"], late["stale_dates"]) == (0, [])
    names = ("target_groups", "user_histories", "increc_samples")
    left = {name: sorted(rows_of(spark, tmp_path, name, DAY), key=repr) for name in names}
    assert [len(rows) for rows in left.values()] == [2, 2, 1]
    for each in jobs:
        each.main(flags(each, tmp_path, DAY), DAY)
    assert left == {name: sorted(rows_of(spark, tmp_path, name, DAY), key=repr) for name in names}
    assert {row[1] for row in rows_of(spark, tmp_path, "conversions", DAY + timedelta(days=1))} == {2}
    assert versioned.retention_days(str(tmp_path), conversions) == 30
