"""Hybrid samples: levels and orders by hand, and their laws over many drawn requests."""

import re
from collections import defaultdict
from datetime import timedelta
from math import log2

import pytest

from jobs import build_hccp_samples as job
from jobs import build_user_histories, label_target_groups
from schemas.table import ContractError
from schemas.tables.samples import hccp_samples
from tests.support.landed import flags, put, rows_of
from tests.support.worked_example import DAY, at

NEXT = DAY + timedelta(days=1)


def prepared(spark, root, **logs) -> dict[str, dict]:
    """Land the logs, label, and return the sample rows by request_id."""
    for name in ("requests", "retrievals", "stages", "impressions"):
        put(spark, root, name, DAY, logs[name])
    for day in (DAY, NEXT):
        put(spark, root, "conversions", day, [row for row in logs["conversions"] if row[4].date() == day])
    label_target_groups.main(flags(label_target_groups, root, DAY), DAY)
    build_user_histories.main(flags(build_user_histories, root, DAY), DAY)
    job.main(flags(job, root, DAY, "--seed", "3"), DAY)
    return sampled(spark, root)


def sampled(spark, root) -> dict[str, dict]:
    return {
        row[0]: dict(zip(hccp_samples.names, row, strict=True)) for row in rows_of(spark, root, "hccp_samples", DAY)
    }


def acted(n, user, item, action, time, scenario="elsewhere", request=None):
    return (f"e{n}", user, item, action, time, scenario, request, time)


def shown(request, *items):
    return [(request, item, place, at("10:00:01")) for place, item in enumerate(items, 1)]


@pytest.fixture(scope="module")
def by_hand_root(tmp_path_factory):
    return tmp_path_factory.mktemp("by_hand")


@pytest.fixture(scope="module")
def by_hand(spark, by_hand_root):
    """a: every level. b: re_ranking stands in, no pre_ranking row. c: no stage row. d: no impression.
    e: no retrieval. f: an empty ranking."""
    stages = [
        ("a", "pre_ranking", [1, 2, 3, 4, 5, 6, 7], []),
        ("a", "ranking", [5, 1, 2, 6, 3], []),
        ("b", "re_ranking", [2, 1], []),
        ("d", "ranking", [1, 2], []),
        ("e", "ranking", [1, 2], []),
        ("f", "pre_ranking", [3], []),
        ("f", "ranking", [], []),
    ]
    conversions = [
        acted(0, 1, 1, "click", at("10:05"), "homepage", "a"),
        acted(1, 1, 2, "purchase", at("10:06"), "homepage"),  # in the scenario, on a shown item
        acted(2, 1, 2, "favorite", at("10:07"), "homepage", "a"),
        acted(3, 1, 3, "purchase", at("10:08"), "search"),  # another scenario, names nothing: attributed only
        acted(4, 1, 8, "cart", at("10:09"), "homepage"),  # in the scenario, but not shown
        acted(5, 1, 6, "click", at("10:10"), "homepage", "a"),  # not shown, but names the request
        acted(6, 2, 1, "cart", at("11:00"), "homepage", "b"),
    ]
    return prepared(
        spark,
        by_hand_root,
        requests=[(name, user, "homepage", at("10:00")) for user, name in enumerate("abcdef", 1)],
        retrievals=[
            ("a", "hot", [9, 8, 1, 2, 3, 20], []),
            ("a", "swing", [5, 11, 4, 6, 7, 8], []),
            *((name, "hot", [1, 2, 3], []) for name in "bcdf"),
        ],
        stages=stages,
        impressions=shown("a", 3, 1, 2, 20) + shown("b", 1, 2) + shown("c", 1) + shown("f", 1),
        conversions=conversions,
    )


