"""schemas/staging: a folder is replaced whole or not at all, whatever fails and whoever else writes."""

import contextlib
import fcntl
import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from schemas.storage import arrow, staging
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.table import ConflictError, MissingDataError
from tests.support import crashing
from tests.support.crashing import DAY, PLACE, reached_by, version_there, write
from tests.support.faulty import Steps, filesystem

KINDS = ("local", "object store")


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    for name, value in crashing.SMALL.items():
        monkeypatch.setattr(arrow, name, value)


def steps_of(root, kind: str, old: int | None) -> int:
    """How many steps it takes to write version 2."""
    if old:
        write(str(root), old)
    steps = Steps()
    with reached_by("counted", kind, steps, str(root)):
        write("counted", 2)
    return steps.count


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Parquet's writer tries once more
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("old", [1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_at_any_step_leaves_old_or_new_or_nothing(tmp_path, kind, old, lasting):
    total, outcomes = steps_of(tmp_path / "counted", kind, old), set()
    assert total > 40
    for step in range(1, total + 1):
        root = str(tmp_path / str(step))
        if old:
            write(root, old)

        def fail(number, step=step):
            if number == step or (lasting and number > step):
                raise OSError(28, "No space left on device")

        with reached_by("failing", kind, Steps(fail), root):
            try:
                write("failing", 2)
                said = ""
            except OSError as fault:
                said = str(fault)
        there = version_there(root)
        outcomes.add((bool(said), there))
        assert not said or "No space left on device" in said
        assert there in (old, None, 2)
        assert said or there == 2
        if kind == "local" and not lasting:
            assert there in (old, 2)  # a single failure never costs the old rows where a rename can be taken back
        if kind == "local" and there is None and old:
            (left,) = staging.leftovers(Root.of(root), datetime.now(UTC) + timedelta(1))
            assert left.only_copy_of == PLACE
        write(root, 4)
        assert version_there(root) == 4
    assert {(True, old), (False, 2)} <= outcomes


def test_a_failure_leaves_nothing_behind_that_could_be_removed(tmp_path):
    write(str(tmp_path), 1)
    with staging.stage(Root.of(str(tmp_path)), PLACE) as staged:
        Path(tmp_path, staged.folder).mkdir(parents=True)
        Path(tmp_path, staged.folder, "part").write_text("rows")
    assert [path.name for path in (tmp_path / "_staging").iterdir()] == ["swap.lock"]
    assert version_there(str(tmp_path)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_folders_within_a_folder_are_kept(tmp_path, kind):
    root = Root(filesystem(kind, Steps()), str(tmp_path))
    for version in ("old", "new"):
        with staging.stage(root, "models/x/date=2020-01-01/a-seed1", "manifest.json") as staged:
            for path in (f"{version}.npz", "saved_model/variables/0", "saved_model/graph.pb"):
                (tmp_path / staged.folder / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / staged.folder / path).write_text(version)
            root.write_text(f"{staged.folder}/manifest.json", version)
            staging.swap(staged)
    place = tmp_path / "models/x/date=2020-01-01/a-seed1"
    files = {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}
    assert files == dict.fromkeys(
        ["manifest.json", "new.npz", "saved_model/graph.pb", "saved_model/variables/0"], "new"
    )
    assert not [path for path in (tmp_path / "_staging").rglob("*") if path.is_file() and path.suffix != ".lock"]


# --- two runs


@pytest.mark.parametrize("old", [1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_comes_between_any_two_steps_wins_or_gives_way(tmp_path, kind, old, monkeypatch):
    """The other run, whole, at each step in turn; while the first swaps under its lock it waits until that is done."""
    total, waits, outcomes = steps_of(tmp_path / "counted", kind, old), threading.Event(), set()
    lock = staging_lock(waits)
    monkeypatch.setattr("schemas.storage.root.fcntl.flock", lock)
    for step in range(1, total + 1):
        root, told = str(tmp_path / str(step)), {}
        if old:
            write(root, old)

        def run(name: str, version: int, told=told):
            try:
                write(name, version)
                told[version] = "stands"
            except ConflictError as fault:
                told[version] = str(fault)

        other = threading.Thread(target=run, args=(root, 4), daemon=True)

        def interfere(number, step=step, other=other):
            if number == step and threading.current_thread() is not other:
                waits.clear()
                other.start()
                while other.is_alive() and not waits.is_set():
                    other.join(0.001)

        with reached_by("first", kind, Steps(interfere), root):
            run("first", 2)
            other.join()
        there = version_there(root)
        outcomes.add((there, told[2] == "stands", told[4] == "stands"))
        assert all(said == "stands" or (PLACE in said and "run this again" in said) for said in told.values())
        if there:
            assert told[there] == "stands"
        else:  # an object store has no locks: the first stalled for the other's whole swap, and says so
            assert (kind, told[4]) == ("object store", "stands")
            assert "may be empty" in told[2]
    assert {(4, False, True), (4, True, True)} <= outcomes


def staging_lock(waits: threading.Event):
    """flock, which says so before it waits."""
    real = fcntl.flock

    def lock(held, how):
        try:
            real(held, how | fcntl.LOCK_NB)
        except BlockingIOError:
            waits.set()
            real(held, how)

    return lock


class Turns:
    """Lets threads go on one step at a time, in an order drawn from a seed."""

    def __init__(self, seed: int):
        self.draw, self.arrived, self.goes = random.Random(seed), threading.Semaphore(0), {}

    def step(self, _: int) -> None:
        go = self.goes[threading.current_thread()]
        self.arrived.release()
        go.acquire()

    def play(self, works: list[Callable[[], None]], look: Callable[[], None]) -> None:
        """Run the works, each in a thread, to their ends; `look` between any two steps."""

        def run(work: Callable[[], None]) -> None:
            try:
                self.step(0)
                work()
            finally:
                ended.add(threading.current_thread())
                self.arrived.release()

        ended: set[threading.Thread] = set()
        threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
        self.goes = {thread: threading.Semaphore(0) for thread in threads}
        for thread in threads:
            thread.start()
            self.arrived.acquire()
        while alive := [thread for thread in threads if thread not in ended]:
            # A run of steps of one thread: what swaps do to each other takes more than chance switches at every step.
            thread = self.draw.choice(alive)
            for _ in range(self.draw.choice([1, 2, 5, 15])):
                if thread not in ended:
                    self.goes[thread].release()
                    self.arrived.acquire()
                    look()


@pytest.mark.parametrize("seed", range(12))
def test_two_runs_in_an_object_store_never_make_a_mixture(tmp_path, seed):
    """No lock is there; a reader looks between any two steps."""
    root, told, turns, seen = str(tmp_path), {}, Turns(seed), set()
    versions = {"one": 2, "other": 2 if seed % 4 == 1 else 4}
    if seed % 3:
        write(root, 1)

    def run(name: str) -> None:
        try:
            write(name, versions[name])
            told[name] = "stands"
        except ConflictError as fault:
            told[name] = str(fault)

    def look() -> None:
        with contextlib.suppress(MissingDataError, FileNotFoundError):
            seen.add(version_there(root))

    steps = Steps(turns.step)
    with reached_by("one", "object store", steps, root), reached_by("other", "object store", steps, root):
        turns.play([lambda: run("one"), lambda: run("other")], look)
    there = version_there(root)
    assert seen <= {1, 2, 4, None}
    if there:
        assert "stands" in {told[name] for name, version in versions.items() if version == there}
    else:
        assert any("may be empty" in said for said in told.values())
    write(root, 6)
    assert version_there(root) == 6


# --- leftovers


def test_leftovers_are_named_with_their_age_and_the_only_copies_among_them(tmp_path):
    root, now = Root.of(str(tmp_path)), datetime.now(UTC)
    write(str(tmp_path), 1)
    assert staging.leftovers(root, now + timedelta(1)) == []
    young, old, retired = (tmp_path / "_staging" / name for name in ("a", "b", "c"))
    for run, kind in ((young, "new"), (old, "new"), (retired, "retired")):
        (run / kind / PLACE).mkdir(parents=True)
        (run / kind / PLACE / "part-0.parquet").write_text("rows")
    for folder in (old, retired):
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, ((now - timedelta(days=9)).timestamp(),) * 2)
    found = staging.leftovers(root, now - timedelta(days=7))
    assert [(one.folder, one.size, one.only_copy_of) for one in found] == [("_staging/b", 4, ""), ("_staging/c", 4, "")]
    assert {one.modified.date() for one in found} == {(now - timedelta(days=9)).date()}
    staging.withdraw(root, PLACE)
    _, found = staging.leftovers(root, now - timedelta(days=7))
    assert found.only_copy_of == PLACE
    assert len(staging.leftovers(root, now + timedelta(1))) == 3
    # A run that has just moved old files away is no leftover, however old they are.
    os.utime(retired / "retired" / PLACE, None)
    assert [one.folder for one in staging.leftovers(root, now - timedelta(days=7))] == ["_staging/b"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_withdrawn_loses_its_manifest_first(tmp_path, kind):
    steps = Steps(lambda _: states.add((manifest.exists(), data.exists())))
    states, manifest = set(), tmp_path / PLACE / MANIFEST
    write(str(tmp_path), 1)
    (data,) = (tmp_path / PLACE).glob("*.parquet")
    for _ in range(2):
        staging.withdraw(Root(filesystem(kind, steps), str(tmp_path)), PLACE)
        assert not (tmp_path / PLACE).exists()
    assert states == {(True, True), (False, True), (False, False)}


# --- readers


def test_a_date_whose_files_are_not_those_its_manifest_counted_is_not_read(tmp_path):
    write(str(tmp_path), 4)
    extra = tmp_path / PLACE / "part-00009.parquet"
    extra.write_bytes(next((tmp_path / PLACE).glob("*.parquet")).read_bytes())
    with pytest.raises(MissingDataError, match=rf"{PLACE} below .* its manifest says \d+: a run is replacing it"):
        arrow.read(str(tmp_path), crashing.TABLE, DAY)
    extra.unlink()
    assert version_there(str(tmp_path)) == 4


def test_a_reader_half_way_through_a_replaced_date_misses_its_files(tmp_path):
    write(str(tmp_path), 2)
    first, second = arrow.files(str(tmp_path), crashing.TABLE, DAY)
    rows = parquet.read_table(first)
    write(str(tmp_path), 3)
    assert rows["version"].to_pylist() == [2] * 20
    with pytest.raises(FileNotFoundError):
        parquet.read_table(second)
