"""jobs/report/stories: the worked example told by request, by user and by item, each figure counted by hand."""

from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.report.stories import item, request, user, words
from jobs.report.stories.attribution import Rule, belongs_to
from schemas.table import MissingDataError
from tests.support import tiny_root, worked_example
from tests.support.terminal import view
from tests.support.tiny_root import BEFORE, DAY
from tests.support.worked_example import at


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    tiny_root.put_all(folder)
    second = [row for row in worked_example.CONVERSIONS if row[4].date() > DAY]
    tiny_root.put_delta(folder, "conversions", DAY + timedelta(days=1), second)
    tiny_root.put_delta(folder, "requests", DAY + timedelta(days=1), [("r9", 1, "homepage", at("08:00", 2))])
    return str(folder)


def split_view(root: str, *arguments: str) -> list[list[str]]:
    return [line.split() for line in view(root, *arguments).splitlines()]


def test_a_request_is_told_from_its_lists_to_its_groups(root):
    told = request.tell(root, "r1")
    assert (told["user_id"], told["scenario"], told["target"], told["date"]) == (1, "homepage", True, DAY)
    assert [(each["channel"], each["item_ids"]) for each in told["channels"]] == [("hot", [3, 4]), ("swing", [1, 2, 3])]
    assert told["stages"]["ranking"] == [3, 1]
    assert [(each["item_id"], each["position"]) for each in told["impressions"]] == [(3, 1), (1, 2), (3, 5)]
    assert {(each["group"], each["item_id"]): each["why"] for each in told["groups"]} == {
        ("ETG", 3): "shown at position 1; purchased 90 minutes later in search (2 actions in all)",
        ("ETG", 1): "shown at position 2; no action followed",
        ("RTG", 3): "hot had it at place 1, swing had it at place 3; purchased 90 minutes later in search "
        "(2 actions in all)",
        ("RTG", 2): "swing had it at place 2; purchased 2 hours later in elsewhere",  # 2 h 30 min
        ("ITG", 9): "no channel had it; put into the cart 2 hours later in elsewhere",
    }


def test_each_conversion_goes_where_the_worked_example_says(root):
    """Among them those of the next day: 8 belongs to r2, 7 falls out of its window but is in that of r9."""
    owners = {
        each["event_id"]: (each["belongs_to"], each["why"])
        for name in ("r1", "r2")
        for each in request.tell(root, name)["afterwards"]
    }
    assert owners == {
        "e0": (["r1"], "it names r1"),
        "e1": (["r1"], "the latest before it"),
        "e2": (["r1"], "the latest before it"),
        "e3": (["r2"], "the latest before it"),
        "e6": (["r1"], "it names r1"),
        "e4": (["r9"], "the latest before it"),
    }


def test_the_rule_has_its_bounds():
    rule = Rule(timedelta(hours=24), "last_request", ("homepage",), recorded=True)
    targets = [
        {"request_id": "a", "request_time": at("10:00")},
        {"request_id": "b", "request_time": at("12:00")},
    ]

    def owners(clock, named=None, day=1, rule=rule):
        return belongs_to({"event_time": at(clock, day), "request_id": named}, targets, rule)[0]

    assert owners("09:59:59") == []
    assert owners("09:55", named="a") == ["a"]  # the skew of five minutes is inclusive
    assert owners("09:54:59", named="a") == []
    assert owners("10:00") == ["a"]
    assert owners("12:00") == ["b"]
    assert owners("12:30", named="a") == ["a"]
    assert owners("11:59:59", day=2) == ["b"]
    assert owners("12:00", day=2) == []
    every = Rule(timedelta(hours=24), "every_request", ("homepage",), recorded=True)
    assert owners("12:00", rule=every) == ["a", "b"]


def test_a_request_on_one_screen(root):
    shown = split_view(root, "--request", "r1")
    assert ["hot", "2", "1", "1", "1", "1", "1"] in shown  # 3 and 4: pre-ranking kept 3, as all behind it
    assert ["swing", "3", "3", "2", "2", "2", "2"] in shown
    assert ["(all)", "4", "3", "2", "2", "2", "2"] in shown
    assert ["(no", "channel)", "0", "0", "0", "0", "1"] in shown  # 9 was acted on
    assert ["1", "3", "hot", "1,", "swing", "3", "1", "purchase", "in", "search"] in shown
    assert ["ETG", "2", "items", "shown;", "1", "of", "them", "acted", "on"] in shown


