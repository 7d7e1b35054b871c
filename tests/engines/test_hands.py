"""A table changes hands: each engine reads, replaces, renews and merges what the other wrote, and dates stay whole."""

import dataclasses
from datetime import date

import pyarrow as pa
import pytest

from jobs import maintain_tables
from schemas.storage import delta_log
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.table import Column
from schemas.tables.labels import target_groups
from schemas.tables.logs import requests, users
from tests.support import landed
from tests.support.engines import engine
from tests.support.worked_example import at

DAY, NEXT = date(2024, 3, 1), date(2024, 3, 2)
TURNS = [("spark", "sail", "spark", "sail"), ("sail", "spark", "sail", "spark")]


def asked(n: int) -> tuple:
    return (f"r{n}", n, "homepage", at("10:00"))


def label(item: int, actions: int) -> tuple:
    return ("r1", 1, item, "ETG", "click" if actions else None, None, None, actions, ["hot"], 1)


def replace(root, name, day, rows, settings=None) -> int:
    store = Store(session("turns"), str(root))
    return store.replace(name, day, landed.frame(store.spark, name, rows), settings or {})


def rows_of(root, table, day) -> list[tuple]:
    return sorted(landed.rows_of(session("turns"), root, table.name, day))


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: turns[0])
def test_dates_are_replaced_in_turns(spark, tmp_path, turns):
    """Every engine sees what the last one left, an empty date, and each version that there was."""
    states = []
    for n, name in enumerate(turns, 1):
        with engine(name):
            assert replace(tmp_path, requests, DAY, [asked(k) for k in range(n)], {"turn": n}) == n
            replace(tmp_path, requests, NEXT, [])
            states.append(delta_log.newest(Root.of(str(tmp_path)), requests)[DAY][0])
    for name in set(turns):
        with engine(name):
            assert rows_of(tmp_path, requests, DAY) == [asked(k) for k in range(4)]
            store = Store(session("turns"), str(tmp_path))
            assert store.labelled(requests, DAY) == {"turn": 4}
            assert store.has_date(requests, NEXT)
            assert not store.has_date(requests, date(2024, 3, 3))
            assert [store.read_at(requests, version).count() for version in states] == [1, 2, 3, 4]
    recorded = [(said["engine"].split()[0], rows) for _, said, rows in delta_log.replacements(
        Root.of(str(tmp_path)), requests, DAY)]  # fmt: skip
    assert recorded == [(name, n) for n, name in reversed(list(enumerate(turns, 1)))]


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: turns[0])
def test_rows_are_merged_in_turns(spark, tmp_path, turns):
    """Of three labels one changes, one goes and one comes, each turn; then nothing does."""
    with engine(turns[0]):
        replace(tmp_path, target_groups, DAY, [label(1, 0), label(2, 0), label(3, 0)])
    for n, name in enumerate(turns[1:], 1):
        wanted = [label(1, n), *(label(item, 0) for item in (2 + n, 3 + n))]
        with engine(name):
            for changed in (3, 0):
                store = Store(session("turns"), str(tmp_path))
                present = store.read(target_groups, DAY).select(*target_groups.names)
                frame = landed.frame(store.spark, target_groups, wanted)
                assert store.update(target_groups, DAY, present, frame, {"turn": n}) == changed
    for name in ("spark", "sail"):
        with engine(name):
            assert rows_of(tmp_path, target_groups, DAY) == [(*row[:8], ("hot",), 1, None) for row in wanted]
            assert Store(session("turns"), str(tmp_path)).labelled(target_groups, DAY) == {"turn": 3}


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: turns[0])
def test_rows_that_are_there_already_are_renewed_without_a_file(spark, tmp_path, turns):
    with engine(turns[0]):
        replace(tmp_path, requests, DAY, [asked(1), asked(2)])
    with engine(turns[1]):
        store = Store(session("turns"), str(tmp_path))
        frame = landed.frame(store.spark, requests, [asked(2), asked(1)])
        assert store.renew(requests, DAY, frame, {"again": True}) == 2
    (newest, recorded, rows), *_ = delta_log.replacements(Root.of(str(tmp_path)), requests, DAY)
    assert (recorded["settings"], rows) == ({"again": True}, 0)
    assert list(delta_log.file_changes(Root.of(str(tmp_path)), requests, newest - 1)) == []


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: turns[0])
def test_attributes_come_later(spark, tmp_path, turns):
    """A snapshot with a new attribute widens the table; the dates before it have nulls there."""
    for n, name in enumerate(turns):
        attributes = [Column(f"a{k}", pa.int64(), "", nullable=True) for k in range(n)]
        table = dataclasses.replace(users, columns=(*users.columns, *attributes))
        with engine(name):
            replace(tmp_path, table, date(2024, 3, 1 + n), [(7, *range(n))])
    for name in ("spark", "sail"):
        with engine(name):
            frame = Store(session("turns"), str(tmp_path)).read_all(users).orderBy("date")
            assert [tuple(row) for row in frame.select("user_id", "a0", "a1", "a2").collect()] == [
                (7, None, None, None), (7, 0, None, None), (7, 0, 1, None), (7, 0, 1, 2),
            ]  # fmt: skip


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: turns[0])
def test_each_engine_maintains_what_the_other_wrote(spark, tmp_path, turns, monkeypatch):
    """Compaction and VACUUM change no row."""
    monkeypatch.setattr(maintain_tables, "MANY", 2)
    for name in turns[:2]:
        with engine(name):
            store = Store(session("turns"), str(tmp_path))
            frame = landed.frame(store.spark, requests, [asked(k) for k in range(40)])
            store.replace(requests, DAY, frame.repartition(4), {"by": name})
            assert len(store.root.files(f"{requests.path}/date={DAY}")) > 1
    with engine(turns[0]):
        counts = maintain_tables.main(landed.flags(maintain_tables, tmp_path, DAY), DAY)
    assert counts["tables"]["logs/requests"]["dates_compacted"] == 1
    assert counts["tables"]["logs/requests"]["files_added"] == 1
    for name in ("spark", "sail"):
        with engine(name):
            assert rows_of(tmp_path, requests, DAY) == sorted(asked(k) for k in range(40))
            assert Store(session("turns"), str(tmp_path)).labelled(requests, DAY) == {"by": turns[1]}
