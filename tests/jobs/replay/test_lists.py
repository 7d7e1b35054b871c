"""A log of lists that were really shown, in miniature, worked by hand: requests, exposures, clicks, channels."""

import csv
import functools
import hashlib
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs import replay_events
from jobs.command.cli import WorkFailedError
from jobs.replay.settings import ListSettings
from schemas.table import landing
from schemas.tables import logs
from tests.support.replayed import landed

FIRST, SECOND = date(2018, 11, 6), date(2018, 11, 7)
COLUMNS = ("user_id", "session_id", "timestamp", "step", "action_type", "reference", "platform", "city", "device",
           "current_filters", "impressions", "prices")  # fmt: skip

# user, session, day and time in November 2018, step, action, reference, city, list
ROWS = [
    ("A", "s1", "06 10:00:00", 1, "search for destination", 'Villa "Sole", Rome', "Rome", None),
    ("A", "s1", "06 10:00:10", 2, "interaction item image", "11", "Rome", None),
    ("A", "s1", "06 10:00:20", 3, "interaction item image", "11", "Rome", None),  # the next image of the same hotel
    ("A", "s1", "06 10:00:30", 4, "clickout item", "12", "Rome", "11|12|13"),
    ("A", "s1", "06 10:01:00", 5, "clickout item", "11", "Rome", "11|12|13"),  # still on the same list
    ("A", "s1", "06 10:02:00", 6, "interaction item info", "13", "Rome", None),
    ("A", "s1", "06 10:03:00", 7, "filter selection", "Pool", "Rome", None),
    ("A", "s1", "06 10:03:20", 8, "clickout item", "14", "Rome", "14|12"),
    ("B", "s2", "06 10:30:00", 1, "interaction item image", "15", "Rome", None),  # on no list that the log names
    ("B", "s2", "06 10:30:30", 2, "interaction item rating", "12", "Rome", None),
    ("B", "s2", "06 10:30:40", 3, "clickout item", "12", "Rome", "12|13"),
    ("B", "s3", "06 10:59:00", 1, "search for destination", "Rome, Italy", "Rome", None),
    ("B", "s3", "06 11:40:00", 2, "clickout item", "13", "Rome", "13|11"),  # 41 minutes later
    ("A", "s4", "06 23:59:50", 1, "change of sort order", "price only", "Rome", None),
    ("A", "s4", "07 00:00:05", 2, "clickout item", "11", "Rome", "11|16"),  # of a list asked for before midnight
    ("C", "s5", "07 09:00:00", 1, "clickout item", "99", "Rome", "11|12"),  # of an item that is not in the list
    ("B", "s6", "07 10:30:00", 1, "search for item", "12", "Rome", None),
    ("B", "s6", "07 10:30:05", 2, "clickout item", "12", "Rome", "12|11|17"),
    ("B", "s6", "07 10:30:30", 3, "interaction item info", "unknown", "Rome", None),
    ("D", "s7", "07 12:00:00", 1, "search for poi", "Harbour", "Oslo", None),
    ("D", "s7", "07 12:00:03", 2, "interaction item deals", "21", "Oslo", None),  # no list is ever named
    ("E", "s8", "07 13:00:00", 1, "clickout item", None, "Oslo", "21|22"),  # a click that the challenge hides
    ("E", "s8", "07 13:05:00", 2, "filter selection", "Pool", "Oslo", None),
    ("E", "s8", "07 13:05:10", 3, "clickout item", "22", "Oslo", "21|22"),  # the same list, asked for again
]
OUTSIDE = ("A", "s9", "09 00:00:00", 1, "clickout item", "11", "Rome", "11")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"2018-11-{text}").replace(tzinfo=UTC)


def named(session: str, text: str, step: int) -> str:
    return f"{session}-{int(moment(text).timestamp())}-{step}"


def user(name: str) -> int:
    return int(hashlib.sha256(f"trivago:{name}".encode()).hexdigest()[:15], 16)


