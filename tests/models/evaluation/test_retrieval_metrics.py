"""Retrieval metrics and untrained baselines: figures worked by hand, laws, another library's figures."""

import numpy as np
import pytest

from models.batches import Ragged
from models.evaluation import retrieval_metrics, untrained_baselines
from models.evaluation.per_request import averages
from models.evaluation.retrieval_metrics import Targets, measure, summarise
from models.evaluation.untrained_baselines import ItemNeighbours

LARGE = 2**40  # above what a float32 tells apart
CATALOGUE = np.array([10, 20, 30, 40, 50, LARGE + 1])


def targets(rows):
    """From (request, item, group, purchased), ascending by request."""
    request, item, group, purchased = zip(*rows, strict=True)
    group = np.array(group)
    return Targets(
        np.array(request), np.array(item), group == "itg", group == "rtg", group == "etg", np.array(purchased, bool)
    )


def measure_one(wanted, retrieved, catalogue, scores, cutoffs):
    scorer = {"it": lambda start, stop: np.asarray(scores, np.float32)[start:stop]}
    return measure(wanted, retrieved, catalogue, scorer, len(scores), cutoffs)["it"]


def averaged(*arguments):
    """(metric, segment, k, value, support) of every average."""
    return [tuple(row.values()) for row in averages(summarise(*arguments))]


