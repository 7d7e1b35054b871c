"""Each source by rows of every kind, written by hand, and a replay of a log of months with a date without events."""

import gzip
from datetime import date, datetime

import pytest
from pyspark.sql import functions as F

from jobs import replay_events
from jobs.command.cli import WorkFailedError
from jobs.replay.events.log import open_log
from jobs.replay.settings import Settings
from jobs.replay.sources import SOURCES, inside, read, unreadable
from schemas.tables import logs
from tests.support.replayed import landed

# From first to end, in seconds since 1970.
TAOBAO = (1_511_539_200, 1_512_316_800)  # 2017-11-25 00:00 to 2017-12-04 00:00 in Beijing
RETAILROCKET = (1_430_622_000, 1_442_545_200)  # 2015-05-03 03:00 to 2015-09-18 03:00 UTC
MOVIELENS = (874_645_200, 893_307_600)  # 1997-09-19 00:00 to 1998-04-23 00:00 in Minnesota, 5 hours behind UTC

MULTI_BEHAVIOR = "user_id,item_id,behavior,ts\n"
PUBLISHED = "timestamp,visitorid,event,itemid,transactionid\n"
TYPED = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def events(spark, path, name: str, text: str) -> list[tuple]:
    """(user, item, category, action, seconds) of each row; "outside", or a line that does not read, in its place."""
    path.write_text(text)
    found = read(spark, str(path), name).withColumns(
        {"bad": unreadable(), "inside": inside(SOURCES[name]), "seconds": F.unix_seconds("event_time")}
    )
    return [told(row.asDict()) for row in found.collect()]


def told(row: dict) -> tuple | str:
    if row["bad"]:
        return row["line"]
    if not row["inside"]:
        return "outside"
    return row["user_id"], row["item_id"], row["category_id"], row["action"], row["seconds"]


def test_taobao_by_hand(spark, tmp_path):
    first, end = TAOBAO
    lines = f"1,10,100,pv,{first}\n2,11,101,buy,{end - 1}\n1,10,100,pv,{first - 1}\n1,10,100,pv,{end}\n1,10,100,pv,-5\n"
    lines += f"1,10,100,view,{first}\n1,10,x,pv,{first}\n1,10,pv,{first}\n1,10,100,pv,9000000000000000000\n"
    assert events(spark, tmp_path / "UserBehavior.csv", "taobao", lines) == [
        (1, 10, 100, "click", first),
        (2, 11, 101, "purchase", end - 1),
        "outside",
        "outside",
        "outside",  # the published log has such times
        f"1,10,100,view,{first}",
        f"1,10,x,pv,{first}",
        f"1,10,pv,{first}",
        "1,10,100,pv,9000000000000000000",  # of no calendar
    ]


def test_taobao_subset_by_hand(spark, tmp_path):
    first, end = TAOBAO
    lines = f"0,0,pv_of_bought_pair,{first}\n1,10,fav,{first}\n1,10,cart,{first}\n1,10,buy,{end - 1}\n1,10,buy,{end}\n"
    lines += f"1,10,pv,{first}\n,10,buy,{first}\n1,,buy,{first}\n1,10,buy,\n1,10,buy\n1,10,buy,{first},5\n"
    assert events(spark, tmp_path / "events.csv", "taobao_subset", MULTI_BEHAVIOR + lines) == [
        (0, 0, None, "click", first),
        (1, 10, None, "favorite", first),
        (1, 10, None, "cart", first),
        (1, 10, None, "purchase", end - 1),
        "outside",
        f"1,10,pv,{first}",
        f"10,buy,{first}",
        f"1,buy,{first}",
        "1,10,buy",
        "1,10,buy",
        f"1,10,buy,{first},5",
    ]


def test_retailrocket_of_a_benchmark_by_hand(spark, tmp_path):
    first, end = RETAILROCKET
    lines = f"1,10,view,{first}\n1,10,cart,{first}\n1,10,buy,{end - 1}\n1,10,view,{first - 1}\n1,10,view,{end}\n"
    lines += f"1,10,fav,{first}\na,10,view,{first}\n1,10,view,{first}.5\n"
    assert events(spark, tmp_path / "events.csv", "retailrocket", MULTI_BEHAVIOR + lines) == [
        (1, 10, None, "click", first),
        (1, 10, None, "cart", first),
        (1, 10, None, "purchase", end - 1),
        "outside",
        "outside",
        f"1,10,fav,{first}",
        f"a,10,view,{first}",
        f"1,10,view,{first}.5",
    ]


def test_retailrocket_as_published_by_hand(spark, tmp_path):
    first, end = RETAILROCKET
    lines = f"{first}000,1,view,10,\n{first}999,1,addtocart,10,\n{end - 1}999,1,transaction,10,4000\n"
    lines += f"{first - 1}999,1,view,10,\n{end}000,1,view,10,\n"
    lines += f"{first}000,1,buy,10,\n{first}000,,view,10,\n{first}000,1,view,\n{first}000,1,view,ten,\n"
    assert events(spark, tmp_path / "events.csv", "retailrocket", PUBLISHED + lines) == [
        (1, 10, None, "click", first),
        (1, 10, None, "cart", first),
        (1, 10, None, "purchase", end - 1),
        "outside",
        "outside",
        f"{first}000,1,buy,10",
        f"{first}000,view,10",
        f"{first}000,1,view,",
        f"{first}000,1,view,ten,",
    ]


def test_milliseconds_of_one_second_make_two_events(spark, tmp_path):
    """Their ids end with the second and the copy."""
    (tmp_path / "events.csv").write_text(f"{PUBLISHED}1431000000001,1,view,10,\n1431000000002,1,view,10,\n")
    log = open_log(spark, str(tmp_path / "events.csv"), "two events", Settings("retailrocket"))
    assert sorted(row["event_id"] for row in log.events.collect()) == [
        "1-10-click-1431000000-1", "1-10-click-1431000000-2"
    ]  # fmt: skip