def test_levels_and_orders_by_hand(by_hand):
    """Shown 1, 2, 3, 20; ranking 5 1 2 6 3. 2 was bought; 1 clicked; 3 and 20 got no in-scenario action, 20 was not
    ranked. Ranked and not shown: 5, 6. Retrieved and dropped by pre-ranking: 9 (place 1), 8 (2), 11 (2)."""
    row = by_hand["a"]
    assert row["item_ids"] == (2, 1, 3, 20, 5, 6, 9, 8, 11)
    assert row["levels"] == ("purchased", "clicked", "exposed", "exposed", "ranked", "ranked") + ("filtered",) * 3
    assert row["teacher_ranks"] == tuple(range(1, 10))
    assert row["actions"] == ("purchase", "click", "purchase", "", "", "click", "", "cart", "")
    assert row["in_scenario_actions"] == ("purchase", "click", "", "", "", "click", "", "", "")
    assert row["sampling_weights"] == (1.0,) * 9


def test_re_ranking_stands_in_and_nothing_is_filtered_without_pre_ranking(by_hand):
    assert by_hand["b"]["item_ids"] == (1, 2)
    assert by_hand["b"]["levels"] == ("clicked", "exposed")


def test_only_labelled_requests_with_impressions_and_a_ranking(by_hand):
    assert set(by_hand) == {"a", "b", "f"}


def test_an_empty_ranking_gives_no_ranked_item(by_hand):
    """1 was shown, 3 passed pre-ranking, 2 was dropped."""
    assert by_hand["f"]["item_ids"] == (1, 2)
    assert by_hand["f"]["levels"] == ("exposed", "filtered")


def test_a_request_without_a_history_is_one_clear_error(spark, by_hand, by_hand_root):
    """Late requests are labelled, and nobody has built the histories since."""
    put(spark, by_hand_root, "user_histories", DAY, [("b", [], [], [])])
    with pytest.raises(ContractError) as fault:
        job.main(flags(job, by_hand_root, DAY), DAY)
    assert re.fullmatch(
        r"samples/hccp_samples of 2024-03-01 was not written: user_histories has no row of request [a-f], "
        r"which was logged later: run build_user_histories again",
        str(fault.value),
    )