def test_what_a_request_lacks_is_said(root):
    text = "\n".join(" ".join(line) for line in split_view(root, "--request", "r4"))
    assert "No list of any channel was logged: the request cannot be labelled." in text
    assert "Nothing was shown." in text
    text = "\n".join(" ".join(line) for line in split_view(root, "--request", "r5"))
    assert "No groups: search is no target scenario" in text
    text = "\n".join(" ".join(line) for line in split_view(root, "--request", "r9"))
    assert "No groups yet: run label_target_groups --date 2024-03-02" in text
    assert "features/user_histories has no 2024-03-02" in text


def test_a_request_that_is_not_there_is_named(root):
    with pytest.raises(MissingDataError, match="no request 'r77'; dates there: 2024-03-01 to 2024-03-02"):
        request.tell(root, "r77")
    with pytest.raises(MissingDataError, match="no request 'r1'"):
        request.tell(root, "r1", [BEFORE])


def test_a_users_days(root):
    told = user.tell(root, 1)
    assert [tuple(each.values())[1:] for each in told["days"]] == [
        (3, 4, 4, 1, 2, 1, 0, 2),  # r1, r2, r5; r1: 2 ETG 2 RTG 1 ITG, r2: 2 and 2; e1 e6, e2, -, e0 e3
        (1, 0, 0, 0, 1, 0, 0, 1),  # r9, not labelled; e4 and e5
    ]
    assert [each["request_id"] for each in told["requests"]] == ["r9"]
    assert [each["event_id"] for each in told["conversions"]] == ["e4", "e5"]
    assert ["2024-03-01", "3", "4", "4", "1", "2", "1", "0", "2"] in split_view(root, "--user", "1")
    assert ["r1", "2024-03-01", "10:00:00", "homepage", "2", "2", "1"] in split_view(
        root, "--user", "1", "--date", "2024-03-01"
    )
    with pytest.raises(MissingDataError, match="user 99 has no request and no conversion"):
        user.tell(root, 99)


def test_an_items_way(root):
    told = item.tell(root, 3)
    assert [tuple(each.values()) for each in told["channels"]] == [("hot", 3, 1, 1), ("swing", 1, 3, 3)]
    assert [each["stage"] for each in told["stages"]] == ["pre_ranking", "ranking", "re_ranking"]
    assert told["shown"] == {"requests": 2, "best_place": 1, "median_place": 1}  # r1 at 1 and 5, r3 at 1
    assert told["groups"] == {"ETG": 2, "RTG": 1, "ITG": 0}
    assert [tuple(each.values()) for each in told["actions"]] == [("homepage", 0, 0, 0, 1), ("search", 1, 0, 0, 0)]
    assert ["hot", "3", "1", "1"] in split_view(root, "--item", "3")
    with pytest.raises(MissingDataError, match="item 99 is in no log of 2024-03-01"):
        item.tell(root, 99)


def test_durations_in_words():
    assert [words.later(timedelta(seconds=each)) for each in (0, 1, 119, 120, 2400, 7199, 172799, 172800)] == [
        "at once", "1 second later", "119 seconds later", "2 minutes later", "40 minutes later", "2 hours later",
        "2 days later", "2 days later",
    ]  # fmt: skip
    assert words.later(timedelta(minutes=-3)) == "3 minutes before"


def test_context_and_profile_are_told(tmp_path):
    tiny_root.put_logs(tmp_path)
    rows = pa.table({"user_id": [1, 2], "age": [31, None]}).append_column("date", pa.array([BEFORE] * 2, pa.date32()))
    write_deltalake(f"{tmp_path}/logs/users", rows, partition_by=["date"])
    asked = tiny_root.rows("requests", worked_example.REQUESTS)
    asked = asked.append_column("device", pa.array(["phone", None, None, None, None]))
    asked = asked.append_column("date", pa.array([DAY] * 5, pa.date32()))
    write_deltalake(
        f"{tmp_path}/logs/requests", asked, mode="overwrite", schema_mode="overwrite", partition_by=["date"]
    )
    told = request.tell(str(tmp_path), "r1")
    assert told["context"] == {"device": "phone"}
    assert told["profile"] == {"date": BEFORE, "attributes": {"age": 31}}
    assert request.tell(str(tmp_path), "r3")["profile"] == {"date": BEFORE, "attributes": {}}
    assert ["profile", "age", "31", "(users", "of", "2024-02-29)"] in split_view(str(tmp_path), "--request", "r1")
