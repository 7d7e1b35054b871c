"""benchmarks/serve_in_world.py: whose history a model is given, what it scores, and the tables, on a tiny world."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import judge_in_world
import map_in_world
import numpy as np
import pyarrow as pa
import pytest
import serve_in_world as benchmark
import served_tables

from jobs.simulator.demand import homepage_requests
from jobs.simulator.deployed import retrieved
from jobs.simulator.landing import request_ids_of
from models import batches
from models.hccp import model as hccp
from models.hccp import presets
from models.item_vocabulary import Catalogue
from schemas.storage import arrow
from schemas.tables.features import item_stats, user_histories

DAY = benchmark.JUDGED
WORLD = replace(benchmark.SMALL, users=40, items=200, seed=3)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Request n has the history n + 1, n + 2; histories are stored backwards. Item 200 was never counted."""
    root = str(tmp_path_factory.mktemp("served"))
    ids = request_ids_of(DAY, range(len(homepage_requests(WORLD, DAY).users)))
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    rows = [(one, [n + 1, n + 2], ["click", "purchase"], [noon] * 2) for n, one in enumerate(ids)][::-1]
    put(root, user_histories, rows)
    put(root, item_stats, [(item, 0, 0, 0, 7 * item, 0.1, "tail") for item in range(1, 200)])
    return benchmark.Known.of(root, WORLD, DAY)


def put(root: str, table, rows) -> None:
    columns = [list(values) for values in zip(*rows, strict=True)]
    arrow.write(root, table, DAY, pa.table(columns, schema=table.schema), {}, {})


def test_a_request_has_its_own_history_and_user(known):
    users = homepage_requests(WORLD, DAY).users
    assert len(users) > 20
    histories = known.rows["history_item_ids"]
    assert histories.padded(2).tolist() == [[n + 1, n + 2] for n in range(len(users))]
    assert known.rows["history_actions"].padded(2).tolist() == [[1, 4]] * len(users)
    assert known.rows["user_id"].tolist() == [user + 1 for user in users]
    assert known.by_index("conversions", WORLD).tolist() == [7 * (n + 1) for n in range(199)] + [0]


def test_a_root_of_another_world_is_refused(known):
    with pytest.raises(ValueError, match="another world"):
        benchmark.Known.of(known.root, replace(WORLD, users=80), DAY)


def test_a_model_scores_each_requests_own_items(known):
    """Against the model asked of one request at a time, by ids, which are indices and 1."""
    catalogue = Catalogue.empty(4, None, 8).grown(np.arange(1, 201))
    model = hccp.Hccp(presets.sized(presets.full(), "tiny"), catalogue, seed=1)
    given = next(retrieved(WORLD, DAY))
    scores = benchmark.trained(known, model)(given)
    for n in range(3):
        there = given.items[n] >= 0
        items = given.items[n][there] + 1
        alone = model.scores(batches.take(known.rows, np.array([n])), np.zeros(len(items), int), items)
        np.testing.assert_allclose(scores[n][there], alone, rtol=1e-5)
        assert np.ptp(alone) > 0
        assert (scores[n][~there] == -np.inf).all()


def test_every_row_of_a_world_without_models(known):
    """No model lies below the root: only what needs none. What returns the truth's best adds most clicks."""
    served = benchmark.by_variant(benchmark.serve_pre_rankers(WORLD, benchmark.pre_rankers(WORLD, known)))
    assert list(served) == ["incumbent", "oracle", "hot_items", "random"]
    assert served_tables.value(served["oracle"][0], "best_kept") == 1.0
    scorers = {("oracle", 0): benchmark.channels(WORLD, None)["oracle", 0]}
    served = benchmark.by_variant(benchmark.serve_channels(WORLD, scorers))
    assert list(served) == ["none", "oracle", "oracle, quota 10"]
    found = [served_tables.value(served[name][0], "retrieved_of_best") for name in served]
    assert found[0] < found[1] == found[2] == 1.0


def figures(clicks: list[float]) -> dict:
    """Two users, of 1 and 3 requests; every figure the same but ec."""
    ones = np.ones(2)
    same = dict.fromkeys(("ep", "uctr", "ucvr"), (ones / 2, ones))
    return same | {"ec": (np.array(clicks), np.array([1.0, 3.0]))}


