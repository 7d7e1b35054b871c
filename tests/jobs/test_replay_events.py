"""A log of 16 events, worked by hand: requests, channels, names, and that nothing looks ahead."""

import functools
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from pyspark.sql import functions as F

from jobs import replay_events
from jobs.command.cli import WorkFailedError
from jobs.replay.events import cascade
from jobs.replay.events.answers import answer, by_user
from jobs.replay.events.ranker import Ranker
from jobs.replay.events.sessions import with_requests
from jobs.replay.settings import DAY, Settings
from schemas.storage.root import Root
from schemas.table import MissingDataError
from schemas.tables import logs
from tests.support.replayed import landed

# user, item, category, behavior, day and time in November 2017. All items known before a date fit into what is
# exposed, so every item seen before is exposed to everyone.
EVENTS = [
    (1, 10, 100, "buy", "24 17:00:00"),
    (1, 11, 100, "pv", "24 17:10:00"),
    (2, 10, 100, "cart", "24 18:00:00"),
    (2, 11, 100, "fav", "24 18:05:00"),
    (2, 12, 101, "buy", "24 18:06:00"),
    (3, 12, 101, "pv", "24 19:00:00"),
    (3, 10, 100, "buy", "24 19:30:00"),
    (1, 12, 101, "pv", "25 09:00:00"),
    (1, 99, 109, "buy", "25 09:30:00"),  # 30:00 later: the same session; an item nobody had used
    (1, 10, 100, "cart", "25 10:00:01"),  # 30:01 later: another session
    (4, 11, 100, "fav", "25 12:00:00"),  # a new user
    (2, 10, 100, "pv", "25 23:59:30"),
    (3, 10, 100, "pv", "26 00:00:00"),  # its request is one second earlier, of the 25th
    (3, 10, 100, "pv", "26 00:00:00"),  # the log has it twice
    (2, 11, 100, "buy", "26 00:10:00"),  # the session goes on past midnight
    (1, 97, 108, "pv", "26 08:00:00"),
    (1, 10, 100, "buy", "26 08:10:00"),
]
OUTSIDE = (5, 10, 100, "pv", "1 00:00:00")
FIRST, SECOND, THIRD = date(2017, 11, 24), date(2017, 11, 25), date(2017, 11, 26)


def moment(text: str) -> datetime:
    day, time = text.split()
    return datetime.fromisoformat(f"2017-11-{int(day):02} {time}").replace(tzinfo=UTC)


def events_table(rows: list[tuple]) -> pa.Table:
    names = ("user_id", "item_id", "category_id", "behavior", "timestamp")
    values = [(*row[:4], int(moment(row[4]).timestamp())) for row in rows]
    return pa.table(dict(zip(names, map(list, zip(*values, strict=True)), strict=True)))


def write_csv(path, rows: list[tuple]) -> str:
    csv.write_csv(events_table(rows), path, csv.WriteOptions(include_header=False, quoting_style="none"))
    return str(path)


def arguments(root, events, day=SECOND, *more: str):
    given = ["--root", str(root), "--date", str(day), "--events", str(events), "--source", "taobao"]
    return replay_events.arg_parser().parse_args([*given, "--channel-size", "4", *more])


@pytest.fixture(scope="module", autouse=True)
def short_warm_up():
    """Logs of three dates: requests from the second on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_events, "Settings", functools.partial(Settings, warm_up_days=1))
        yield


@pytest.fixture(scope="module")
def replayed(spark, tmp_path_factory):
    """The root, and the log's file, after three dates in a row from a CSV."""
    folder = tmp_path_factory.mktemp("replay")
    events = write_csv(folder / "UserBehavior.csv", [*EVENTS, OUTSIDE])
    for day in (FIRST, SECOND, THIRD):
        counts = replay_events.main(arguments(folder / "root", events, day), day)
    assert counts["log"] == {"events": 17, "outside_time_range": 1}
    return folder / "root", events


def test_a_request_one_second_before_each_session(replayed):
    root, _ = replayed
    assert landed(root, logs.requests, FIRST) == []
    assert [(r["request_id"], r["request_time"]) for r in landed(root, logs.requests, SECOND)] == [
        ("1-20171125085959", moment("25 08:59:59")),
        ("1-20171125100000", moment("25 10:00:00")),
        ("2-20171125235929", moment("25 23:59:29")),
        ("3-20171125235959", moment("25 23:59:59")),
        ("4-20171125115959", moment("25 11:59:59")),
    ]
    assert [(r["request_id"], r["user_id"], r["scenario"]) for r in landed(root, logs.requests, THIRD)] == [
        ("1-20171126075959", 1, "homepage")
    ]


