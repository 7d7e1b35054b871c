"""A date held against the 28 days before it: what is compared, what stops it, how a real change is let through."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from time import sleep

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs.command.cli import WorkFailedError
from jobs.quality import drift_bounds, labels
from jobs.quality.drift_bounds import Before
from schemas.storage import arrow
from schemas.tables import logs
from schemas.tables.reports import quality
from tests.support import tiny_root
from tests.support.ingested import DAY, ingest

ROWS, HOT = ("requests", "rows_kept"), ("retrievals", "coverage: hot")
NULLS, BARE = ("conversions", "null share: request_id"), ("requests", "share without retrievals")
CONVERSIONS, ASIDE = ("conversions", "rows_kept"), ("requests", "set_aside")
USUAL = {ROWS: 1000.0, HOT: 0.9, BARE: 0.25, CONVERSIONS: 400.0, NULLS: 0.5, ASIDE: 0.2}


def failed(days: list[dict], today: dict, every: int = 7) -> list[str]:
    """What fails on a date whose earlier days, newest first, lie `every` days apart: a week, if not said."""
    before = Before(DAY, {DAY - timedelta(every * (n + 1)): measures for n, measures in enumerate(days)})
    return [str(bound) for bound in before.bounds(today) if not bound.passed]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({ROWS: 500.0}, None),
        ({ROWS: 499.0}, "requests: rows_kept is 499, usually 1000, at least 500 would pass"),
        ({ROWS: 2000.0}, None),
        ({ROWS: 2001.0}, "requests: rows_kept is 2001, usually 1000, at most 2000 would pass"),
        ({HOT: 0.71}, None),
        ({HOT: 1.0}, None),
        ({HOT: 0.69}, "retrievals: coverage: hot is 69.0%, usually 90.0%, at least 70.0% would pass"),
        ({HOT: None}, "retrievals: coverage: hot is 0.0%, usually 90.0%, at least 70.0% would pass"),
        ({BARE: 0.44}, None),
        ({BARE: 0.46}, "requests: share without retrievals is 46.0%, usually 25.0%, at most 45.0% would pass"),
        ({NULLS: 0.0}, None),
        ({NULLS: 0.71}, "conversions: null share: request_id is 71.0%, usually 50.0%, at most 70.0% would pass"),
        ({ASIDE: 0.39}, None),
        ({ASIDE: 0.41}, "requests: set_aside is 41.0%, usually 20.0%, at most 40.0% would pass"),
        # An attribute that is not there at all is null everywhere.
        ({NULLS: None}, "conversions: null share: request_id is 100.0%, usually 50.0%, at most 70.0% would pass"),
        # A table that is not there has no rows; of its columns nothing can be said.
        ({CONVERSIONS: None, NULLS: None}, "conversions: rows_kept is 0, usually 400, at least 200 would pass"),
    ],
)
def test_how_far_a_measure_may_be_from_its_median(changed, said):
    # Medians of 3 days: the outliers among them do not count.
    days = [USUAL, {**USUAL, ROWS: 5000.0, HOT: 0.1}, USUAL]
    today = {key: value for key, value in (USUAL | changed).items() if value is not None}
    assert failed(days, today) == ([said] if said else [])


def test_a_small_channel_may_shrink_but_not_vanish():
    # .1 of 1,000 requests: 20 points below is nothing, so that a tenth has to be left.
    days = [{ROWS: 1000.0, HOT: 0.1}] * 3
    assert failed(days, {ROWS: 1000.0, HOT: 0.011}) == []
    assert len(failed(days, {ROWS: 1000.0, HOT: 0.009})) == 1
    # All but a tenth may be null as long as a tenth of what is usually filled is left: .1 of .1.
    days = [{CONVERSIONS: 1000.0, NULLS: 0.9}] * 3
    assert failed(days, {CONVERSIONS: 1000.0, NULLS: 0.98}) == []
    assert len(failed(days, {CONVERSIONS: 1000.0, NULLS: 1.0})) == 1


def test_what_is_not_compared():
    nothing = {ROWS: 1000.0}
    assert failed([USUAL, USUAL], nothing) == []
    assert failed([USUAL] * 5, nothing, every=1) == []
    # A channel that came a week ago may go: in the median it covers nothing.
    assert failed([{ROWS: 1000.0, HOT: 0.9}, nothing, nothing], nothing) == []
    # A missing snapshot of items stops nothing; missing stages, where the days before had them, do.
    assert failed([nothing | {("items", "rows_kept"): 500.0}] * 4, nothing) == []
    assert failed([nothing | {("stages", "rows_kept"): 500.0}] * 4, nothing) == [
        "stages: rows_kept is 0, usually 500, at least 250 would pass"
    ]
    # 49 rows on a usual day are too few to tell a change from chance; so are 40 of 49 requests.
    assert failed([{ROWS: 49.0, HOT: 0.9}] * 3, {ROWS: 1.0}) == []
    # Without requests no coverage can be worked out; that there are none is fault enough.
    assert failed([{ROWS: 1000.0, HOT: 0.9}] * 3, {ROWS: 0.0}) == [
        "requests: rows_kept is 0, usually 1000, at least 500 would pass"
    ]


def test_with_less_than_three_of_the_weekday_six_days_give_a_range():
    """100 to 300 rows on six days: 50 to 600 pass. Coverage of .4 to .9: .2 passes."""
    days = [
        {ROWS: rows, HOT: covered}
        for rows, covered in zip([300.0, 100, 200, 200, 200, 200], [0.4] + [0.9] * 5, strict=True)
    ]
    assert failed(days[:5], {ROWS: 1.0, HOT: 0.0}, every=1) == []
    assert failed(days, {ROWS: 50.0, HOT: 0.2}, every=1) == []
    assert failed(days, {ROWS: 600.0, HOT: 1.0}, every=1) == []
    days = [measures | {ROWS: 10 * measures[ROWS]} for measures in days]
    assert failed(days, {ROWS: 499.0, HOT: 0.19}, every=1) == [
        "requests: rows_kept is 499, usually 1000 to 3000, at least 500 would pass",
        "retrievals: coverage: hot is 19.0%, usually 40.0% to 90.0%, at least 20.0% would pass",
    ]
    assert failed(days, {ROWS: 6001.0, HOT: 0.9}, every=1) == [
        "requests: rows_kept is 6001, usually 1000 to 3000, at most 6000 would pass"
    ]


def test_weekends_pass_and_a_channel_lost_on_a_sunday_does_not():
    """Four weeks from a Monday, 1,000 requests on work days and 300 at weekends: no day fails, whichever is first."""
    for first in range(7):
        monday = date(2024, 1, 1) + timedelta(first)
        measured = {}
        for day in (monday + timedelta(n) for n in range(28)):
            today = {ROWS: 300.0 if day.weekday() >= 5 else 1000.0, HOT: 0.9}
            known = {one: measured[one] for one in measured if (day - one).days <= drift_bounds.DAYS}
            before = Before(day, known)
            assert [str(bound) for bound in before.bounds(today) if not bound.passed] == []
            if len(known) >= 6 and day.weekday() == 6:
                lost = before.bounds({ROWS: 300.0})
                assert [bound.check for bound in lost if not bound.passed] == ["coverage: hot"]
            measured[day] = today


def test_a_sale_is_not_the_new_usual():
    """The sale a week ago was five times as large; an accepted day is one among the known days."""
    sale = {ROWS: 5000.0}
    assert failed([sale] + [{ROWS: 1000.0}] * 3, {ROWS: 1000.0}) == []
    assert failed([sale] + [{ROWS: 1000.0}] * 3, {ROWS: 2001.0}) == [
        "requests: rows_kept is 2001, usually 1000, at most 2000 would pass"
    ]


def put_quality(root, day: date, rows: list[tuple], **settings) -> None:
    columns = list(zip(*rows, strict=True))
    arrow.write(str(root), quality, day, pa.table(columns, schema=quality.schema), {}, settings)


def days_before(root) -> list[float]:
    """The volume of each known day, newest first."""
    return [measures[ROWS] for measures in drift_bounds.before(str(root), DAY, {"requests"}).days.values()]


def volume(rows: float, passed: bool = True, check: str = "rows_kept, at least") -> list[tuple]:
    return [(*ROWS, rows, None, True), ("requests", check, rows, 500.0, passed)]


LESS = ["requests: rows_kept, at least"]


def test_the_days_before_are_those_that_were_published(tmp_path):
    assert days_before(tmp_path) == []
    for n in (1, 2, 4, 28, 29):
        put_quality(tmp_path, DAY - timedelta(n), volume(1000.0 + n), accepted_changes=[])
    put_quality(tmp_path, DAY, volume(9.0))
    assert days_before(tmp_path) == [1001.0, 1002.0, 1004.0, 1028.0]  # the 29th day is too far away
    put_quality(tmp_path, DAY - timedelta(1), volume(1.0, passed=False), accepted_changes=[])
    assert days_before(tmp_path) == [1002.0, 1004.0, 1028.0]
    put_quality(tmp_path, DAY - timedelta(4), volume(1.0, passed=False, check="refused_share"), accepted_changes=LESS)
    assert days_before(tmp_path) == [1002.0, 1028.0]  # too many refused rows stop a date all the same
    # A day whose change was accepted is one known day among the others.
    put_quality(tmp_path, DAY - timedelta(2), volume(9000.0, passed=False), accepted_changes=LESS)
    assert days_before(tmp_path) == [9000.0, 1028.0]
    # A day on which nothing happened does not say how much is usual: else twice the median were soon exceeded.
    put_quality(tmp_path, DAY - timedelta(1), volume(0.0))
    assert drift_bounds.before(str(tmp_path), DAY, {"requests"}).days[DAY - timedelta(1)] == {}
    # The labels' rows are compared with labels' rows only.
    put_quality(tmp_path, DAY - timedelta(3), [("target_groups", "ITG share", 0.5, None, True)])
    shares = {DAY - timedelta(3): {("target_groups", "ITG share"): 0.5}}
    assert drift_bounds.before(str(tmp_path), DAY, {"target_groups"}).days == shares
    # What labels fail is known only if it follows from a change of their logs that was accepted and lasts.
    labels_fail = [
        ("target_groups", "ITG share", 0.5, None, True),
        ("target_groups", "ITG share, at most", 0.5, 0.3, False),
    ]
    put_quality(tmp_path, DAY - timedelta(3), volume(1000.0) + labels_fail, accepted_changes=LESS)
    assert drift_bounds.before(str(tmp_path), DAY, {"target_groups"}).days == {}
    put_quality(tmp_path, DAY - timedelta(3), volume(1.0, passed=False) + labels_fail, accepted_changes=LESS)
    assert drift_bounds.before(str(tmp_path), DAY, {"target_groups"}).days == shares


def land_day(root, day: date, channels: tuple[str, ...], count: int = 100) -> None:
    """`count` requests of as many users, each with a row of each channel; the first 60 show an item."""
    names = [f"r{n}" for n in range(count)]
    at = [datetime(day.year, day.month, day.day, 10)] * count
    columns = {
        "requests": (names, list(range(count)), ["homepage"] * count, at),
        "impressions": (names[:60], *([1] * len(names[:60]) for _ in range(2)), at[:60]),
        "conversions": ([], [], [], [], [], [], [], []),
        "retrievals": tuple(zip(*((r, c, [1, 2], []) for r in names for c in channels), strict=True)),
    }
    for name, values in columns.items():
        table = next(table for table in logs.LOGS if table.name == name)
        place = root / "landing" / name / f"date={day}"
        place.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(list(values), schema=table.schema), place / "part-0.parquet")


def checks(root, day: date) -> dict[tuple[str, str], tuple]:
    rows = arrow.read(str(root), quality, day).to_pylist()
    return {(row["table"], row["check"]): (row["value"], row["threshold"], row["passed"]) for row in rows}


def test_a_lost_channel_stops_the_day_until_it_is_landed_or_accepted(spark, tmp_path, capsys):
    days = [DAY + timedelta(7 * n) for n in range(5)]
    land_day(tmp_path, days[0], ("hot", "swing"))
    ingest(tmp_path, day=days[0])
    assert "0 known days among the 28 before are too few to compare with" in capsys.readouterr().err
    first = checks(tmp_path, days[0])
    assert first["retrievals", "coverage: swing"] == (1.0, None, True)
    assert first["requests", "share without retrievals"] == (0.0, None, True)
    assert first["impressions", "rows_kept"] == (60.0, None, True)
    assert not [check for _, check in first if check.endswith((", at least", ", at most"))]
    for day in days[1:3]:  # as if they had been ingested too
        arrow.write(str(tmp_path), quality, day, arrow.read(str(tmp_path), quality, days[0]), {}, {})

    land_day(tmp_path, days[3], ("hot",))
    with pytest.raises(WorkFailedError) as stopped:
        ingest(tmp_path, day=days[3])
    # 100 rows, half of the usual ones, are within bounds; what is missing is a channel.
    assert str(stopped.value).startswith(
        "retrievals: coverage: swing is 0.0%, usually 100.0%, at least 80.0% would pass; "
    )
    assert "--accept-changes" in str(stopped.value)
    assert days[3] not in arrow.dates(str(tmp_path), logs.retrievals)
    found = checks(tmp_path, days[3])
    assert found["retrievals", "coverage: swing, at least"] == (0.0, 0.8, False)
    assert found["retrievals", "coverage: hot, at least"] == (1.0, 0.8, True)
    assert found["requests", "rows_kept, at most"] == (100.0, 200.0, True)

    ingest(tmp_path, day=days[3], accept=True)
    assert arrow.read(str(tmp_path), logs.retrievals, days[3]).num_rows == 100
    assert "accepted: retrievals: coverage: swing is 0.0%" in capsys.readouterr().err
    assert checks(tmp_path, days[3]) == found  # the page goes on to say what was accepted
    # What was accepted stays so when late rows come, and what the labels said stays; another change is a fault still.
    labelled = pa.Table.from_pylist([drift_bounds.row("target_groups", "ITG share", 0.5)], schema=quality.schema)
    rows, manifest = drift_bounds.recorded(str(tmp_path), days[3])
    arrow.write(str(tmp_path), quality, days[3], pa.concat_tables([rows, labelled]), {}, manifest["settings"])
    ingest(tmp_path, day=days[3])
    assert checks(tmp_path, days[3]) == found | {("target_groups", "ITG share"): (0.5, None, True)}
    land_day(tmp_path, days[3], ("hot",), count=40)
    for _ in range(2):  # nor does it become accepted by being met
        with pytest.raises(WorkFailedError, match=r"^requests: rows_kept is 40, usually 100, at least 50 would pass"):
            ingest(tmp_path, day=days[3])
    land_day(tmp_path, days[3], ("hot",))
    ingest(tmp_path, day=days[3])
    # One accepted day is not the new usual: a week later the channel is missed again. A new channel is no fault.
    land_day(tmp_path, days[4], ("hot", "new"))
    with pytest.raises(WorkFailedError, match=r"^retrievals: coverage: swing is 0.0%, usually 100.0%"):
        ingest(tmp_path, day=days[4])
    land_day(tmp_path, days[4], ("hot", "new", "swing"))
    ingest(tmp_path, day=days[4])
    assert all(passed for _, _, passed in checks(tmp_path, days[4]).values())


def test_ingestion_and_labelling_keep_each_others_rows(tmp_path):
    """A lock is held from reading quality to replacing it, so that neither works on rows that the other replaces."""
    put_quality(tmp_path, tiny_root.DAY, volume(1000.0), accepted_changes=LESS)
    groups = [group("r1", 1, "ETG")]
    tiny_root.put_delta(tmp_path, "target_groups", tiny_root.DAY, groups)
    with ThreadPoolExecutor(1) as pool:
        with drift_bounds.locked(str(tmp_path)):  # ingestion reads here ...
            labelling = pool.submit(labels.record, str(tmp_path), tiny_root.DAY, 1, 0)
            sleep(0.2)
            assert not labelling.done()
            put_quality(tmp_path, tiny_root.DAY, volume(2000.0), accepted_changes=LESS)  # ... and writes here
        labelling.result()
    found = checks(tmp_path, tiny_root.DAY)
    assert found[ROWS] == (2000.0, None, True)
    assert ("target_groups", "acted items") in found


def group(request: str, item: int, name: str) -> tuple:
    return (request, 1, item, name, "click", tiny_root.example.at("10:00"), "homepage", 1, [], None)


def test_labels_add_their_shares_to_quality(tmp_path, capsys):
    for n in (7, 14, 21):
        rows = [("ITG share", 0.2), ("acted items", 100.0), ("unlabelable share", 0.0), ("target requests", 50.0)]
        put_quality(
            tmp_path,
            tiny_root.DAY - timedelta(n),
            [("target_groups", check, value, None, True) for check, value in rows],
        )
    put_quality(tmp_path, tiny_root.DAY, volume(1000.0), accepted_changes=LESS)
    # Of 4 acted items 2 are ITG; ETG rows of the same items do not count. One request of ten cannot be labelled.
    groups = [group("r1", 1, "ETG"), group("r1", 1, "RTG"), group("r1", 2, "RTG"), group("r2", 3, "ITG")]
    tiny_root.put_delta(tmp_path, "target_groups", tiny_root.DAY, [*groups, group("r2", 4, "ITG")])
    tiny_root.put_delta(tmp_path, "target_groups", tiny_root.BEFORE, [group("r0", 3, "ITG")])
    for _ in range(2):  # twice is as once
        assert labels.record(str(tmp_path), tiny_root.DAY, 10, 1) == {"acted": 4, "itg": 2}
        found = checks(tmp_path, tiny_root.DAY)
        assert found.pop(ROWS) == (1000.0, None, True)
        assert found.pop(("requests", "rows_kept, at least")) == (1000.0, 500.0, True)
        assert found == {
            ("target_groups", "target requests"): (10.0, None, True),
            ("target_groups", "acted items"): (4.0, None, True),
            ("target_groups", "unlabelable share"): (0.1, None, True),
            ("target_groups", "ITG share"): (0.5, None, True),
            ("target_groups", "ITG share, at most"): (0.5, pytest.approx(0.4), False),
            ("target_groups", "unlabelable share, at most"): (0.1, pytest.approx(0.2), True),
        }
    said = "target_groups: ITG share is 50.0%, usually 20.0%, at most 40.0% would pass"
    assert capsys.readouterr().err.count(said) == 2
