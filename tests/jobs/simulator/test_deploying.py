"""A simulated day landed with another pre-ranker, and one with exploration slots: what changes, and what must not."""

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pyarrow import dataset

from jobs.simulator.channels import top
from jobs.simulator.deployed import Deployed
from jobs.simulator.exploration import chances_of, passing
from jobs.simulator.landing import land
from jobs.simulator.settings import World
from jobs.simulator.stages import intercepts, serve
from jobs.simulator.streams import REQUESTS_AT_ONCE
from schemas.table import landing
from schemas.tables.logs import stages

DAY = date(2020, 3, 1)
SMALL = World(users=300, items=600, seed=7, pre_ranking_keep=30)
SERVED = {"stages", "impressions", "conversions", "_truth/conversions"}


def landed(root, table: str) -> list[dict]:
    return dataset.dataset(f"{root}/landing/{table}/date={DAY}", format="parquet").to_table().to_pylist()


def contents(root) -> dict[str, list[str]]:
    """Table -> the hashes of its files; a file's name tells its settings, its rows do not."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(root).rglob(f"date={DAY}/*.parquet")):
        table = str(path.parent.parent.relative_to(f"{root}/landing"))
        found.setdefault(table, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def changed(one, other) -> set[str]:
    ours, theirs = contents(one), contents(other)
    assert len(ours) == 11  # seven logs, four truths
    assert ours.keys() == theirs.keys()
    return {table for table in ours if ours[table] != theirs[table]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("plain")
    land(str(root), SMALL, DAY)
    return root


def least_item_first(given) -> np.ndarray:
    return -given.items.astype(np.float32)


@pytest.mark.parametrize("dials", [{}, {"shadow_ranked": 5, "exploration_slots": 4}])
def test_the_incumbents_own_scores_land_the_same_bytes(tmp_path, dials):
    world = replace(SMALL, **dials)
    land(str(tmp_path / "incumbent"), world, DAY)
    land(str(tmp_path / "function"), world, DAY, deployed=Deployed("itself", lambda given: given.incumbent))
    assert changed(tmp_path / "incumbent", tmp_path / "function") == set()


def test_another_pre_ranker_changes_what_follows_from_it_alone(plain, tmp_path):
    land(str(tmp_path), SMALL, DAY, deployed=Deployed("least", least_item_first))
    assert changed(plain, tmp_path) == SERVED
    ours, theirs = ({row["event_id"]: row for row in landed(root, "conversions")} for root in (plain, tmp_path))
    elsewhere = [one for one in ours if ours[one]["request_id"] is None]
    assert len(elsewhere) > 200
    assert [theirs[one] for one in elsewhere] == [ours[one] for one in elsewhere]
    assert {one for one in theirs if theirs[one]["request_id"] is None} == set(elsewhere)
    manifest = json.loads((tmp_path / landing(stages, DAY) / "_manifest.json").read_text())
    assert manifest["settings"]["pre_ranker"] == "least"


def test_the_deployed_pre_ranker_decides_what_passes_and_the_rankers_say_stays(plain, tmp_path):
    """Of the retrieved items those with the least ids pass; what the incumbent had kept too has the score it had."""
    land(str(tmp_path), SMALL, DAY, deployed=Deployed("least", least_item_first))
    retrieved: dict[str, set] = {}
    for row in landed(tmp_path, "retrievals"):
        retrieved.setdefault(row["request_id"], set()).update(row["item_ids"])
    before, after = (
        {(row["request_id"], row["stage"]): row for row in landed(root, "stages")} for root in (plain, tmp_path)
    )
    assert retrieved
    again = 0
    for request, items in retrieved.items():
        passed, ranked = after[request, "pre_ranking"], after[request, "ranking"]
        assert passed["item_ids"] == sorted(items)[:30]
        assert passed["scores"] == [1 - item for item in passed["item_ids"]]  # ids are indices and 1
        assert set(ranked["item_ids"]) == set(passed["item_ids"])
        assert ranked["scores"] == sorted(ranked["scores"], reverse=True)
        said = dict(zip(*(before[request, "ranking"][name] for name in ("item_ids", "scores")), strict=True))
        for item, score in zip(ranked["item_ids"], ranked["scores"], strict=True):
            assert said.get(item, score) == score
            again += item in said
    assert again > 500


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    nothing = Deployed("nothing", lambda given: np.full(given.items.shape, np.nan))
    with pytest.raises(ValueError, match="not a number"):
        land(str(tmp_path), SMALL, DAY, deployed=nothing)
    assert not list(tmp_path.rglob("*.parquet"))


# --- exploration slots


def test_passing_by_hand():
    """Four places, two of them drawn. First row: 5 and 4 have places; of the rest, .7 and .3 are the greatest chances.
    Second row: three candidates, so all pass, and then nothing.
    """
    world = World(items=600, pre_ranking_keep=4, exploration_slots=2)
    nothing = -np.inf
    scores = np.array([[5, 1, 4, 3, 2, 0, nothing], [3, nothing, 1, nothing, nothing, nothing, 2]])
    chances = np.array([[0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.95]] * 2)
    columns = passing(world, scores, chances)
    assert columns[0].tolist() == [0, 2, 4, 5]
    assert columns[1, :3].tolist() == [0, 6, 2]
    assert scores[1, columns[1, 3]] == nothing
    all_drawn = passing(replace(world, exploration_slots=9), scores[:1], chances[:1])
    assert all_drawn.tolist() == [[0, 2, 4, 5]]  # .9, .8, .7, .3


def test_without_slots_the_chances_are_not_looked_at():
    scores = np.random.default_rng(0).normal(size=(50, 200))
    nowhere = np.full(scores.shape, np.nan)
    assert (passing(SMALL, scores, nowhere) == top(scores, 30)).all()


def test_exploration_is_counted_and_even_over_what_would_have_been_dropped():
    """5 of 30 places. By the places of their scores among what has no place, 2,560 draws fall evenly into fifths: 512
    each, with a deviation of 20.
    """
    world = replace(SMALL, exploration_slots=5)
    users = np.arange(REQUESTS_AT_ONCE) % SMALL.users
    ours, theirs = serve(world, users, DAY, 0), serve(SMALL, users, DAY, 0)
    np.testing.assert_array_equal(ours.pre_ranked[:, :25], theirs.pre_ranked[:, :25])
    assert (np.diff(ours.pre_ranked_scores, axis=1) <= 0).all()
    counts = np.zeros(5, int)
    for row in range(len(users)):
        order = np.argsort(-theirs.pre_ranking_scores[row])
        without = theirs.candidates[row, order][25 : (theirs.candidates[row] >= 0).sum()].tolist()
        drawn = ours.pre_ranked[row, 25:].tolist()
        assert len(set(drawn)) == 5
        counts += np.bincount([5 * without.index(item) // len(without) for item in drawn], minlength=5)
    assert counts.sum() == 5 * len(users)
    assert (abs(counts - 512) < 100).all(), counts


def test_exploring_changes_no_user(plain, tmp_path):
    """The true chances of a click are what they were, so what exploring costs is not made up for."""
    world = replace(SMALL, exploration_slots=5)
    land(str(tmp_path), world, DAY)
    assert changed(plain, tmp_path) == SERVED
    assert intercepts(world) == intercepts(SMALL)


def test_what_is_drawn_is_logged_as_passed_and_may_be_shown(tmp_path):
    """With every place drawn a tenth of what is retrieved is shown to users in spite of its score."""
    world = replace(SMALL, exploration_slots=30, shadow_ranked=5)
    land(str(tmp_path), world, DAY)
    rows = {(row["request_id"], row["stage"]): row for row in landed(tmp_path, "stages")}
    requests = [request for request, stage in rows if stage == "pre_ranking"]
    assert requests
    for request in requests:
        kept = rows[request, "pre_ranking"]
        assert kept["scores"] == sorted(kept["scores"], reverse=True)
        assert set(rows[request, "ranking"]["item_ids"]) == set(kept["item_ids"])
        assert not set(rows[request, "shadow_ranking"]["item_ids"]) & set(kept["item_ids"])
    shown = [item for request in requests for item in rows[request, "re_ranking"]["item_ids"]]
    scores = {
        (request, item): score
        for request in requests
        for item, score in zip(*(rows[request, "pre_ranking"][name] for name in ("item_ids", "scores")), strict=True)
    }
    assert len(shown) > 1000
    assert min(scores.values()) < -1
    below = sum(scores[request, item] < 0 for request in requests for item in rows[request, "re_ranking"]["item_ids"])
    assert 0.2 < below / len(shown) < 0.6  # correlation .4 with the truth, by which the ranker chooses


def test_the_draws_depend_on_the_date_alone():
    one, same, other = (chances_of(SMALL, (3, 4), day, 0) for day in (DAY, DAY, date(2020, 3, 2)))
    assert (one == same).all()
    assert (one != other).any()