def test_channels_by_hand(replayed):
    """On the 25th: uses 10: 3, 11: 2, 12: 2. Users of 10: 1, 2, 3; of 11: 1, 2; of 12: 2, 3.

    Cosines: 10-11 and 10-12 are 2 / sqrt(3 x 2) = .816497, 11-12 is 1 / sqrt(2 x 2) = .5. User 3 used 10 last and
    12 before: 11 scores .816497 + .5 / sqrt 2 = 1.170050, 12 .816497, 10 .816497 / sqrt 2 = .577350.
    """
    root, _ = replayed
    lists = {(r["request_id"], r["channel"]): r for r in landed(root, logs.retrievals, SECOND)}
    assert [channel for request, channel in lists if request == "4-20171125115959"] == ["hot"]
    hot, near = lists["4-20171125115959", "hot"], lists["3-20171125235959", "item_cf"]
    assert (hot["item_ids"], hot["scores"]) == ([10, 11, 12], [3.0, 2.0, 2.0])
    assert near["item_ids"] == [11, 12, 10]
    assert near["scores"] == pytest.approx([1.170050, 0.816497, 0.577350], abs=2e-6)
    assert lists["3-20171125235959", "own"]["item_ids"] == [10]
    assert lists["1-20171125085959", "own"]["item_ids"] == [11]
    assert sorted(lists["1-20171125085959", "als"]["item_ids"]) == [10, 11, 12]
    assert landed(root, logs.retrievals, FIRST) == []


def test_every_event_is_a_conversion_and_names_the_request_that_exposed_it(replayed):
    root, _ = replayed
    told = {
        day: [(r["event_id"], r["scenario"], r["request_id"]) for r in landed(root, logs.conversions, day)]
        for day in (FIRST, SECOND, THIRD)
    }
    assert len(told[FIRST]) == 7
    assert {row[1:] for row in told[FIRST]} == {("elsewhere", None)}

    def event(user, item, action, time, copy=1):
        return f"{user}-{item}-{action}-{int(moment(time).timestamp())}-{copy}"

    assert told[SECOND] == [
        (event(1, 10, "cart", "25 10:00:01"), "homepage", "1-20171125100000"),
        (event(1, 12, "click", "25 09:00:00"), "homepage", "1-20171125085959"),
        (event(1, 99, "purchase", "25 09:30:00"), "elsewhere", None),
        (event(2, 10, "click", "25 23:59:30"), "homepage", "2-20171125235929"),
        (event(4, 11, "favorite", "25 12:00:00"), "homepage", "4-20171125115959"),
    ]
    assert told[THIRD] == [
        (event(1, 10, "purchase", "26 08:10:00"), "homepage", "1-20171126075959"),
        (event(1, 97, "click", "26 08:00:00"), "elsewhere", None),
        (event(2, 11, "purchase", "26 00:10:00"), "homepage", "2-20171125235929"),
        (event(3, 10, "click", "26 00:00:00"), "homepage", "3-20171125235959"),
        (event(3, 10, "click", "26 00:00:00", copy=2), "homepage", "3-20171125235959"),
    ]
    rows = landed(root, logs.conversions, THIRD)
    assert all(row["logged_time"] == row["event_time"] for row in rows)
    assert [(r["item_id"], r["category_id"]) for r in landed(root, logs.items, SECOND)] == [
        (10, 100), (11, 100), (12, 101)
    ]  # fmt: skip


def test_the_landed_funnel_nests(replayed):
    root, _ = replayed
    retrieved, stage = {}, {}
    for row in landed(root, logs.retrievals, SECOND):
        retrieved.setdefault(row["request_id"], set()).update(row["item_ids"])
    for row in landed(root, logs.stages, SECOND):
        assert len(row["scores"]) == len(row["item_ids"]) == len(set(row["item_ids"]))
        stage[row["request_id"], row["stage"]] = row["item_ids"]
    for request, items in retrieved.items():
        assert set(stage[request, "pre_ranking"]) <= items
        assert set(stage[request, "ranking"]) == set(stage[request, "pre_ranking"])
        assert set(stage[request, "re_ranking"]) <= set(stage[request, "ranking"])
        shown = [r for r in landed(root, logs.impressions, SECOND) if r["request_id"] == request]
        by_position = [r["item_id"] for r in sorted(shown, key=lambda r: r["position"])]
        assert by_position == stage[request, "re_ranking"]
        assert sorted(r["position"] for r in shown) == list(range(1, len(shown) + 1))