# Request 0 orders 10 20 30 40 50 60, request 1 the other way round (60 stands for LARGE + 1); request 2 has only ties.
SCORES = [[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [0, -0.0, 0, 0, 0, 0]]
RETRIEVED = {"swing": Ragged.of([[10, 20], [50], []]), "hot": Ragged.of([[20, 99], [LARGE + 1], [30]])}
WANTED = targets(
    [
        (0, 30, "itg", False),  # place 3; after 10 and 20 are left out, place 1
        (0, 20, "rtg", True),  # place 2
        (0, 10, "etg", False),  # place 1
        (1, 10, "itg", True),  # place 6; after 50 and 60 are left out, place 4
        (1, 77, "itg", False),  # the catalogue lacks it
        (2, 20, "itg", False),  # a tie: smaller id first, so place 2
        (2, LARGE + 1, "etg", False),  # place 6
    ]
)


def values():
    measured = measure_one(WANTED, RETRIEVED, CATALOGUE, SCORES, (1, 2, 4, 7))
    popularity = ["top", "top", "middle", "tail", "tail", "middle", "tail"]
    cold = np.array([True, False, False])
    rows = list(averages(summarise(WANTED, measured, popularity, cold)))
    found = {(row["metric"], row["segment"], row["k"]): (row["value"], row["support"]) for row in rows}
    assert len(found) == len(rows)
    return found


def test_values_counted_by_hand():
    found = values()
    assert {k for _, _, k in found} == {0, 1, 2, 4}  # 7 is above the catalogue's six items
    assert [found["inc", "all", k] for k in (1, 2, 4)] == [(0.0, 4), (0.25, 4), (0.5, 4)]
    assert [found["inc_filtered", "all", k] for k in (1, 2, 4)] == [(0.25, 4), (0.5, 4), (0.75, 4)]
    assert [found["base", "all", k] for k in (1, 2, 4)] == [(0.0, 5), (0.4, 5), (0.6, 5)]
    assert [found["exposure", "all", k] for k in (1, 2, 4)] == [(0.5, 2), (0.5, 2), (0.5, 2)]
    assert [found["order", "all", k] for k in (1, 2, 4)] == [(0.0, 2), (0.5, 2), (0.5, 2)]
    # Top 1: 10 of {10, 20}, 60 of {50, 60}, 10 of {30}. Top 2: 2, 2, 0. Top 4: 2, 2 and 1, the tie's third.
    assert [found["overlap", "all", k][0] for k in (1, 2, 4)] == pytest.approx([2 / 3, 2 / 3, 5 / 12])
    assert found["in_catalogue", "all", 0] == (0.75, 4)


def test_a_mean_over_requests_gives_each_request_one_say():
    found = values()
    assert found["inc_filtered_per_request", "all", 4] == (pytest.approx((1 + 0.5 + 1) / 3), 3)
    assert found["base_per_request", "all", 2] == (pytest.approx((0.5 + 0 + 1) / 3), 3)
    assert found["exposure_per_request", "all", 1] == (0.5, 2)


def test_segments_split_targets_by_item_and_requests_by_user():
    found = values()
    assert [found["inc", part, 4] for part in ("top", "middle", "tail")] == [(1.0, 1), (1.0, 1), (0.0, 2)]
    assert found["inc", "cold_start", 4] == (1.0, 1)
    assert found["inc", "active", 4] == (pytest.approx(1 / 3), 3)
    assert found["order", "middle", 4] == (None, 0)
    assert found["overlap", "cold_start", 4] == (0.5, 1)


def world(seed, requests=40, items=60):
    random = np.random.default_rng(seed)
    catalogue = np.sort(random.choice(2**45, items, replace=False))
    rows = np.sort(random.integers(0, requests, 5 * requests))
    itg, rtg, etg, purchased = random.random((4, len(rows))) < 0.5
    wanted = Targets(rows, random.choice(catalogue, len(rows)), itg, rtg, etg, purchased)
    retrieved = {"hot": Ragged.of([random.choice(catalogue, random.integers(0, 20), False) for _ in range(requests)])}
    scores = random.integers(-5, 5, (requests, items)).astype(np.float32)  # many ties
    return random, catalogue, wanted, retrieved, scores


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_loop(seed, monkeypatch):
    monkeypatch.setattr(retrieval_metrics, "_REQUESTS_AT_ONCE", 7)
    _, catalogue, wanted, retrieved, scores = world(seed)
    measured = measure_one(wanted, retrieved, catalogue, scores, (3, 10, 25))
    for target, (row, item) in enumerate(zip(wanted.rows, wanted.item_ids, strict=True)):
        order = [at for _, at in sorted(zip(-scores[row], catalogue, strict=True))]
        there = set(retrieved["hot"].take(np.array([row])).values)
        left = [at for at in order if at not in there]
        for n, k in enumerate((3, 10, 25)):
            assert measured.hits[target, n] == (item in order[:k])
            assert measured.filtered_hits[target, n] == (item in left[:k])
            assert measured.overlap[row, n] == len(there & set(order[:k])) / k
        assert measured.left[row] == len(left)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_retrieved_means_nothing_filtered(seed):
    _, catalogue, wanted, _, scores = world(seed)
    measured = measure_one(wanted, {}, catalogue, scores, (3, 10, 25))
    np.testing.assert_array_equal(measured.hits, measured.filtered_hits)
    assert not measured.overlap.any()


def test_the_order_of_requests_and_targets_changes_nothing():
    random, catalogue, wanted, retrieved, scores = world(1)
    popularity, cold = random.choice(["top", "middle", "tail"], len(wanted.rows)), random.random(len(scores)) < 0.5
    first = sorted(
        averaged(wanted, measure_one(wanted, retrieved, catalogue, scores, (3, 10)), popularity, cold), key=str
    )
    moved = random.permutation(len(scores))  # request moved[n] comes n-th
    place = np.argsort(moved)
    order = np.lexsort((random.random(len(wanted.rows)), place[wanted.rows]))
    columns = {name: column[order] for name, column in vars(wanted).items()} | {"rows": place[wanted.rows][order]}
    again = Targets(**columns)
    lists = {"hot": retrieved["hot"].take(moved)}
    measured = measure_one(again, lists, catalogue, scores[moved], (3, 10))
    second = sorted(averaged(again, measured, popularity[order], cold[moved]), key=str)
    assert [row[:3] for row in first] == [row[:3] for row in second]
    np.testing.assert_allclose(
        np.array([(row[3], row[4]) for row in first], float), np.array([(row[3], row[4]) for row in second], float)
    )


def test_equals_tfrs_factorized_top_k():
    import tensorflow as tf
    import tensorflow_recommenders as tfrs  # after models, which chooses the Keras that it needs

    random = np.random.default_rng(3)
    users, items = random.normal(size=(50, 8)).astype(np.float32), random.normal(size=(200, 8)).astype(np.float32)
    catalogue, row = np.arange(1000, 1200), np.arange(50)
    wanted = catalogue[random.integers(0, 200, 50)]
    theirs = tfrs.metrics.FactorizedTopK(
        tf.data.Dataset.from_tensor_slices((catalogue, items)).batch(64), ks=(5, 20, 100)
    )
    theirs.update_state(users, items[wanted - 1000], true_candidate_ids=tf.constant(wanted[:, None]))
    ours = measure_one(
        targets([(r, i, "itg", False) for r, i in zip(row, wanted, strict=True)]),
        {},
        catalogue,
        users @ items.T,
        (5, 20, 100),
    )
    np.testing.assert_allclose(ours.hits.mean(axis=0), [float(value) for value in theirs.result()], atol=1e-6)


def test_scores_and_catalogues_that_cannot_be_ordered_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        measure_one(WANTED, {}, CATALOGUE[::-1], SCORES, (1,))
    with pytest.raises(ValueError, match="not a number"):
        measure_one(WANTED, {}, CATALOGUE, [[float("nan")] * 6] * 3, (1,))


def test_random_finds_a_target_with_probability_k_over_c():
    requests, items = 20_000, 60
    random = np.random.default_rng(0)
    catalogue = np.sort(random.choice(2**45, items, replace=False))
    keys = random.integers(0, 2**63, requests).astype(np.uint64)
    wanted = Targets(np.arange(requests), random.choice(catalogue, requests), *[np.ones(requests, bool)] * 4)
    retrieved = {"hot": Ragged.of([catalogue[:20]] * requests)}
    left = ~np.isin(wanted.item_ids, catalogue[:20])
    wanted = Targets(**{name: column[left] for name, column in vars(wanted).items()})
    scorer = untrained_baselines.random(keys, catalogue)
    found = measure(wanted, retrieved, catalogue, {"random": scorer}, requests, (6, 30))["random"]
    expected = {
        (row["metric"], row["k"]): row["value"] for row in averages(retrieval_metrics.expected_at_random(wanted, found))
    }
    assert expected == {
        ("inc_expected", 6): pytest.approx(0.1),
        ("inc_expected", 30): pytest.approx(0.5),
        ("inc_filtered_expected", 6): pytest.approx(0.15),
        ("inc_filtered_expected", 30): pytest.approx(0.75),
    }
    spread = 4 * 0.5 / np.sqrt(len(wanted.rows))  # four standard errors
    np.testing.assert_allclose(found.hits.mean(axis=0), [0.1, 0.5], atol=spread)
    np.testing.assert_allclose(found.filtered_hits.mean(axis=0), [0.15, 0.75], atol=spread)
    np.testing.assert_array_equal(scorer(5, 9), scorer(0, 20)[5:9])


# Users 1: a b, 2: a b c, 3: c d (a twice for user 1). users(a) = users(b) = users(c) = 2, users(d) = 1.
USERS, COLUMNS = np.array([1, 1, 1, 2, 2, 2, 3, 3]), np.array([0, 1, 0, 0, 1, 2, 2, 3])


def test_item_neighbours_by_hand():
    near = ItemNeighbours.fit(USERS, COLUMNS, 5, neighbours=2, longest=50)
    assert near.columns.tolist() == [[1, 2], [0, 2], [3, 0], [2, 0], [0, 0]]
    np.testing.assert_allclose(near.weights, [[1, 0.5], [1, 0.5], [2**-0.5, 0.5], [2**-0.5, 0], [0, 0]])


def test_a_long_user_counts_with_the_last_items():
    near = ItemNeighbours.fit(np.zeros(4, int), np.array([0, 1, 2, 1]), 3, neighbours=2, longest=2)
    assert near.weights.tolist() == [[0, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_item_neighbours_equal_a_dense_product(seed, monkeypatch):
    monkeypatch.setattr(untrained_baselines, "_PAIRS_AT_ONCE", 200)
    random = np.random.default_rng(seed)
    users, columns = random.integers(0, 80, 600), random.integers(0, 40, 600)
    dense = np.zeros((80, 41))
    dense[users, columns] = 1
    shared = dense.T @ dense
    counts = np.maximum(np.diag(shared), 1)
    similarity = shared / np.sqrt(np.outer(counts, counts))
    np.fill_diagonal(similarity, 0)
    near = ItemNeighbours.fit(users, columns, 41, neighbours=10, longest=1000)
    np.testing.assert_allclose(near.weights, -np.sort(-similarity, axis=1)[:, :10], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(similarity, near.columns, 1), near.weights, atol=1e-6)


def test_orders_of_the_untrained_rows_by_hand():
    catalogue = np.array([10, 20, 30, 40, LARGE])  # a b c d, and one nobody used
    near = ItemNeighbours.fit(USERS, COLUMNS, 5, neighbours=2, longest=50)
    found = untrained_baselines.scorers(
        np.arange(2, dtype=np.uint64),
        Ragged.of([[40], []]),
        {"swing": Ragged.of([[40, 77], [LARGE, 10]])},
        catalogue,
        np.array([1, 3, 3, 0, 9]),
        near,
    )
    assert set(found) == {"random", "hot_items", "item_cf_twice", "swing_deeper"}
    order = {
        name: catalogue[np.argsort(-scorer(0, 2), axis=1, kind="stable")].tolist() for name, scorer in found.items()
    }
    hot = [LARGE, 20, 30, 10, 40]
    assert order["hot_items"] == [hot, hot]
    # From d to c (.71); from c back to d (.71 * .71) and to a (.71 * .5). Then hot. Without a history: hot.
    assert order["item_cf_twice"] == [[40, 10, LARGE, 20, 30], hot]
    # The list d, then its neighbour c, then hot. The list LARGE a, then a's neighbours b (1) and c (.5), then hot.
    assert order["swing_deeper"] == [[40, 30, LARGE, 20, 10], [LARGE, 10, 20, 30, 40]]


def test_two_orders_fused_by_hand():
    """Ranks 1 2 3 and 3 1 2; of two requests the first is asked for alone."""
    scorers = [lambda start, stop, own=own: np.array(own)[start:stop] for own in ([[3, 2, 1], [0, 0, 0]],
                                                                                  [[1, 3, 2], [0, 0, 0]])]  # fmt: skip
    wanted = [0.75 / 61 + 0.25 / 63, 0.75 / 62 + 0.25 / 61, 0.75 / 63 + 0.25 / 62]
    np.testing.assert_allclose(untrained_baselines.fused(*scorers, 0.25)(0, 1), [wanted], rtol=1e-6)
    equal = [1 / 61, 1 / 62, 1 / 63]  # equal scores: the smaller id first
    np.testing.assert_allclose(untrained_baselines.fused(*scorers, 0.25)(1, 2), [equal], rtol=1e-6)


def test_from_nothing_nothing_is_reached():
    near, none = ItemNeighbours.fit(USERS, COLUMNS, 5, neighbours=2, longest=50), np.zeros(0, np.int64)
    reached = near.spread(none, none, np.zeros(0), requests=3)
    assert reached.dtype == np.float64
    assert reached.tolist() == np.zeros((3, 5)).tolist()


def test_spreading_in_pieces_changes_nothing(monkeypatch):
    near = ItemNeighbours.fit(USERS, COLUMNS, 5, neighbours=2, longest=50)
    lists, catalogue = Ragged.of([[10], [20, 30], [], [40], [30]]), np.array([10, 20, 30, 40, 50])
    scorer = untrained_baselines.read_deeper(lists, catalogue, near, np.arange(5))
    whole = scorer(0, 5)
    monkeypatch.setattr(untrained_baselines, "_SPREAD_AT_ONCE", 2)
    np.testing.assert_array_equal(np.argsort(-scorer(0, 5)), np.argsort(-whole))
