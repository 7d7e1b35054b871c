"""jobs/simulator/deployed.py and earnings.py: a day served anew, against the logs, against plain loops, and by laws."""

from dataclasses import replace
from datetime import date
from math import exp

import numpy as np
import pytest

from jobs.simulator.channels import top
from jobs.simulator.deployed import catalogue_clicks, passed, retrieved, with_channel
from jobs.simulator.earnings import Earned, earned, popularity_correlation, segments
from jobs.simulator.population import click_logits, items_of, purchase_logits, users_of
from jobs.simulator.settings import World
from jobs.simulator.stages import intercepts
from jobs.simulator.streams import REQUESTS_AT_ONCE

DAY = date(2020, 3, 1)
WORLD = World(users=700, items=600, seed=7, items_per_category=20, pre_ranking_keep=30)


@pytest.fixture(scope="module")
def chunks():
    return list(retrieved(WORLD, DAY))


def sums(world: World, chunks, scores, quota: int = 0) -> dict[str, float]:
    """The day's figures, with the pre-ranker that `scores` gives of a chunk."""
    parts = [earned(world, given, passed(world, given, scores(given), quota)) for given in chunks]
    return {name: float(up.sum() / down.sum()) for name, (up, down) in Earned.joined(parts).by_user().items()}


def incumbent(given):
    return given.incumbent


def truth(given):
    return given.clicks


def items_at(given, columns):
    return np.where(columns < 0, -1, np.take_along_axis(given.items, np.maximum(columns, 0), axis=1))


def test_the_incumbent_keeps_ranks_and_shows_what_was_logged(chunks):
    assert len(chunks) == 2  # a whole chunk and a part of one
    assert len(chunks[0].users) == REQUESTS_AT_ONCE
    for given in chunks:
        through = passed(WORLD, given, given.incumbent)
        np.testing.assert_array_equal(items_at(given, through.kept), given.logged.pre_ranked)
        np.testing.assert_array_equal(items_at(given, through.shown), given.logged.shown)
        scores = np.take_along_axis(given.ranker, np.maximum(through.kept, 0), axis=1)
        np.testing.assert_array_equal(np.sort(scores, axis=1)[:, ::-1], given.logged.ranked_scores)


def test_the_ranker_says_the_same_of_an_item_whoever_kept_it(chunks):
    """Its rule of what it had not ranked: correlation .92 with the truth, on the scale of what it had."""
    given = chunks[0]
    inside = given.incumbent >= np.sort(given.incumbent, axis=1)[:, -30, None]
    outside = (given.items >= 0) & ~inside
    mean, deviation = (
        getattr(np.ma.array(given.clicks, mask=~inside), moment)(axis=1)[:, None] for moment in ("mean", "std")
    )
    rest = (given.ranker - 0.92 * (given.clicks - mean) / deviation)[outside] / np.sqrt(1 - 0.92**2)
    assert len(rest) > 20_000
    assert abs(rest.mean()) < 0.02
    assert abs(rest.std() - 1) < 0.02
    columns = given.first_added + np.arange(given.items.shape[1])
    fewer = replace(given, items=np.full_like(given.items, -1))  # a channel returns them all again
    again = with_channel(WORLD, DAY, fewer, given.items)
    np.testing.assert_allclose(again.ranker[:, columns][outside], given.ranker[outside], rtol=1e-4, atol=1e-5)