def records(rows: list[tuple]) -> list[dict]:
    """The rows with the columns of the published file."""
    made = []
    for who, session, time, step, action, reference, city, shown in rows:
        seconds = int(moment(time).timestamp())
        prices = None if shown is None else "|".join("90" for _ in shown.split("|"))
        values = (who, session, seconds, step, action, reference, "IT", city, "mobile", None, shown, prices)
        made.append(dict(zip(COLUMNS, values, strict=True)))
    return made


def write_parquet(path, rows: list[tuple]) -> str:
    parquet.write_table(pa.Table.from_pylist(records(rows)), path)
    return str(path)


def land(root, events: str, *days: date) -> dict:
    for day in days:
        given = ["--root", str(root), "--date", str(day), "--events", events, "--source", "trivago"]
        counts = replay_events.main(replay_events.arg_parser().parse_args(given), day)
    return counts


@pytest.fixture(scope="module", autouse=True)
def narrow_pre_ranking():
    """It keeps two items beside the list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_events, "ListSettings", functools.partial(ListSettings, pre_ranked=2))
        yield


@pytest.fixture(scope="module")
def replayed(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    counts = land(folder, write_parquet(folder / "log.parquet", [*ROWS, OUTSIDE]), FIRST, SECOND)
    assert counts["log"] == {
        "events": 24, "outside_time_range": 1, "without_item": 2, "with_the_same_item_again": 1
    }  # fmt: skip
    return folder


def test_requests_are_of_lists_and_of_the_time_they_were_asked_for(replayed):
    told = {
        day: [(row["request_id"], row["user_id"], row["request_time"]) for row in landed(replayed, logs.requests, day)]
        for day in (FIRST, SECOND)
    }
    assert told[FIRST] == [
        (named("s1", "06 10:00:30", 4), user("A"), moment("06 10:00:00")),  # the search before it
        (named("s1", "06 10:03:20", 8), user("A"), moment("06 10:03:00")),  # the filter before it
        (named("s2", "06 10:30:40", 3), user("B"), moment("06 10:30:30")),  # an interaction with an item of it
        (named("s3", "06 11:40:00", 2), user("B"), moment("06 11:40:00")),  # what came before is too long ago
        (named("s4", "07 00:00:05", 2), user("A"), moment("06 23:59:50")),
    ]
    assert told[SECOND] == [
        (named("s5", "07 09:00:00", 1), user("C"), moment("07 09:00:00")),
        (named("s6", "07 10:30:05", 2), user("B"), moment("07 10:30:00")),
        (named("s8", "07 13:00:00", 1), user("E"), moment("07 13:00:00")),
        (named("s8", "07 13:05:10", 3), user("E"), moment("07 13:05:00")),
    ]
    assert {row["scenario"] for row in landed(replayed, logs.requests, FIRST)} == {"homepage"}


def test_impressions_are_the_lists_in_their_order(replayed):
    shown = {}
    for row in sorted(landed(replayed, logs.impressions, FIRST), key=lambda row: row["position"]):
        shown.setdefault(row["request_id"], []).append((row["position"], row["item_id"], row["impression_time"]))
    assert shown == {
        named("s1", "06 10:00:30", 4): [(n, item, moment("06 10:00:00")) for n, item in enumerate((11, 12, 13), 1)],
        named("s1", "06 10:03:20", 8): [(n, item, moment("06 10:03:00")) for n, item in enumerate((14, 12), 1)],
        named("s2", "06 10:30:40", 3): [(n, item, moment("06 10:30:30")) for n, item in enumerate((12, 13), 1)],
        named("s3", "06 11:40:00", 2): [(n, item, moment("06 11:40:00")) for n, item in enumerate((13, 11), 1)],
        named("s4", "07 00:00:05", 2): [(n, item, moment("06 23:59:50")) for n, item in enumerate((11, 16), 1)],
    }


def test_clickouts_name_the_request_whose_list_they_were_made_on(replayed):
    def told(day):
        rows = landed(replayed, logs.conversions, day)
        assert all(row["logged_time"] == row["event_time"] and row["action"] == "click" for row in rows)
        return [(row["event_id"], row["item_id"], row["scenario"], row["request_id"]) for row in rows]

    one = named("s1", "06 10:00:30", 4)
    assert told(FIRST) == [
        (named("s1", "06 10:00:10", 2), 11, "elsewhere", None),
        (one, 12, "homepage", one),
        (named("s1", "06 10:01:00", 5), 11, "homepage", one),
        (named("s1", "06 10:02:00", 6), 13, "elsewhere", None),
        (named("s1", "06 10:03:20", 8), 14, "homepage", named("s1", "06 10:03:20", 8)),
        (named("s2", "06 10:30:00", 1), 15, "elsewhere", None),
        (named("s2", "06 10:30:30", 2), 12, "elsewhere", None),
        (named("s2", "06 10:30:40", 3), 12, "homepage", named("s2", "06 10:30:40", 3)),
        (named("s3", "06 11:40:00", 2), 13, "homepage", named("s3", "06 11:40:00", 2)),
    ]
    assert told(SECOND) == [
        (named("s4", "07 00:00:05", 2), 11, "homepage", named("s4", "07 00:00:05", 2)),
        (named("s5", "07 09:00:00", 1), 99, "elsewhere", None),
        (named("s6", "07 10:30:05", 2), 12, "homepage", named("s6", "07 10:30:05", 2)),
        (named("s7", "07 12:00:03", 2), 21, "elsewhere", None),
        (named("s8", "07 13:05:10", 3), 22, "homepage", named("s8", "07 13:05:10", 3)),
    ]


def test_channels_by_hand(replayed):
    """Known at 11:00 of the 6th: what A did in s1 and B in s2, all in Rome.

    Acted on: 12 three times, 11 twice, 13, 14 and 15 once. Shown: 12 in three lists, 13 in two, 11 and 14 in one. A
    used 11, 12, 13 and 14, B used 15 and 12. To B's 12 that gives 11, 13, 14 and 15 once, to B's 15 it gives 12 once.
    """
    found = {}
    for row in landed(replayed, logs.retrievals, FIRST):
        found.setdefault(row["request_id"], {})[row["channel"]] = (row["item_ids"], row["scores"])
    assert found[named("s3", "06 11:40:00", 2)] == {
        "city_hot": ([12, 11, 13, 14, 15], [3, 2, 1, 1, 1]),
        "city_shown": ([12, 13, 11, 14], [3, 2, 1, 1]),
        "co_clicked": ([11, 12, 13, 14, 15], [1, 1, 1, 1, 1]),
        "own": ([12, 15], [1, 0.5]),
    }
    # Nothing is known at 10:00 but what the user did before: for B's first request 15, for A's second 11, 12 and 13.
    assert found[named("s2", "06 10:30:40", 3)] == {"own": ([15], [1])}
    assert found[named("s1", "06 10:03:20", 8)]["own"][0] == [13, 11, 12]
    assert set(found) == {
        named("s1", "06 10:03:20", 8), named("s2", "06 10:30:40", 3), named("s3", "06 11:40:00", 2),
        named("s4", "07 00:00:05", 2),
    }  # fmt: skip


def test_stages_by_hand(replayed):
    """The list of s3 is 13, 11. Places in the channels above: 12 is 1, 1, 2, 1; 11 is 2, 3, 1; 13 is 3, 2, 3; 14 is 4,
    4, 4; 15 is 5, 5, 2. So 12 scores 3/61 + 1/62 = .065309, 11 1/62 + 1/63 + 1/61 = .048395, 13 2/63 + 1/62 = .047875,
    14 3/64 = .046875, 15 2/65 + 1/62 = .046898; beside the list 12 and 15 are kept.
    """
    found = {}
    for row in landed(replayed, logs.stages, FIRST):
        found.setdefault(row["request_id"], {})[row["stage"]] = (row["item_ids"], row["scores"])
    stages = found[named("s3", "06 11:40:00", 2)]
    assert stages["pre_ranking"][0] == [12, 11, 13, 15]
    assert stages["pre_ranking"][1] == pytest.approx([0.065309, 0.048395, 0.047875, 0.046898], abs=1e-8)
    assert (stages["ranking"], stages["re_ranking"]) == (([13, 11, 12, 15], []), ([13, 11], []))
    # Of what no channel retrieved, only the list is there.
    assert found[named("s1", "06 10:00:30", 4)] == {
        "pre_ranking": ([11, 12, 13], [0, 0, 0]), "ranking": ([11, 12, 13], []), "re_ranking": ([11, 12, 13], [])
    }  # fmt: skip


def test_items_are_those_known_before_the_date_with_their_city(replayed):
    """16 was asked for on the 6th; that it was shown is logged on the 7th."""
    rome = user("Rome")  # cities are hashed as users are
    assert landed(replayed, logs.items, FIRST) == []
    assert [(row["item_id"], row["category_id"]) for row in landed(replayed, logs.items, SECOND)] == [
        (11, rome), (12, rome), (13, rome), (14, rome), (15, rome)
    ]  # fmt: skip


def test_nothing_of_the_hour_or_later_reaches_a_request(replayed, tmp_path):
    """Other users act in Rome within the hour of B's request of the 7th, and everything after that request changes."""
    before = [row for row in ROWS if row[2] <= "07 10:30:00"]
    later = [
        ("F", "t1", "07 10:00:00", 1, "interaction item image", "12", "Rome", None),
        ("F", "t1", "07 10:00:01", 2, "clickout item", "77", "Rome", "77|11"),
        ("B", "s6", "07 10:30:05", 2, "clickout item", "11", "Rome", "12|11|17"),
        ("B", "s6", "07 10:31:00", 3, "clickout item", "78", "Rome", "78|79"),
    ]
    land(tmp_path, write_parquet(tmp_path / "log.parquet", [*before, *later]), SECOND)
    same = {named("s5", "07 09:00:00", 1), named("s6", "07 10:30:05", 2)}
    for table in (logs.requests, logs.retrievals, logs.stages, logs.impressions):
        ours, theirs = (
            [row for row in landed(root, table, SECOND) if row["request_id"] in same] for root in (replayed, tmp_path)
        )
        assert ours == theirs
        assert {row["request_id"] for row in ours} == same
    assert landed(tmp_path, logs.items, SECOND) == landed(replayed, logs.items, SECOND)