def test_a_second_run_leaves_what_is_there(replayed):
    root, events = replayed
    assert replay_events.main(arguments(root, events), SECOND) == {"rows_written": 0, "already_landed": 1}
    place = Root.of(str(root))
    other = replay_events.Settings("taobao", channel_size=5)
    made_from = {"events": replay_events.fingerprint(events)}
    assert replay_events.is_landed(
        place, logs.items, SECOND, made_from, replay_events.Settings("taobao", channel_size=4)
    )
    assert not replay_events.is_landed(place, logs.items, SECOND, made_from, other)
    assert not replay_events.is_landed(place, logs.items, SECOND, {"events": "another"}, other)


def test_one_date_alone_from_parquet_lands_the_same(replayed, tmp_path):
    """The 26th's conversions name requests of the 25th, which is not landed here."""
    root, _ = replayed
    parquet.write_table(events_table([*EVENTS[::-1], OUTSIDE]), tmp_path / "events.parquet")
    replay_events.main(arguments(tmp_path, tmp_path / "events.parquet", THIRD), THIRD)
    for table in replay_events.WRITTEN:
        assert landed(tmp_path, table, THIRD) == landed(root, table, THIRD)


def test_nothing_of_the_date_or_later_reaches_its_funnel(replayed, tmp_path):
    root, _ = replayed
    changed = [(*row[:1], 55, 107, *row[3:]) if row[4] >= "26" else row for row in EVENTS]
    changed += [(user, 55, 107, "buy", "28 10:00:00") for user in range(1, 5)]
    events = write_csv(tmp_path / "events.csv", changed)
    replay_events.main(arguments(tmp_path, events, THIRD), THIRD)
    for table in (logs.requests, logs.retrievals, logs.stages, logs.impressions, logs.items):
        assert landed(tmp_path, table, THIRD) == landed(root, table, THIRD)
    assert all(row["scenario"] == "elsewhere" for row in landed(tmp_path, logs.conversions, THIRD))