@pytest.mark.parametrize(("file", "header"), [("u.data", ""), ("ml-100k.inter", TYPED)])
def test_movielens_by_hand(spark, tmp_path, file, header):
    first, end = MOVIELENS
    lines = [f"1\t10\t5\t{first}", f"1\t11\t4\t{first}", f"1\t12\t3\t{first}", f"1\t13\t1\t{end - 1}"]
    lines += [f"1\t10\t5\t{first - 1}", f"1\t10\t5\t{end}", f"1\t10\t6\t{first}", f"1\t10\t0\t{first}"]
    lines += [f"1\t10\tNaN\t{first}", f"1\t10\tgood\t{first}", f"x\t10\t5\t{first}", f"1,10,5,{first}"]
    assert events(spark, tmp_path / file, "movielens", header + "\n".join(lines)) == [
        (1, 10, None, "favorite", first),
        (1, 11, None, "favorite", first),
        (1, 12, None, "click", first),
        (1, 13, None, "click", end - 1),
        "outside",
        "outside",
        f"1\t10\t6.0\t{first}",
        f"1\t10\t0.0\t{first}",
        f"1\t10\tNaN\t{first}",
        f"1\t10\tgood\t{first}",
        f"x\t10\t5\t{first}",
        f"1,10,5,{first}",
    ]


def test_a_file_of_another_form_is_said_in_one_line(spark, tmp_path):
    def fault(name: str, file: str, text: bytes) -> str:
        (tmp_path / file).write_bytes(text)
        with pytest.raises(WorkFailedError) as caught:
            read(spark, str(tmp_path / file), name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    row = b"1,10,buy,1511539200\n"
    said = fault("taobao_subset", "a.csv", row)
    assert "a.csv begins with the line '1,10,buy,1511539200', should be 'user_id,item_id,behavior,ts'" in said
    said = fault("retailrocket", "b.csv", b"user_id,item_id,category_id,behavior,ts\n")
    assert f"should be {PUBLISHED.strip()!r} or {MULTI_BEHAVIOR.strip()!r}" in said
    assert "begins with the line ''" in fault("retailrocket", "c.csv", b"")
    assert "begins with the line '1\\t10\\t5\\t9'" in fault("movielens", "d.inter", b"1\t10\t5\t9\n")
    assert "movielens's log should end in .inter or .data" in fault("movielens", "ratings.csv", row)
    assert "retailrocket's log should end in .csv or .csv.gz" in fault("retailrocket", "e.parquet", row)
    assert "taobao's log should end in .csv, .csv.gz or .parquet" in fault("taobao", "f.inter", row)
    assert "g.csv.gz is no readable text file; retailrocket has rows of" in fault(
        "retailrocket", "g.csv.gz", b"no gzip"
    )


# user, item, behavior, day of 2015 and time. Requests from 7 May on: the log begins on 3 May.
EVENTS = [
    (1, 10, "buy", "05-03 10:00:00"),
    (2, 10, "view", "05-04 10:00:00"),
    (2, 11, "cart", "05-05 10:00:00"),
    (3, 12, "view", "05-06 10:00:00"),
    (1, 11, "view", "05-08 10:00:00"),  # nothing happens on 7 May
    (1, 13, "buy", "09-01 10:00:00"),  # an item nobody had used
    (4, 10, "cart", "09-01 12:00:00"),  # a new visitor
    (4, 10, "buy", "09-17 23:59:59"),  # later than the dates replayed
]


def test_a_log_of_months(spark, tmp_path):
    """On 1 September item 10 was used twice, as 11 was, and 12 once; four months pass without a replayed date."""
    text = MULTI_BEHAVIOR
    for user, item, behavior, time in EVENTS:
        text += f"{user},{item},{behavior},{datetime.fromisoformat(f'2015-{time}+00:00').timestamp():.0f}\n"
    (tmp_path / "events.csv.gz").write_bytes(gzip.compress(text.encode()))
    for day in ("2015-05-07", "2015-09-01"):
        given = ["--root", str(tmp_path), "--date", day, "--events", str(tmp_path / "events.csv.gz")]
        given += ["--source", "retailrocket", "--channel-size", "4"]
        counts = replay_events.main(replay_events.arg_parser().parse_args(given), date.fromisoformat(day))
        assert counts["log"] == {"events": 8, "outside_time_range": 0}

    for table in (logs.requests, logs.retrievals, logs.stages, logs.impressions, logs.conversions):
        assert landed(tmp_path, table, date(2015, 5, 7)) == []
    assert [row["item_id"] for row in landed(tmp_path, logs.items, date(2015, 5, 7))] == [10, 11, 12]
    day = date(2015, 9, 1)
    hot = {
        row["request_id"]: (row["item_ids"], row["scores"])
        for row in landed(tmp_path, logs.retrievals, day)
        if row["channel"] == "hot"
    }
    both = ([10, 11, 12], [2.0, 2.0, 1.0])
    assert hot == {"1-20150901095959": both, "4-20150901115959": both}
    assert {(row["item_id"], row["category_id"]) for row in landed(tmp_path, logs.items, day)} == {
        (10, None), (11, None), (12, None)
    }  # fmt: skip
    assert [(row["user_id"], row["item_id"], row["action"], row["request_id"])
            for row in landed(tmp_path, logs.conversions, day)] == [
        (1, 13, "purchase", None), (4, 10, "cart", "4-20150901115959")
    ]  # fmt: skip