def test_the_manifest_says_what_is_simulated(replayed):
    said = json.loads((replayed / landing(logs.requests, FIRST) / "_manifest.json").read_text())
    assert said["settings"]["simulated"] == ["retrievals", "stages"]


def test_faults_of_the_input_are_said_in_one_line(spark, tmp_path):
    good = ("A", "s1", "06 10:00:00", 1, "clickout item", "11", "Rome", "11|12")
    bad = [
        (*good[:4], "clickout", *good[5:]),  # no such action
        (*good[:-1], None),  # a clickout without its list
        (*good[:-1], "11|x"),
        (*good[:-1], ""),
        (None, *good[1:]),
        (*good[:1], None, *good[2:]),
    ]
    with pytest.raises(WorkFailedError, match="6 of 7 rows do not read as trivago's rows of user, session"):
        land(tmp_path, write_parquet(tmp_path / "log.parquet", [good, *bad]), FIRST)
    events = write_parquet(tmp_path / "good.parquet", [good])
    given = ["--root", str(tmp_path), "--date", str(FIRST), "--events", events, "--source", "trivago"]
    arguments = replay_events.arg_parser().parse_args([*given, "--request-density", "day"])
    with pytest.raises(WorkFailedError, match="trivago's requests are its own"):
        replay_events.main(arguments, FIRST)


def test_same_file_same_rows_from_csv_in_another_order(replayed, tmp_path):
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(records([OUTSIDE, *ROWS[::-1]]))
    land(tmp_path, str(tmp_path / "train.csv"), SECOND)
    for table in replay_events.WRITTEN:
        assert landed(tmp_path, table, SECOND) == landed(replayed, table, SECOND)
    assert land(tmp_path, str(tmp_path / "train.csv"), SECOND) == {"rows_written": 0, "already_landed": 1}
