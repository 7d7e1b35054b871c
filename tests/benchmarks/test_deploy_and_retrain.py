"""benchmarks/deploy_and_retrain.py: when its rounds are, and what a model is given of a day that nobody has served."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import deploy_and_retrain as benchmark
import numpy as np
import pyarrow as pa
from pyarrow import dataset

from jobs.simulator.demand import Requests, homepage_requests
from jobs.simulator.deployed import Deployed
from jobs.simulator.landing import land
from models.batches import Ragged
from schemas.storage import arrow
from schemas.table import landing
from schemas.tables.features import item_stats
from schemas.tables.logs import conversions

WORLD = replace(benchmark.SMALL, users=60, items=200, seed=3)
FIRST, SECOND = benchmark.FIRST, benchmark.FIRST + timedelta(1)


def listed(ragged: Ragged) -> list[list[int]]:
    return [values.tolist() for values in np.split(ragged.values, ragged.offsets[1:-1])]


def test_rounds_follow_one_another_and_the_judged_day_follows_them():
    days = [benchmark.day_of(number) for number in range(-benchmark.COUNTED, benchmark.ROUNDS)]
    assert [(day - FIRST).days for day in days] == [0, 1, 2, 3, 4, 5]
    assert (benchmark.JUDGED - FIRST).days == 6


def test_what_learns_from_a_round():
    """Nothing from the days that are only counted; the incumbent's logs teach all presets, a model's its own preset."""
    every = benchmark.all_logs("r")
    names = {
        server: [[f"{one.variant} {one.seed} {one.day.day}" for one in logs.models(number)] for number in (-1, 0, 3)]
        for server, logs in every.items()
    }
    assert names["full, seed 2"] == [[], ["full 2 3"], ["full 2 6"]]
    assert names["the incumbent"][0] == names["exploring"][0] == names["exploring"][1] == []
    assert [len(each) for each in names["the incumbent"]] == [0, 10, 10]
    assert names["exploring"][2][:2] == ["full 1 6", "exposed_only 1 6"]
    assert len({logs.root for logs in every.values()}) == len(every) == 12


def test_histories_by_hand():
    """User 1 asks at 100 and 300, user 2 at 200. An event is known once it was logged, and of the same time by its id;
    what happens at the request's own time comes too late.
    """
    requests = Requests(users=np.array([0, 1, 0]), times=np.array([100, 200, 300]))
    rows = [
        (1, 50, "b", 7, "click", 60),
        (1, 50, "a", 8, "purchase", 60),
        (1, 90, "c", 9, "cart", 150),
        (1, 300, "d", 5, "click", 300),
        (2, 210, "e", 4, "click", 211),
    ]
    schema = pa.schema([conversions.schema.field(name) for name in benchmark._EVENT])
    columns = [list(values) for values in zip(*rows, strict=True)]
    events = pa.table(columns, names=benchmark._EVENT).cast(schema)
    found = benchmark.histories(requests, events)
    assert listed(found["history_item_ids"]) == [[8, 7], [], [8, 7, 9]]
    assert listed(found["history_actions"]) == [[4, 1], [], [4, 1, 3]]


def test_what_is_known_of_a_day_does_not_depend_on_who_serves_it(tmp_path):
    root = str(tmp_path)
    stats = [[1, 2], [5, 6], [0, 0], [0, 0], [7, 0], [0.5, 0.5], ["top", "tail"]]
    arrow.write(root, item_stats, SECOND, pa.table(stats, schema=item_stats.schema), {}, {})
    land(root, WORLD, FIRST)
    before = benchmark.known(root, WORLD, SECOND)
    land(root, WORLD, SECOND, deployed=Deployed("any", lambda given: -given.items))
    after = benchmark.known(root, WORLD, SECOND)
    for name in ("history_item_ids", "history_actions"):
        assert listed(before.rows[name]) == listed(after.rows[name])
    assert before.by_index("conversions", WORLD)[:3].tolist() == [7, 0, 0]

    events = [
        row
        for day in (FIRST, SECOND)
        for row in dataset.dataset(f"{root}/{landing(conversions, day)}", format="parquet").to_table().to_pylist()
        if day == FIRST or row["request_id"] is None
    ]
    requests = homepage_requests(WORLD, SECOND)
    assert (before.rows["user_id"] == requests.users + 1).all()
    histories = listed(before.rows["history_item_ids"])
    assert sum(map(len, histories)) > 100
    for user, time, history in zip(requests.users + 1, requests.times, histories, strict=True):
        asked = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(time))
        own = [
            (row["event_time"], row["event_id"], row["item_id"])
            for row in events
            if row["user_id"] == user and row["event_time"] < asked and row["logged_time"] <= asked
        ]
        assert history == [item for *_, item in sorted(own)][-50:]