SHADOWED = {
    "a": {  # every item of its own
        "pre_ranking": ([1, 2, 3, 4, 5, 6], []),
        "ranking": ([2, 1, 3, 4, 5, 6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
        "shadow_ranking": ([9, 8, 6, 7, 11], [0.95, 0.7, 0.65, 0.5, 0.1]),
    },
    "b": {"pre_ranking": ([1, 2], []), "ranking": ([2, 1], []), "shadow_ranking": ([4, 3], [0.9, 0.1])},
    "c": {"ranking": ([1, 2], [0.9, 0.2]), "shadow_ranking": ([3], [0.5])},
    "d": {"pre_ranking": ([1, 2], []), "re_ranking": ([1, 2], [0.9, 0.2]), "shadow_ranking": ([3], [0.5])},
    "e": {"pre_ranking": ([1, 2], []), "ranking": ([2, 1], [0.9, 0.2])},
    "f": {
        "pre_ranking": ([1, 2], []),
        "ranking": ([2, 1], [0.9, 0.2]),
        "shadow_ranking": (list(range(100, 105)), [0.1] * 5),
    },
}


def shadowed_funnel(stages: dict) -> dict:
    """The logs of requests with these stages; each exposed 1, a also 3, which was clicked."""
    retrieved = {name: [1, 2, 3, 4] for name in "bcde"} | {"a": list(range(1, 13)), "f": [1, 2, *range(100, 150)]}
    return {
        "requests": [(name, user, "homepage", at("10:00")) for user, name in enumerate(stages, 1)],
        "retrievals": [(name, "hot", retrieved[name], []) for name in stages],
        "stages": [(name, stage, *lists) for name, logged in stages.items() for stage, lists in logged.items()],
        "impressions": [row for name in stages for row in shown(name, *([1, 3] if name == "a" else [1]))],
        "conversions": [acted(0, 1, 3, "click", at("10:05"), "homepage", "a")],
    }


@pytest.fixture(scope="module")
def shadowed(spark, tmp_path_factory):
    return prepared(spark, tmp_path_factory.mktemp("shadowed"), **shadowed_funnel(SHADOWED))


def leveled(row: dict) -> list[tuple]:
    return list(zip(row["item_ids"], row["levels"], strict=True))


def test_a_shadow_item_is_placed_among_the_ranked_by_the_rankers_score(shadowed):
    """3 was clicked, 1 shown. 9's .95 beats them all, but feedback comes first; 8 ties with 3, the ranking's third, and
    beats 4; 7 ties with 5; 11 beats none. 6 passed pre-ranking: it is ranked. Left of what was dropped: 10, 12."""
    assert leveled(shadowed["a"]) == [
        (3, "clicked"), (1, "exposed"), (9, "shadow"), (2, "ranked"), (8, "shadow"), (4, "ranked"), (5, "ranked"),
        (7, "shadow"), (6, "ranked"), (11, "shadow"), (10, "filtered"), (12, "filtered"),
    ]  # fmt: skip
    assert shadowed["a"]["teacher_ranks"] == tuple(range(1, 13))
    assert shadowed["a"]["sampling_weights"] == (1.0,) * 12


def test_without_scores_to_compare_shadow_items_come_behind_the_ranked(shadowed):
    """b: the ranking has none. d: re_ranking stands in, and its scores may be another model's."""
    assert leveled(shadowed["b"]) == [(1, "exposed"), (2, "ranked"), (4, "shadow"), (3, "shadow")]
    assert leveled(shadowed["d"]) == [(1, "exposed"), (2, "ranked"), (3, "shadow"), (4, "filtered")]


def test_a_shadow_item_needs_no_pre_ranking_row(shadowed):
    assert leveled(shadowed["c"]) == [(1, "exposed"), (3, "shadow"), (2, "ranked")]


def test_a_shadow_item_is_not_drawn_as_filtered_too(shadowed):
    """50 were dropped, 5 of them scored: 40 of 45 are drawn, each for 45 / 40, and the shadow items for themselves."""
    row = shadowed["f"]
    items = {level: [item for item, one in leveled(row) if one == level] for level in ("shadow", "filtered")}
    assert items["shadow"] == [100, 101, 102, 103, 104]
    assert len(items["filtered"]) == 40
    assert set(items["filtered"]) <= set(range(105, 150))
    weights = dict(zip(row["item_ids"], row["sampling_weights"], strict=True))
    assert {weights[item] for item in items["shadow"]} == {1.0}
    assert {weights[item] for item in items["filtered"]} == {1.125}


def test_requests_without_the_stage_have_the_rows_of_a_date_without_it(spark, shadowed, tmp_path):
    """e has no shadow row among others that do; then nobody has one, and what was shadow is ranked by nothing."""
    none = {name: {stage: lists for stage, lists in logged.items() if stage != "shadow_ranking"}
            for name, logged in SHADOWED.items()}  # fmt: skip
    plain = prepared(spark, tmp_path, **shadowed_funnel(none))
    assert plain["e"] == shadowed["e"]
    assert leveled(plain["e"]) == [(1, "exposed"), (2, "ranked"), (3, "filtered"), (4, "filtered")]
    assert {level for row in plain.values() for level in row["levels"]} == {"clicked", "exposed", "ranked", "filtered"}
    ranked = {name: [item for item, level in leveled(row) if level == "ranked"] for name, row in plain.items()}
    assert ranked == {
        name: [item for item, level in leveled(row) if level == "ranked"] for name, row in shadowed.items()
    }


def probabilities(weights: list[float], count: int) -> list[float]:
    """min(1, c w) that sum to count, by raising the number of capped items until none is above 1."""
    if len(weights) <= count:
        return [1.0] * len(weights)
    for capped in range(count):
        factor = (count - capped) / sum(weights[capped:])
        if factor * weights[capped] <= 1:
            return [1.0] * capped + [factor * weight for weight in weights[capped:]]
    raise AssertionError


REQUESTS = 400


@pytest.fixture(scope="module")
def drawn(spark, tmp_path_factory):
    """400 requests with one funnel: 300 retrieved, 150 through pre-ranking, 80 through ranking, 5 shown."""
    root = tmp_path_factory.mktemp("drawn")
    names = [f"q{n:03d}" for n in range(REQUESTS)]
    rows = prepared(
        spark,
        root,
        requests=[(name, n, "homepage", at("10:00")) for n, name in enumerate(names)],
        retrievals=[(name, channel, list(items), []) for name in names
                    for channel, items in (("hot", range(200)), ("swing", range(299, 99, -1)))],
        stages=[(name, stage, list(range(count)), []) for name in names
                for stage, count in (("pre_ranking", 150), ("ranking", 80))],
        impressions=[row for name in names for row in shown(name, 0, 1, 2, 3, 4)],
        conversions=[],
    )  # fmt: skip
    return root, rows


def test_draws_have_their_size_and_order(drawn):
    _, rows = drawn
    assert len(rows) == REQUESTS
    for row in rows.values():
        ranked = [item for item, level in zip(row["item_ids"], row["levels"], strict=True) if level == "ranked"]
        filtered = [item for item, level in zip(row["item_ids"], row["levels"], strict=True) if level == "filtered"]
        assert row["item_ids"][:5] == (0, 1, 2, 3, 4)
        assert len(set(ranked)) == 10
        assert ranked == sorted(ranked)
        assert set(ranked) <= set(range(5, 80))
        assert len(set(filtered)) == 40
        assert set(filtered) <= set(range(150, 300))
        # item i has place i + 1 in hot (i < 200) and 300 - i in swing
        places = {i: min([300 - i] + ([i + 1] if i < 200 else [])) for i in filtered}
        assert filtered == sorted(filtered, key=lambda i: (places[i], i))


def test_weights_are_the_inverse_inclusion_probabilities(drawn):
    """filtered: 150 available, 40 drawn, 3.75. ranked: capped proportional to 1 / log2(rank + 1), ranks 6 to 80."""
    wanted = probabilities([1 / log2(rank + 1) for rank in range(6, 81)], 10)
    assert sum(wanted) == pytest.approx(10)
    for row in drawn[1].values():
        for item, level, weight in zip(row["item_ids"], row["levels"], row["sampling_weights"], strict=True):
            if level == "filtered":
                assert weight == pytest.approx(3.75)
            elif level == "ranked":
                assert weight == pytest.approx(1 / wanted[item - 5], rel=1e-6)


def test_items_are_included_as_often_as_their_probability_says(drawn):
    """Over 400 requests the share of each block of ranks is within 4 standard deviations of what was aimed at."""
    wanted = probabilities([1 / log2(rank + 1) for rank in range(6, 81)], 10)
    taken = defaultdict(int)
    for row in drawn[1].values():
        for item, level in zip(row["item_ids"], row["levels"], strict=True):
            if level == "ranked":
                taken[item - 5] += 1
    for start in range(0, 75, 15):
        block = range(start, start + 15)
        mean = REQUESTS * sum(wanted[n] for n in block)
        spread = (REQUESTS * sum(wanted[n] * (1 - wanted[n]) for n in block)) ** 0.5
        assert abs(sum(taken[n] for n in block) - mean) < 4 * spread


def test_the_seed_decides_the_draw(spark, drawn):
    root, first = drawn
    job.main(flags(job, root, DAY, "--seed", "3"), DAY)
    assert sampled(spark, root) == first
    job.main(flags(job, root, DAY, "--seed", "4"), DAY)
    assert sampled(spark, root) != first