def test_expected_values_against_a_plain_loop(chunks):
    click, purchase = intercepts(WORLD)
    given = chunks[0]
    through = passed(WORLD, given, given.clicks)
    made = earned(WORLD, given, through)
    for row in range(5):
        clicks = purchases = 0.0
        no_click = no_purchase = 1.0
        for position, column in enumerate(through.shown[row], start=1):
            if column < 0:
                continue
            item = np.array([given.items[row, column]])
            logit = click_logits(WORLD, given.users[row : row + 1], item)
            clicked = position**-0.4 / (1 + exp(-(float(logit[0]) + click)))
            bought = clicked / (1 + exp(-(float(purchase_logits(WORLD, logit, item)[0]) + purchase)))
            clicks, purchases = clicks + clicked, purchases + bought
            no_click, no_purchase = no_click * (1 - clicked), no_purchase * (1 - bought)
        assert made.ratios["ec"][0][row] == pytest.approx(100 * clicks, rel=1e-5)
        assert made.ratios["ep"][0][row] == pytest.approx(100 * purchases, rel=1e-5)
        assert np.exp(made.none["uctr"][row]) == pytest.approx(no_click, rel=1e-5)
        assert np.exp(made.none["ucvr"][row]) == pytest.approx(no_purchase, rel=1e-5)


def test_what_is_kept_against_a_plain_loop(chunks):
    given = chunks[1]
    through = passed(WORLD, given, given.incumbent)
    made = earned(WORLD, given, through)
    segment = segments(WORLD)
    for row in range(20):
        there = [column for column in range(given.items.shape[1]) if given.items[row, column] >= 0]
        kept = set(through.kept[row]) - {-1}
        by_ranker = sorted(there, key=lambda column: -given.ranker[row, column])[:10]
        best = sorted(there, key=lambda column: -given.clicks[row, column])[:10]
        tail = [column for column in best if segment[given.items[row, column]] == 2]
        catalogue = click_logits(WORLD, np.full(600, given.users[row]), np.arange(600))
        best_of_all = set(np.argsort(-catalogue)[:10])
        expected = {
            "r10_full": (len(kept.intersection(by_ranker)), 10),
            "best_kept": (len(kept.intersection(best)), 10),
            "best_kept_tail": (len(kept.intersection(tail)), len(tail)),
            "retrieved_of_best": (len(best_of_all & set(given.items[row])), 10),
            "kept_of_best": (len(best_of_all & set(given.items[row][list(kept)])), 10),
            "shown_of_best": (len(best_of_all & set(items_at(given, through.shown)[row])), 10),
        }
        assert {name: tuple(each[row] for each in made.ratios[name]) for name in expected} == expected


def test_users_count_once_and_with_all_their_requests():
    """User 4 comes twice: no click with .5 and .8, so some click with 1 - .4; clicks 60 and 20 of 100 requests each."""
    ratios = {"ec": (np.array([60.0, 10.0, 20.0]), np.ones(3))}
    made = Earned(np.array([4, 2, 4]), ratios, {"uctr": np.log([0.5, 0.9, 0.8])}).by_user()
    assert [each.tolist() for each in made["ec"]] == [[10, 80], [1, 2]]
    np.testing.assert_allclose(made["uctr"][0], [0.1, 0.6])
    assert made["uctr"][1].tolist() == [1, 1]


def test_segments_are_halves_of_popularity_and_not_of_items():
    """Weights 1, 1/2, ... of 600 items with exponent .9: the shortest head with half of them, then until .8."""
    weights = np.arange(1, 601) ** -0.9
    ahead = np.cumsum(weights) - weights
    expected = [int((ahead < share * weights.sum()).sum()) for share in (0.5, 0.8)]
    counts = np.bincount(segments(WORLD))
    assert [counts[0], counts[0] + counts[1]] == expected
    assert segments(WORLD)[np.argmax(items_of(WORLD).log_popularity)] == 0


def test_the_truth_earns_more_than_the_incumbent_and_chance_less(chunks):
    draws = np.random.default_rng(0)
    ours, best, chance = (
        sums(WORLD, chunks, one) for one in (incumbent, truth, lambda given: draws.random(given.items.shape))
    )
    for name in ("ec", "ep", "uctr", "ucvr", "r10_full"):
        assert chance[name] < ours[name] < best[name], name
    assert best["best_kept"] == 1.0
    assert all(best[f"best_kept_{part}"] == 1.0 for part in ("top", "middle", "tail"))
    assert ours["retrieved_of_best"] > ours["kept_of_best"] > ours["shown_of_best"] > 0


