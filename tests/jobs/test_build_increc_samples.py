"""IncRec's samples: order, ties and caps of the three groups, counted by hand."""

import pytest

from jobs import build_increc_samples as job
from tests.support.landed import flags, put, rows_of
from tests.support.worked_example import DAY, at

ETG, RTG, ITG = "ETG", "RTG", "ITG"


def label(item: int, group: str, action: str | None = None, clock: str = "11:00", channels=(), request: str = "r1"):
    """A row of target_groups."""
    time, scenario = (at(clock), "homepage") if action else (None, None)
    return request, 1, item, group, action, time, scenario, int(action is not None), list(channels), None


def built(spark, root, labels: list[tuple]) -> dict[str, dict]:
    """The samples by request_id, of requests r1 to r3, of which r1 has a history."""
    requests = [(name, 1, "homepage", at("10:00")) for name in ("r1", "r2", "r3")]
    put(spark, root, "requests", DAY, requests)
    put(spark, root, "target_groups", DAY, labels)
    histories = [
        ("r1", [90, 91], ["cart", "click"], [at("08:00"), at("09:00")]),
        ("r2", [], [], []),
        ("r3", [], [], []),
    ]
    put(spark, root, "user_histories", DAY, histories)
    written = job.main(flags(job, root, DAY), DAY)["rows_written"]
    rows = {
        row[0]: dict(zip(job.increc_samples.names, row, strict=True))
        for row in rows_of(spark, root, "increc_samples", DAY)
    }
    assert len(rows) == written
    return rows


@pytest.fixture(scope="module")
def drawn(spark, tmp_path_factory):
    return built(
        spark,
        tmp_path_factory.mktemp("root"),
        [
            # r1 RTG: strength first, whatever the time; then the earliest; then the smaller item.
            label(7, RTG, "click", "10:01"),
            label(6, RTG, "purchase", "11:30"),
            label(5, RTG, "purchase", "11:00"),
            label(9, RTG, "favorite", "10:05"),
            label(8, RTG, "cart", "10:05"),
            label(4, RTG, "purchase", "11:30"),
            # r1 ETG: acted items first, then the others by item.
            *(label(item, ETG) for item in range(30, 19, -1)),
            label(7, ETG, "click", "10:01"),
            # r1 ITG, and an RTG item that the channel `increc` alone returned.
            label(2, ITG, "click", "10:30"),
            label(3, RTG, "click", "10:10", ["increc"]),
            label(1, RTG, "click", "10:20", ["hot", "increc"]),
            # r2: exposed only.
            label(20, ETG, request="r2"),
            # r3: more than are kept.
            *(label(item, RTG, "click", request="r3") for item in range(25, 0, -1)),
            *(label(item, ITG, "click", f"11:{50 - item:02}", request="r3") for item in range(1, 24)),
        ],
    )


def test_a_request_without_an_acted_item_has_no_row(drawn):
    assert sorted(drawn) == ["r1", "r3"]


def test_items_are_ordered_by_strength_then_time_then_item(drawn):
    row = drawn["r1"]
    assert row["rtg_item_ids"] == (5, 4, 6, 8, 9, 7, 1)
    assert row["rtg_actions"] == ("purchase", "purchase", "purchase", "cart", "favorite", "click", "click")


def test_exposed_items_without_an_action_come_last_and_ten_are_kept(drawn):
    row = drawn["r1"]
    assert row["etg_item_ids"] == (7, 20, 21, 22, 23, 24, 25, 26, 27, 28)
    assert row["etg_actions"] == ("click", *[""] * 9)


def test_what_increc_alone_retrieved_counts_as_itg(drawn):
    row = drawn["r1"]
    assert (row["itg_item_ids"], row["itg_actions"]) == ((3, 2), ("click", "click"))


def test_twenty_rtg_and_twenty_itg_items_are_kept(drawn):
    row = drawn["r3"]
    assert row["rtg_item_ids"] == tuple(range(1, 21))  # of equal strength and time, the smaller items
    assert row["itg_item_ids"] == tuple(range(23, 3, -1))  # the greater the item, the earlier it was acted on
    assert row["etg_item_ids"] == row["etg_actions"] == ()


def test_a_row_has_the_request_and_its_history(drawn):
    row = drawn["r1"]
    assert (row["user_id"], row["scenario"], row["request_time"]) == (1, "homepage", at("10:00"))
    assert (row["history_item_ids"], row["history_actions"]) == ((90, 91), ("cart", "click"))
    assert drawn["r3"]["history_item_ids"] == ()