VARIANTS = {"ours": [figures([10, 30]), figures([20, 60])], "theirs": [figures([10, 10])]}


def test_values_by_hand():
    """ec: 40/4, 80/4 and 20/4. ep: (.5 + .5) / 2, so .01 transactions. Shares in per cent."""
    lines = [*served_tables.values_table(VARIANTS, ("ec", "ep", "transactions", "ucvr"))]
    assert lines == [
        "| variant | ec | ep | transactions | ucvr |",
        "|---|---|---|---|---|",
        "| ours | 10.0 / 20.0 | 0.50 / 0.50 | 0.0 / 0.0 | 50.0 / 50.0 |",
        "| theirs | 5.0 | 0.50 | 0.0 | 50.0 |",
    ]


def test_differences_by_hand():
    """The mean of the seeds, 15, is 200 % above 5; drawing the first user alone gives 15 against 10, the second 15
    against 3.33: of 5 these are 100 % and 233 %, so the interval ends there.
    """
    header, _, line = served_tables.differences_table(VARIANTS, "theirs")
    assert header == "| against theirs | ec | ep | uctr | ucvr |"
    same = "+0.0 % [+0.0, +0.0]"
    assert line == f"| ours | +200.0 % [+100.0, +233.3] | {same} | {same} | {same} |"


def test_the_map_varies_one_dial_at_a_time():
    worlds = map_in_world.worlds(["coverage", "planted_taste"])
    assert {name: (world.coverage, world.planted_taste) for name, world in worlds.items()} == {
        "middle": (1.0, 0.7), "coverage-0.5": (0.5, 0.7), "coverage-2.0": (2.0, 0.7),
        "planted_taste-0.0": (1.0, 0.0), "planted_taste-1.5": (1.0, 1.5),
    }  # fmt: skip


def test_the_maps_rows_by_hand():
    """As above, ec stands 200 % over theirs in the middle; with half the coverage nothing changes."""
    alike = {"ours": VARIANTS["theirs"], "theirs": VARIANTS["theirs"]}
    found = {"middle": VARIANTS, "coverage-0.5": alike, "coverage-2.0": alike}
    _, header, _, *rows = map_in_world.lines(map_in_world.Table("Ours", "theirs", ("ours",)), found, ["coverage"])
    assert header == "| dial | value | figure | ours |"
    same = "+0.0 % [+0.0, +0.0]"
    assert [row.split(" | ")[1:] for row in rows[:-1]] == [
        ["0.5", "ec", f"{same} |"], ["0.5", "ucvr", f"{same} |"],
        ["1.0", "ec", "+200.0 % [+100.0, +233.3] |"], ["1.0", "ucvr", f"{same} |"],
        ["2.0", "ec", f"{same} |"], ["2.0", "ucvr", f"{same} |"],
    ]  # fmt: skip


def test_half_a_root_and_a_root_of_another_world_are_not_taken_for_this_one(tmp_path, monkeypatch):
    def found(root, model, day):
        return [SimpleNamespace(variant=name, seed=seed) for name, seed in there]

    monkeypatch.setattr(judge_in_world.checkpoint, "found", found)
    there = [("base", 1), ("base", 2), ("full", 1)]
    assert judge_in_world.learned(str(tmp_path), WORLD, {"increc": "base"})
    assert not judge_in_world.learned(str(tmp_path), WORLD, {"increc": "base,full"})
    there.append(("full", 2))
    assert judge_in_world.learned(str(tmp_path), WORLD, {"increc": "base,full"})
    folder = tmp_path / "landing" / "requests" / f"date={judge_in_world.FIRST}"
    folder.mkdir(parents=True)
    settings = asdict(WORLD)
    del settings["exploration_slots"]  # landed before there was such a dial, which is 0
    (folder / "_manifest.json").write_text(json.dumps({"settings": settings}))
    assert judge_in_world.learned(str(tmp_path), WORLD, {"increc": "base"})
    (folder / "_manifest.json").write_text(json.dumps({"settings": asdict(replace(WORLD, ctr=0.5))}))
    with pytest.raises(ValueError, match="of another world: ctr differ"):
        judge_in_world.learned(str(tmp_path), WORLD, {"increc": "base"})
