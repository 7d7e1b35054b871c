"""`check_landing` says what a stranger's files lack, writes nothing, and agrees with `ingest_logs`."""

import json
import tomllib

import pytest

from jobs import check_landing
from jobs.command.cli import WorkFailedError
from schemas.tables import logs
from tests.support import landed
from tests.support.ingested import DAY, at, ingest, land, land_empty

MORNING = 1_709_287_200_000  # 2024-03-01 10:00 UTC, in milliseconds


def check(root, capsys, *flags: str) -> tuple[bool, dict, str]:
    """Whether the job ends with 0, its JSON line, and what it printed before."""
    capsys.readouterr()
    published = True
    try:
        check_landing.main(landed.flags(check_landing, root, DAY, *flags))
    except WorkFailedError:
        published = False
    *screens, line = capsys.readouterr().out.strip().splitlines()
    return published, json.loads(line), "\n".join(screens)


def strangers_files(root, logged_out: int = 1) -> None:
    """Logs in a shop's own words: names, text ids, millisecond clocks."""
    ids = [f"{n:08d}-a35c" for n in range(4)]
    land(root, "requests", {
        "session_id": ["s0", "s1", "s2", "s3"], "uid": [None] * logged_out + ids[logged_out:],
        "timestamp": [MORNING + n for n in range(4)], "device": ["phone"] * 4,
    })  # fmt: skip
    land(root, "retrievals", {"session_id": ["s1", "s2"], "recall_channel": ["hot", "hot"],
                              "sku_list": [["a", "b"], ["b", "b"]]})  # fmt: skip
    land(root, "impressions", {"session_id": ["s1"], "sku": ["a"], "rank": [1], "ts": [MORNING]})
    land(root, "conversions", {"event_id": ["e1", "e2"], "uid": ids[:2], "sku": ["a", "b"], "page": ["home", "home"],
                               "behavior": ["buy", "share"], "ts": [MORNING, MORNING]})  # fmt: skip


def test_a_strangers_files_from_refused_to_published(spark, tmp_path, capsys):
    strangers_files(tmp_path)
    published, line, screens = check(tmp_path, capsys)
    assert not published
    assert not line["would_publish"]
    suggested = tomllib.loads(line["settings"])
    assert line["settings"].strip() in screens
    assert suggested["ids"] == {"user_id": "text", "item_id": "text"}
    assert suggested["logs"]["requests"] == {
        "columns": {"request_id": "session_id", "user_id": "uid", "request_time": "timestamp"},
        "units": {"request_time": "milliseconds"},
        "constants": {"scenario": "homepage"},
    }
    assert suggested["logs"]["retrievals"]["columns"] == {
        "request_id": "session_id", "channel": "recall_channel", "item_ids": "sku_list",
    }  # fmt: skip
    assert suggested["logs"]["conversions"]["values"] == {"action": {"buy": "purchase", "share": ""}}
    assert suggested["logs"]["conversions"]["columns"]["logged_time"] == "ts"
    # The rows as they would come out with these settings; e1 has a user, the first session has none.
    assert line["tables"]["requests"]["set_aside"] == {"no user": 1}
    assert line["tables"]["retrievals"]["repeated_items"] == 1
    assert "uid (string)" in screens
    assert "00000001-a35c as " in screens
    shown = [screen.splitlines() for screen in screens.split("\n\n") if screen.startswith("== ")]
    assert [len(screen) <= 24 and max(map(len, screen)) <= 80 for screen in shown] == [True] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]

    (tmp_path / "settings.toml").write_text(line["settings"])
    published, line, screens = check(tmp_path, capsys)
    assert published
    assert line["would_publish"]
    assert line["settings"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["landing", "settings.toml"]
    counted = ingest(tmp_path)["tables"]
    assert counted == line["tables"]


def test_a_date_that_would_be_refused(spark, tmp_path, capsys):
    land_empty(tmp_path, logs.retrievals, logs.impressions, logs.conversions)
    land(tmp_path, "requests", {"request_id": ["r1", ""], "user_id": [1, 2], "scenario": ["homepage"] * 2,
                                "request_time": [at("10:00")] * 2})  # fmt: skip
    published, line, screens = check(tmp_path, capsys)
    assert not published
    assert "requests: 50.0% of 2 rows refused: request_id: null or empty (1)" in line["faults"][0]
    assert "refused         1  request_id: null or empty" in screens
    published, _, _ = check(tmp_path, capsys, "--max-refused-share", "0.5")
    assert published


def test_a_folder_of_files_before_there_is_a_root(spark, tmp_path, capsys):
    strangers_files(tmp_path / "shop")
    folder = tmp_path / "shop" / "landing" / "requests"
    published, line, screens = check(tmp_path / "root", capsys, "--files", f"requests={folder}")
    assert not published
    assert any("landing/retrievals" in fault for fault in line["faults"])
    assert "== requests: 1 files, 4 rows" in screens
    assert line["tables"]["requests"]["rows_in"] == 4
    assert not (tmp_path / "root").exists()
    with pytest.raises(SystemExit) as stopped:
        landed.flags(check_landing, tmp_path, DAY, "--files", "request=x")
    assert stopped.value.code == 2
