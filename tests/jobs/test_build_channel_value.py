"""jobs/build_channel_value.py: the contract's worked example by hand, and plain loops over generated requests."""

import random
from argparse import Namespace
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product

import pytest

from jobs import build_channel_value as job
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from schemas.tables.reports import channel_value
from tests.support import tiny_root
from tests.support import worked_example as example
from tests.support.tiny_root import DAY

COUNTS = ("requests", "retrieved", "exposed", "acted", "acted_only", "lost", "support")


def built(root) -> dict[tuple, tuple]:
    """(channel, scenario, action) -> the counts, after a run of the job; fails on a key that is there twice."""
    counted = job.main(Namespace(root=str(root)), DAY)
    rows = arrow.read(str(root), channel_value, DAY).to_pylist()
    found = {tuple(row[name] for name in channel_value.key): tuple(row[name] for name in COUNTS) for row in rows}
    assert counted == {"rows_written": len(found)}
    assert len(rows) == len(found)
    return found


def test_worked_example(tmp_path):
    """Acted: r1's 3 purchase (search), 2 purchase, 9 cart; r2's 4 click, 8 purchase; r3's 5 favorite (elsewhere)."""
    tiny_root.put_logs(tmp_path)
    tiny_root.put_labels(tmp_path)
    support = {
        (None, None): 6, (None, "purchase"): 3, (None, "cart"): 1, (None, "favorite"): 1, (None, "click"): 1,
        ("search", None): 1, ("search", "purchase"): 1,
        ("elsewhere", None): 5, ("elsewhere", "purchase"): 2, ("elsewhere", "cart"): 1, ("elsewhere", "favorite"): 1,
        ("elsewhere", "click"): 1,
    }  # fmt: skip
    # hot found 3 of r1 with swing, and 4 of r2 alone, which was exposed: no other channel would have brought it there
    hot = {
        (None, None): (2, 1, 1), (None, "purchase"): (1, 0, 0), (None, "click"): (1, 1, 1),
        ("search", None): (1, 0, 0), ("search", "purchase"): (1, 0, 0),
        ("elsewhere", None): (1, 1, 1), ("elsewhere", "click"): (1, 1, 1),
    }  # fmt: skip
    # swing found 3 of r1 with hot, and 2 of r1 alone, which was bought without having been exposed
    swing = {
        (None, None): (2, 1, 0), (None, "purchase"): (2, 1, 0),
        ("search", None): (1, 0, 0), ("search", "purchase"): (1, 0, 0),
        ("elsewhere", None): (1, 1, 0), ("elsewhere", "purchase"): (1, 1, 0),
    }  # fmt: skip
    # the ITG: 9 of r1 and 5 of r3; 8 of r2 was exposed, so it is no ITG though no channel logged it
    nobody = {
        (None, None): 2, (None, "cart"): 1, (None, "favorite"): 1,
        ("elsewhere", None): 2, ("elsewhere", "cart"): 1, ("elsewhere", "favorite"): 1,
    }  # fmt: skip
    expected = {}
    for cell, acted in support.items():
        expected["hot", *cell] = (None, None, None, *hot.get(cell, (0, 0, 0)), acted)
        expected["swing", *cell] = (None, None, None, *swing.get(cell, (0, 0, 0)), acted)
        expected["", *cell] = (None, None, None, nobody.get(cell, 0), None, None, acted)
    # hot returned 2 items for each of r1, r2, r3, of which 3, 4, 3 were shown; swing 3 for r1, 1 and 3 shown; 8 no one
    expected["hot", None, None] = (3, 6, 3, 2, 1, 1, 6)
    expected["swing", None, None] = (1, 3, 2, 2, 1, 0, 6)
    expected["", None, None] = (None, None, 1, 2, None, None, 6)
    assert built(tmp_path) == expected


def test_the_manifest_says_what_it_was_made_from(tmp_path):
    tiny_root.put_logs(tmp_path)
    tiny_root.put_labels(tmp_path)
    first = built(tmp_path)
    manifest = partitions.manifest(Root.of(str(tmp_path)), channel_value, DAY)
    assert manifest["made_from"] == {"labels/target_groups": 1, "logs/requests": 0, "logs/retrievals": 0}
    assert manifest["settings"] == {"labelling": {"window_hours": 24, "scenario": "homepage"}}
    assert built(tmp_path) == first


# --- generated requests against plain loops


@dataclass(frozen=True)
class Request:
    name: str
    scenario: str
    lists: dict[str, list[int]] = field(default_factory=dict)
    exposed: frozenset[int] = frozenset()
    acted: dict[int, tuple[str, str]] = field(default_factory=dict)  # item -> action, scenario of the action

    def found_by(self, item: int) -> list[str]:
        return sorted(channel for channel, items in self.lists.items() if item in items)

    def without(self, channel: str) -> "Request":
        """As if the channel had never run: its list is gone, and each exposure that it alone made possible."""
        lists = {name: items for name, items in self.lists.items() if name != channel}
        exposed = frozenset(item for item in self.exposed if self.found_by(item) != [channel])
        return replace(self, lists=lists, exposed=exposed)


def generated(seed: int, count: int = 80, channels: int = 0) -> list[Request]:
    """Requests with at least so many channels each; scenarios and an action's place have names that totals might."""
    draw = random.Random(seed)
    made = []
    for n in range(count):
        names = draw.sample(["all", "hot", "own", "swing"], draw.randint(channels, 4))
        lists = {name: draw.sample(range(20), draw.choice([0, 1, 5, 9])) for name in names}
        exposed = frozenset(draw.sample(range(20), draw.randrange(6)))
        places = [(action, place) for action in ("click", "favorite", "cart", "purchase") for place in ("all", "", "x")]
        acted = {item: draw.choice(places) for item in draw.sample(range(20), draw.choice([0, 0, 2, 6]))}
        made.append(Request(f"q{n:03d}", draw.choice(["homepage", "homepage", "search"]), lists, exposed, acted))
    return made