def test_the_incumbents_figures_are_those_that_the_world_was_asked_for(chunks):
    ours = sums(WORLD, chunks, incumbent)
    assert ours["ctr"] == pytest.approx(0.075, abs=0.01)
    assert ours["cvr"] == pytest.approx(0.14, abs=0.02)
    up, down = popularity_correlation(WORLD, chunks[0], chunks[0].incumbent)
    assert 0.3 < up.sum() / down.sum() < 0.8
    unbiased = replace(WORLD, pre_ranking_popularity=0.0, quality_popularity=0.0)
    given = next(retrieved(unbiased, DAY))
    up, down = popularity_correlation(unbiased, given, given.incumbent)
    assert abs(up.sum() / down.sum()) < 0.2  # what the channels' choice makes of it


def test_a_perfect_incumbent_cannot_be_bettered_by_the_truth():
    world = replace(WORLD, pre_ranking_correlation=1.0)
    chunks = list(retrieved(world, DAY))
    ours, best = sums(world, chunks, incumbent), sums(world, chunks, truth)
    assert ours == pytest.approx(best, rel=1e-3)  # equal up to ties that float32 makes


def test_an_empty_channel_changes_nothing(chunks):
    wider = [with_channel(WORLD, DAY, given, np.full((len(given.users), 5), -1)) for given in chunks]
    for before, after in zip(chunks, wider, strict=True):
        assert after.items.shape[1] == before.items.shape[1] + 5
        ours, same = (passed(WORLD, given, given.incumbent, quota=3) for given in (before, after))
        np.testing.assert_array_equal(ours.kept, same.kept)
        np.testing.assert_array_equal(ours.shown, same.shown)


def test_where_the_channels_return_everything_no_channel_changes_anything():
    world = replace(WORLD, hot=10_000, coverage=10.0, planted_items=0.0)
    chunks = list(retrieved(world, DAY))
    assert sums(world, chunks, incumbent)["retrieved_of_best"] == 1.0
    wider = [with_channel(world, DAY, given, given.best) for given in chunks]
    assert sums(world, wider, incumbent, quota=10) == sums(world, chunks, incumbent)


def test_a_channel_adds_what_no_other_returned_in_its_order(chunks):
    given = chunks[0]
    wider = with_channel(WORLD, DAY, given, given.best)
    for row in range(20):
        expected = [item for item in given.best[row] if item not in given.items[row]]
        added = wider.items[row, wider.first_added :]
        assert [item for item in added if item >= 0] == expected
        logits = click_logits(WORLD, np.full(10, given.users[row]), given.best[row])
        there = added >= 0
        np.testing.assert_allclose(wider.clicks[row, wider.first_added :][there], logits[there], rtol=1e-5)
        assert (wider.ranker[row, wider.first_added :][~there] == -np.inf).all()


def test_a_quota_lets_the_channels_best_pass_and_no_more_is_kept(chunks):
    given = with_channel(WORLD, DAY, chunks[0], chunks[0].best)
    alone = (given.items >= 0) & (np.arange(given.items.shape[1]) >= given.first_added)
    assert alone.sum() > len(alone)
    worst = np.where(alone, -1e9, given.incumbent)
    for quota in (0, 2):
        through = passed(WORLD, given, worst, quota)
        assert through.kept.shape[1] == 30
        for row in range(50):
            expected = np.flatnonzero(alone[row])[:quota]
            assert sorted(column for column in through.kept[row] if column >= given.first_added) == list(expected)