def test_one_request_a_day_and_how_long_it_is_followed(spark):
    """Of the 25th's sessions at 09:00 and 12:00 only the first makes a request; followed for 2 hours, 12:00 is late."""
    times = ["25 09:00:00", "25 12:00:00", "26 23:59:59", "28 00:00:00"]
    rows = [(1, 10, None, "click", int(moment(time).timestamp())) for time in times]
    frame = spark.createDataFrame(rows, "user_id long, item_id long, category_id long, action string, seconds long")
    frame = frame.withColumn("event_time", F.timestamp_seconds("seconds"))
    found = with_requests(frame, Settings("taobao", request_density=DAY, naming_hours=2)).orderBy("event_time")
    followed = F.date_format("latest_request_time", "dd HH:mm:ss").alias("followed")
    assert [tuple(row) for row in found.select(F.to_date("request_time").cast("string"), followed).collect()] == [
        ("2017-11-25", "25 08:59:59"),
        (None, None),
        ("2017-11-26", "26 23:59:58"),
        ("2017-11-27", "27 23:59:59"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_spreading_takes_turns(seed):
    """Against a plain loop: the best two of each channel first, then the next two, by score inside a turn."""
    random = np.random.default_rng(seed)
    count = 60
    row = np.sort(random.integers(0, 3, count))
    kept = cascade.Candidates(
        row, random.permutation(count), random.integers(0, 4, count), np.zeros(count), np.zeros((count, 0))
    )
    score = random.integers(0, 5, count) / 10
    found = cascade.spread(kept, score, Settings("taobao", spread=2, exposed=7))
    for one in range(3):
        best = sorted((-score[i], kept.item[i], i) for i in range(count) if row[i] == one)
        taken, turns = {}, []
        for *key, i in best:
            taken[kept.channel[i]] = taken.get(kept.channel[i], 0) + 1
            turns.append(((taken[kept.channel[i]] - 1) // 2, *key, i))
        assert [i for i in found if row[i] == one] == [turn[-1] for turn in sorted(turns)[:7]]


def test_pre_ranking_by_hand():
    """Most used item 7 uses: popularity is log(1 + uses) / log 8. Channel size 4.

    Item 1 (7 uses) is hot's first and CF's second: 1 + .5 x 1. Item 2 (1 use) is CF's first: 1/3 + .5. Item 3 (3
    uses) is hot's second: 2/3 + .5 x .75. The user's history is items of category 5 and 6; item 3 is of 5.
    """

    def found(items, scores, uses, categories):
        none = np.zeros(len(items), np.int64)
        return cascade.Found(none, *(np.array(values) for values in (items, scores, uses, categories)))

    empty = cascade.Found(*(np.zeros(0, np.int64) for _ in range(5)))
    lists = {
        "hot": found([1, 3], [7.0, 3.0], [7, 3], [-1, 5]),
        "item_cf": found([2, 1], [0.9, 0.4], [1, 7], [-1, -1]),
        "als": empty,
        "own": empty,
    }
    own = [[{"item_id": 8, "category_id": 5, "uses": 1}, {"item_id": 9, "category_id": 6, "uses": 1}]]
    batch = pa.RecordBatch.from_pydict({"own": pa.array(own)})
    catalogue = cascade.Catalogue(empty, empty, np.zeros((0, 2)), most_uses=7)
    settings = Settings("taobao", channel_size=4, pre_ranked=2)
    kept = cascade.pre_rank(cascade.merge(lists, batch, catalogue, settings), settings)
    assert kept.item.tolist() == [1, 3]
    assert kept.pre_score.tolist() == [1.5, 1.041667]
    assert [cascade.CHANNELS[channel] for channel in kept.channel] == ["hot", "hot"]
    np.testing.assert_allclose(kept.features, [[0.4, 0, 0, 1, 0.5, 0], [0, 0, 0, 2 / 3, 0.25, 0.5]])


@pytest.mark.parametrize(("dropped", "asked"), [(7, 3), (4, 4), (2, 5), (0, 3)])
def test_every_dropped_candidate_is_in_the_shadow_equally_often(dropped, asked):
    """Of 84 rows with chances 0, 1/84, ...; each row keeps its first two."""
    rows, width = 84, 2 + dropped
    row, item = np.repeat(np.arange(rows), width), np.tile(np.arange(width), rows)
    candidates = cascade.Candidates(row, item, 0 * row, -item, np.zeros((len(row), 0)))
    settings = Settings("taobao", pre_ranked=2, shadow_ranked=asked)
    found = cascade.shadow(candidates, np.arange(rows) / rows, settings)
    size = min(dropped, asked)
    assert np.bincount(found.row, minlength=rows).tolist() == [size] * rows
    times = np.bincount(found.item, minlength=width)
    assert times[:2].tolist() == [0, 0]
    assert times[2:] == pytest.approx(np.full(dropped, rows * size / max(dropped, 1)), abs=1)


def test_shadow_scores_by_hand_change_nothing_else():
    """Two users, one with two requests, and hot items 1 to 5, of which pre-ranking keeps the first. A shadow of two of
    the other four, each half a point wide: from .25 on, 2 and 4; from .75 on, 3 and 5. The ranker's only weight is -10
    of popularity, which is log(1 + uses) / log 32 = .8, .6, .4, .2."""
    uses = np.array([31, 15, 7, 3, 1])
    none = np.zeros(0, np.int64)
    hot = cascade.Found(np.zeros(5, np.int64), np.arange(1, 6), uses.astype(float), uses, np.full(5, -1))
    catalogue = cascade.Catalogue(hot, cascade.Found(*[none] * 5), np.zeros((0, 2)), most_uses=31)
    known = [(name, pa.int64()) for name in ("item_id", "uses", "category_id")]
    own, near = pa.list_(pa.struct(known)), pa.list_(pa.struct([*known, ("part", pa.float64())]))
    asked = [[("u1-a", moment("25 09:00:00")), ("u1-b", moment("25 10:00:00"))], [("u2-a", moment("25 09:00:00"))]]
    requests = pa.list_(pa.struct([("request_id", pa.string()), ("request_time", pa.timestamp("us", "UTC"))]))
    batch = pa.RecordBatch.from_pydict(
        {
            "own": pa.array([None, None], own),
            "near": pa.array([None, None], near),
            "factors": pa.array([None, None], pa.list_(pa.float32())),
            "requests": pa.array(
                [[dict(zip(("request_id", "request_time"), one, strict=True)) for one in user] for user in asked],
                requests,
            ),
            "chance": pa.array([0.25, 0.75]),
        }
    )
    ranker = Ranker((0.0, 0.0, 0.0, -10.0, 0.0, 0.0))
    settings = Settings("taobao", channel_size=5, pre_ranked=1)
    plain = answer(batch, catalogue, ranker, settings)
    shadowed = answer(batch, catalogue, ranker, replace(settings, shadow_ranked=2))
    rows = shadowed[logs.stages].to_pylist()
    assert [row for row in rows if row["stage"] != "shadow_ranking"] == plain[logs.stages].to_pylist()
    assert {row["stage"] for row in plain[logs.stages].to_pylist()} == {"pre_ranking", "ranking", "re_ranking"}
    for table in (logs.retrievals, logs.impressions):
        assert shadowed[table] == plain[table]
    found = {row["request_id"]: row for row in rows if row["stage"] == "shadow_ranking"}
    assert {name: row["item_ids"] for name, row in found.items()} == {"u1-a": [4, 2], "u1-b": [4, 2], "u2-a": [5, 3]}
    assert found["u1-a"]["scores"] == pytest.approx([1 / (1 + np.exp(4)), 1 / (1 + np.exp(8))], rel=1e-5)
    assert found["u2-a"]["scores"] == pytest.approx([1 / (1 + np.exp(2)), 1 / (1 + np.exp(6))], rel=1e-5)


def test_the_shadow_of_a_user_is_another_one_each_date(spark):
    def chances(time: str) -> dict[int, float]:
        rows = [(f"{user}-{n}", user, moment(time)) for user in range(200) for n in range(2)]
        asked = spark.createDataFrame(rows, "request_id string, user_id bigint, request_time timestamp")
        return {row["user_id"]: row["chance"] for row in by_user(asked, Settings("taobao")).collect()}

    first, again, other = chances("25 09:00:00"), chances("25 21:00:00"), chances("26 09:00:00")
    assert first == again
    assert sum(first[user] == other[user] for user in first) < 5
    assert 0 <= min(first.values()) < 0.1 < 0.9 < max(first.values()) < 1


def test_faults_of_the_input_are_said_in_one_line(spark, tmp_path):
    def fault(path, kind, day=SECOND):
        with pytest.raises(kind) as caught:
            replay_events.main(arguments(tmp_path, path, day), day)
        return str(caught.value)

    assert f"there is no file {tmp_path}/absent.csv" in fault(tmp_path / "absent.csv", MissingDataError)
    short = events_table(EVENTS).drop_columns(["behavior"])
    csv.write_csv(short, tmp_path / "short.csv", csv.WriteOptions(include_header=False))
    assert "17 of 17 rows do not read as taobao's rows of user, item, category" in fault(
        tmp_path / "short.csv", WorkFailedError
    )
    header = "user_id,item_id,category_id,behavior,timestamp"
    write_csv(tmp_path / "header.csv", EVENTS)
    (tmp_path / "header.csv").write_text(f"{header}\n{(tmp_path / 'header.csv').read_text()}")
    assert "1 of 18 rows do not read" in (said := fault(tmp_path / "header.csv", WorkFailedError))
    assert repr(header) in said
    parquet.write_table(short.set_column(0, "user_id", pa.array(["a"] * 17)), tmp_path / "other.parquet")
    said = fault(tmp_path / "other.parquet", WorkFailedError)
    assert "user_id: is string, should be a whole number; behavior: missing" in said
    (tmp_path / "broken.parquet").write_bytes(b"nothing of the kind")
    assert "is no readable Parquet file" in fault(tmp_path / "broken.parquet", WorkFailedError)
    write_csv(tmp_path / "late.csv", [OUTSIDE])
    assert "no event from 2017-11-24" in fault(tmp_path / "late.csv", WorkFailedError)
    (tmp_path / "UserBehavior.csv.zip").write_bytes(b"PK")
    assert "unpack an archive first" in fault(tmp_path / "UserBehavior.csv.zip", WorkFailedError)
    write_csv(tmp_path / "good.csv", EVENTS)
    assert "has no events on 2017-12-24; it has 2017-11-24 to 2017-11-26" in fault(
        tmp_path / "good.csv", WorkFailedError, date(2017, 12, 24)
    )
    assert not (tmp_path / "landing").exists()


def test_an_unknown_source_is_a_bad_argument(capsys):
    with pytest.raises(SystemExit) as stopped:
        replay_events.arg_parser().parse_args(
            ["--root", "r", "--date", "2017-11-25", "--events", "e.csv", "--source", "amazon"]
        )
    assert stopped.value.code == 2
    assert "invalid choice: 'amazon'" in capsys.readouterr().err