def put(root, requests: list[Request], target: str) -> None:
    """The requests' logs, and their labels after the contract."""
    noon = example.at("12:00")
    tiny_root.put_delta(root, "requests", DAY, [(r.name, 1, r.scenario, noon) for r in requests])
    lists = [(r.name, channel, items, []) for r in requests for channel, items in r.lists.items()]
    tiny_root.put_delta(root, "retrievals", DAY, lists)
    rows = []
    for request in requests:
        if request.scenario != target or not request.lists:
            continue
        for item in sorted(request.exposed | set(request.acted)):
            found, shown = request.found_by(item), item in request.exposed
            groups = ["ETG"] if shown else []
            if item in request.acted:
                groups.append("RTG" if shown or found else "ITG")
            action, place = request.acted.get(item, (None, None))
            facts = (action, noon if action else None, place, int(item in request.acted), found, 1 if shown else None)
            rows += [(request.name, 1, item, group, *facts) for group in groups]
    tiny_root.put_delta(root, "target_groups", DAY, rows, scenario=target)


def oracle(requests: list[Request], target: str) -> dict[tuple, tuple]:
    labelled = [r for r in requests if r.scenario == target and r.lists]
    acted = [(r, item, *r.acted[item]) for r in labelled for item in r.acted]
    cells = {(None, None)} | {
        cell for _, _, action, place in acted for cell in product((None, place), (None, action))
    }  # fmt: skip
    channels = {channel for r in labelled for channel in r.lists}
    found = {}
    for place, action in cells:
        total = (place, action) == (None, None)
        mine = [(r, i) for r, i, a, p in acted if place in (None, p) and action in (None, a)]
        for name in channels:
            lists = [r.lists[name] for r in labelled if r.lists.get(name)]
            shown = sum(item in r.lists.get(name, []) for r in labelled for item in r.exposed)
            hits = [(r, i) for r, i in mine if i in r.lists.get(name, [])]
            alone = [(r, i) for r, i in hits if not any(i in r.lists[other] for other in r.lists if other != name)]
            lost = [(r, i) for r, i in alone if i in r.exposed]
            head = (len(lists), sum(map(len, lists)), shown) if total else (None, None, None)
            found[name, place, action] = (*head, len(hits), len(alone), len(lost), len(mine))
        missed = [(r, i) for r, i in mine if i not in r.exposed and not r.found_by(i)]
        unlogged = sum(not r.found_by(item) for r in labelled for item in r.exposed)
        head = (None, None, unlogged if total else None)
        found["", place, action] = (*head, len(missed), None, None, len(mine))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_generated_requests_against_plain_loops(tmp_path, seed):
    """Channels and scenarios called `all`, an empty scenario, empty lists, requests that nobody labelled."""
    requests, target = generated(seed), ("homepage", "search")[seed % 2]
    put(tmp_path, requests, target)
    assert built(tmp_path) == oracle(requests, target)


def test_what_only_a_channel_found_is_itg_without_it(tmp_path):
    """Every request has two channels, so that it can still be labelled when one is gone."""
    requests = generated(seed=11, channels=2)
    put(tmp_path / "with", requests, "homepage")
    value = built(tmp_path / "with")
    for channel in ("all", "hot", "own", "swing"):
        put(tmp_path / channel, [request.without(channel) for request in requests], "homepage")
        now = built(tmp_path / channel)
        only = {key[1:]: counts[4] for key, counts in value.items() if key[0] == channel}
        more = {key[1:]: counts[3] - value[key][3] for key, counts in now.items() if key[0] == ""}
        assert more == only
        assert sum(only.values()) > 0


def test_nothing_acted_on_is_a_row_a_channel(tmp_path):
    put(tmp_path, [Request("q1", "homepage", {"hot": [1, 2], "own": []}, frozenset([2, 7]))], "homepage")
    assert built(tmp_path) == {
        ("hot", None, None): (1, 2, 1, 0, 0, 0, 0),
        ("own", None, None): (0, 0, 0, 0, 0, 0, 0),
        ("", None, None): (None, None, 1, 0, None, None, 0),
    }


def test_a_date_labelled_without_a_row_has_only_zeros(tmp_path):
    put(tmp_path, [Request("q1", "search", {"hot": [1, 2]}, frozenset([2]))], "homepage")
    assert arrow.dates(str(tmp_path), target_groups) == []
    assert built(tmp_path) == {("", None, None): (None, None, 0, 0, None, None, 0)}


def test_a_date_without_labels_is_one_clear_error(tmp_path, run_job):
    with pytest.raises(MissingDataError, match="there is no labels/target_groups below"):
        job.main(Namespace(root=str(tmp_path)), DAY)
    tiny_root.put_logs(tmp_path)
    tiny_root.put_labels(tmp_path)
    after = DAY + timedelta(days=1)
    status, line, said = run_job("build_channel_value", "--root", tmp_path, "--date", f"{DAY}..{after}")
    assert status == 1
    assert line["date"] == str(DAY)  # the date before it is done
    assert "labels/target_groups has no date 2024-03-02" in said.splitlines()[-1]
    assert arrow.dates(str(tmp_path), channel_value) == [DAY]