def test_the_best_items_that_no_channel_finds_are_worth_a_channel(chunks):
    """As an oracle's channel they raise expected clicks, by a quota more than by the incumbent's choice."""
    wider = [with_channel(WORLD, DAY, given, given.best) for given in chunks]
    before, after, by_quota = (
        sums(WORLD, chunks, incumbent), sums(WORLD, wider, incumbent), sums(WORLD, wider, incumbent, quota=5),
    )  # fmt: skip
    assert before["ec"] < after["ec"] < by_quota["ec"]
    assert before["added"] == 0 < after["added"] < by_quota["added"]
    assert after["retrieved_of_best"] == 1.0


def test_the_incumbent_judges_an_added_item_as_it_judges_the_others(chunks):
    """Asked anew of what the channels had returned, its rule has the correlations that its logged scores have."""
    given = chunks[0]
    nothing = replace(given, items=np.full((len(given.users), 1), -1))
    anew = with_channel(WORLD, DAY, nothing, given.items)
    there, scores = given.items >= 0, anew.incumbent[:, -given.items.shape[1] :]
    assert (anew.items[:, 1:] == given.items).all()
    for name, other in (("truth", given.clicks), ("popularity", items_of(WORLD).log_popularity[given.items])):
        logged, ours = (
            np.mean([np.corrcoef(each[row, there[row]], other[row, there[row]])[0, 1] for row in range(len(there))])
            for each in (given.incumbent, scores)
        )
        assert ours == pytest.approx(logged, abs=0.02), name
    assert scores[there].mean() == pytest.approx(0, abs=0.02)
    assert scores[there].std() == pytest.approx(1, abs=0.02)


def test_exploration_slots_are_drawn_as_they_are_logged_and_cost_clicks(chunks):
    """Half of the places drawn; the cost is that of another pre-ranker before the same ranker and the same users.

    The truth would not lose: what is drawn fills the positions that its few categories leave empty.
    """
    world = replace(WORLD, exploration_slots=15)
    for given in retrieved(world, DAY):
        through = passed(world, given, given.incumbent)
        np.testing.assert_array_equal(items_at(given, through.kept), given.logged.pre_ranked)
        np.testing.assert_array_equal(items_at(given, through.ranked), given.logged.ranked)
        np.testing.assert_array_equal(items_at(given, through.shown), given.logged.shown)
    ours, explored = sums(WORLD, chunks, incumbent), sums(world, chunks, incumbent)
    assert all(explored[name] < ours[name] for name in ("ec", "ep", "uctr", "ucvr", "best_kept", "r10_full"))


def test_a_score_that_is_no_number_is_refused(chunks):
    scores = np.full(chunks[0].items.shape, np.nan)
    with pytest.raises(ValueError, match="not a number"):
        passed(WORLD, chunks[0], scores)


def test_a_taste_for_the_planted_segment_is_the_homepage_s_too():
    """Length 1 beside an ordinary taste of length 1: half of the squared taste, so about half of the truly best."""
    wanting = replace(WORLD, planted_taste=1.0)
    before, after = users_of(WORLD), users_of(wanting)
    for name in ("activity", "planted_interest", "age_group"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert not np.array_equal(before.taste_Ud, after.taste_Ud)
    np.testing.assert_allclose(np.linalg.norm(after.taste_Ud, axis=1), 1, atol=1e-6)
    planted = items_of(WORLD).planted
    shares = [planted[top(catalogue_clicks(world, np.arange(WORLD.users)), 10)].mean() for world in (WORLD, wanting)]
    assert shares[0] < 0.2
    assert 0.3 < shares[1] < 0.8
    gain = {}
    for world in (WORLD, wanting):
        given = next(retrieved(world, DAY))
        assert not planted[given.items[given.items >= 0]].any()
        lists = top(catalogue_clicks(world, given.users), 20)
        wider = with_channel(world, DAY, given, lists)
        clicks = [earned(world, one, passed(world, one, one.clicks)).ratios["ec"][0].mean() for one in (given, wider)]
        gain[world.planted_taste] = clicks[1] / clicks[0]
    assert gain[1.0] > gain[0.0] > 1
