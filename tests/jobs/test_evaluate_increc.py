"""jobs/evaluate_increc.py: figures of a model and of the untrained rows, which inputs count, what an error says."""

from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs import evaluate_increc
from jobs.evaluation import evaluate, table
from jobs.evaluation import increc as judged
from models import batches, checkpoint, hashing
from models.batches import Ragged
from models.checkpoint import ModelDirectory
from models.increc import model as increc
from models.increc import presets
from models.item_vocabulary import Catalogue
from models.retrieved_lists import retrieved_lists
from schemas import serving
from schemas.serving import Serving
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import ConflictError, MissingDataError
from schemas.tables.reports import evaluations as evaluations_table
from schemas.tables.reports import request_scores
from schemas.tables.samples import increc_samples
from tests.support.tiny_root import put, put_delta

DAY = date(2020, 1, 15)
BEFORE = DAY - timedelta(1)
NOON = datetime(2020, 1, 15, 12, tzinfo=UTC)
ITEMS = 2**40 + np.arange(120)  # float32 would take them all for one item
REQUESTS = 30


def write_samples(root, day=DAY, **settings):
    """Request n has the ITG item n (popularity order), the RTG item n + 1 bought, the ETG item 119 - n."""
    samples = [
        (f"r{n:02}", n, "homepage", NOON, ITEMS[: n % 8].tolist(), ["click"] * (n % 8), [int(ITEMS[119 - n])], [""],
         [int(ITEMS[n + 1])], ["purchase"], [int(ITEMS[n])], ["cart"])
        for n in range(REQUESTS)
    ]  # fmt: skip
    put(root, "increc_samples", day, samples, **settings)


def write_stats(root, day=DAY):
    popularity = ["top"] * 10 + ["middle"] * 20 + ["tail"] * 90
    put(root, "item_stats", day, [(int(i), 0, 0, 0, 200 - n, 1 / 120, popularity[n]) for n, i in enumerate(ITEMS)])


def write_logs(root):
    lists = [(f"r{n:02}", "hot", ITEMS[20:30].tolist(), []) for n in range(REQUESTS)]
    lists += [(f"r{n:02}", "swing", [int(ITEMS[n + 1]), 5], []) for n in range(1, REQUESTS)]
    put_delta(root, "retrievals", DAY, [*lists, ("other", "own", ITEMS[:5].tolist(), [])])
    early = NOON - timedelta(1)
    events = [
        (f"e{user}-{n}", user, int(ITEMS[n]), "click", early, "elsewhere", None, early)
        for user in range(40)
        for n in (user, user + 1, user + 2)
    ]
    put_delta(root, "conversions", BEFORE, events)


def write_model(root, variant="base", seed=1, day=BEFORE, items=ITEMS):
    settings = presets.sized(presets.PRESETS[variant](), "tiny")
    catalogue = Catalogue.empty(settings.unknown_buckets, None, settings.attribute_size).grown(items[::-1])
    model = increc.IncRec(settings, catalogue, seed)
    folder = checkpoint.open_directory()
    checkpoint.save(folder, model, catalogue)
    directory = ModelDirectory(str(root), "increc", day, variant, seed)
    manifest = {"settings": asdict(model.settings), "seed": seed, "made_from": {"samples": "x"}}
    checkpoint.publish(folder, directory, manifest)
    return directory, model


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("root")
    for write in (write_samples, write_stats, write_logs, write_model):
        write(made)
    return str(made)


@pytest.fixture(scope="module")
def result(root):
    table.replace_rows(root, DAY, "hccp", [value("full", "ish", 10, 0.5)])
    table.replace_rows(root, DAY, "increc", [value("gone", "inc", 10, 0.5)])
    counts = evaluate_increc.main(Namespace(root=root, requests=1000), DAY)
    rows = arrow.read(root, evaluations_table, DAY).to_pylist()
    return counts, {(r["model"], r["variant"], r["metric"], r["segment"], r["k"]): r for r in rows}


def value(variant, metric, k, number):
    return {"variant": variant, "seed": 0, "metric": metric, "segment": "all", "k": k, "value": number, "support": 1}


def test_the_rows_written(root, result):
    counts, rows = result
    assert counts["models"] == [f"models/increc/date={BEFORE}/base-seed1"]
    assert (counts["requests"], counts["targets"]) == (REQUESTS, 3 * REQUESTS)
    assert counts["rows_written"] == sum(model == "increc" for model, *_ in rows)
    assert ("hccp", "full", "ish", "all", 10) in rows
    variants = {"random", "hot_items", "item_cf_twice", "hot_deeper", "swing_deeper", "base"}
    assert {variant for model, variant, *_ in rows if model == "increc"} == variants
    assert {k for model, *_, k in rows if model == "increc"} == {0, 100}  # 500 is above the 120 items
    assert rows["increc", "base", "inc", "all", 100]["seed"] == 1
    assert {variant for (model, variant, *_), row in rows.items() if row["trained"] and model == "increc"} == {"base"}
    made_from = partitions.manifest(Root.of(root), evaluations_table, DAY)["made_from"]["increc"]
    assert made_from["logs/retrievals"] == 0
    assert made_from[f"models/increc/date={BEFORE}/base-seed1"] == {"samples": "x"}


def test_hot_items_by_hand(result):
    _, rows = result
    of = {key[2:4]: row["value"] for key, row in rows.items() if key[1] == "hot_items" and key[4] == 100}
    # The 100 most converted items are items 0 to 99; the ETG items are 119 to 90, ten of thirty among them.
    assert (of["inc", "all"], of["base", "all"], of["order", "all"]) == (1.0, 1.0, 1.0)
    assert of["exposure", "all"] == pytest.approx(10 / 30)
    # hot had retrieved items 20 to 29, so the ITG items 20 to 29 are no longer in the list; swing had n + 1.
    assert of["inc_filtered", "all"] == pytest.approx(20 / 30)
    assert (of["inc_filtered", "top"], of["inc_filtered", "middle"], of["inc_filtered", "tail"]) == (1.0, 0.5, None)
    # Ten of hot's, and swing's n + 1 where hot had not returned it: not for n = 0, nor for n = 19 to 28.
    assert of["overlap", "all"] == pytest.approx((REQUESTS * 10 + 30 - 1 - 10) / REQUESTS / 100)
    assert rows["increc", "hot_items", "inc", "cold_start", 100]["support"] == 20  # histories of 0 to 4 of 0 to 7 items


def test_targets_have_segments_by_where_they_were_acted_on(tmp_path):
    for write in (write_samples, write_stats, write_logs):
        write(tmp_path)
    labels = []
    for n in range(REQUESTS):  # the ITG item n in search in the first ten requests; all else on the homepage
        scenario = "search" if n < 10 else "homepage"
        labels.append((f"r{n:02}", n, int(ITEMS[n]), "ITG", "cart", NOON, scenario, 1, [], None))
        labels.append((f"r{n:02}", n, int(ITEMS[n + 1]), "RTG", "purchase", NOON, "homepage", 1, ["swing"], None))
        labels.append((f"r{n:02}", n, int(ITEMS[119 - n]), "ETG", None, None, None, 0, [], 1))
    put_delta(tmp_path, "target_groups", DAY, labels)
    evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)
    of = {
        (row["metric"], row["segment"]): (row["value"], row["support"])
        for row in arrow.read(str(tmp_path), evaluations_table, DAY).to_pylist()
        if row["variant"] == "hot_items" and row["k"] == 100
    }
    assert of["inc", "scenario_search"] == (1.0, 10)
    assert of["base", "scenario_homepage"] == (1.0, 20 + 30)
    # The ITG items 20 to 29 had been retrieved by hot, so they are no longer in the list.
    assert of["inc_filtered", "scenario_search"] == (1.0, 10)
    assert of["inc_filtered", "scenario_homepage"] == (0.5, 20)
    assert of["exposure", "scenario_homepage"] == (None, 0)


def test_random_stands_beside_its_expectation(result):
    _, rows = result
    assert rows["increc", "random", "inc_expected", "all", 100]["value"] == pytest.approx(100 / 120)
    assert rows["increc", "random", "in_catalogue", "all", 0]["value"] == 1


def test_a_model_is_measured_by_its_own_vectors(root, result):
    _, rows = result
    model = increc.load(ModelDirectory(root, "increc", BEFORE, "base", 1))
    histories = [ITEMS[: n % 8] for n in range(REQUESTS)]
    users = model.user_vectors(
        {
            "user_id": np.arange(REQUESTS),
            "history_item_ids": Ragged.of(histories),
            "history_actions": Ragged.of([[1] * len(history) for history in histories]),
        }
    )
    places = np.argsort(np.argsort(-(users @ model.item_vectors(ITEMS).T), axis=1), axis=1)
    found = [places[n, n] < 100 for n in range(REQUESTS)]
    assert rows["increc", "base", "inc", "all", 100]["value"] == pytest.approx(np.mean(found))


def test_a_model_gains_nothing_from_items_that_the_other_rows_cannot_name(tmp_path):
    # Request 0 acts on an item that only a model trained on the date itself could know, as the samples' last day does.
    for write in (write_stats, write_logs):
        write(tmp_path)
    new = int(ITEMS[-1]) + 1
    request = ("r00", 0, "homepage", NOON, [], [], [], [], [], [], [new, int(ITEMS[0])], ["click", "click"])
    put(tmp_path, "increc_samples", DAY, [request])
    write_model(tmp_path, items=np.append(ITEMS, new))
    evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)
    rows = arrow.read(str(tmp_path), evaluations_table, DAY).to_pylist()
    shares = {
        row["variant"]: row["value"] for row in rows if (row["metric"], row["segment"]) == ("in_catalogue", "all")
    }
    assert shares == dict.fromkeys(shares, 0.5)
    assert {"base", "hot_items"} <= set(shares)


def test_the_same_again(root, result):
    rows = arrow.read(root, evaluations_table, DAY)
    evaluate_increc.main(Namespace(root=root, requests=1000), DAY)
    assert arrow.read(root, evaluations_table, DAY).equals(rows)


def test_fewer_requests_are_chosen_by_a_keyed_hash(root):
    def chosen(most):
        found = batches.chosen_samples(root, increc_samples, DAY, ["request_id", "user_id"], 0, most)
        return found["request_id"].to_pylist(), found["user_id"].to_pylist()

    ids, users = chosen(7)
    every, _ = chosen(1000)
    assert len(every) == REQUESTS
    assert ids == sorted(sorted(every, key=lambda one: hashing.request_keys([one], 0)[0])[:7])
    assert ids == [f"r{n:02}" for n in users]


def test_lists_stand_with_their_requests(root):
    ids = batches.chosen_samples(root, increc_samples, DAY, ["request_id"], 0, 5)["request_id"].combine_chunks()
    found = retrieved_lists(root, DAY, ids)
    assert set(found) == {"hot", "swing"}  # the channel of another request is none of theirs
    for n, request in enumerate(ids.to_pylist()):
        number = int(request[1:])
        assert found["hot"].take(np.array([n])).values.tolist() == ITEMS[20:30].tolist()
        expected = [ITEMS[number + 1], 5] if number else []
        assert found["swing"].take(np.array([n])).values.tolist() == expected


def test_conversions_of_the_date_or_logged_on_it_are_not_known(tmp_path):
    early, late = NOON - timedelta(1), NOON
    events = [
        ("b", 1, 2, "click", early, "elsewhere", None, early),
        ("a", 1, 1, "click", early, "elsewhere", None, early),
        ("c", 1, 3, "click", early, "elsewhere", None, late),
    ]
    put_delta(tmp_path, "conversions", BEFORE, events)
    put_delta(tmp_path, "conversions", DAY, [("d", 1, 4, "click", late, "elsewhere", None, late)])
    users, items = judged.known_conversions(str(tmp_path), DAY, judged.Settings())
    assert (users.tolist(), items.tolist()) == ([1, 1], [1, 2])
    users, _ = judged.known_conversions(str(tmp_path), date(2020, 3, 1), judged.Settings())
    assert len(users) == 0


def test_it_says_that_an_action_may_be_learned_from_and_measured_on(tmp_path, capsys):
    """Under `every_request` an action of the date is a target of the day before as well; else it is one request's."""
    for write in (write_stats, write_logs, write_model):
        write(tmp_path)
    for attribution, told in (("last_request", False), ("every_request", True)):
        write_samples(tmp_path, labelling={"attribution": attribution})
        evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)
        assert ("have learned from some of what they are measured on" in capsys.readouterr().err) == told


def test_without_a_model_only_the_untrained_rows_are_written(tmp_path, capsys):
    for write in (write_samples, write_stats, write_logs):
        write(tmp_path)
    counts = evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)
    assert counts["models"] == []
    assert counts["rows_written"] > 0
    assert f"models/increc has no model of the 7 days up to {BEFORE}" in capsys.readouterr().err


def test_a_date_without_requests_has_rows_without_values(tmp_path):
    write_stats(tmp_path)
    write_logs(tmp_path)
    put(tmp_path, "increc_samples", DAY, [])
    write_model(tmp_path)
    assert evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)["requests"] == 0
    rows = arrow.read(str(tmp_path), evaluations_table, DAY)
    assert rows["value"].null_count == rows.num_rows


@pytest.mark.parametrize("missing", ["increc_samples", "item_stats"])
def test_a_missing_date_is_one_clear_error(tmp_path, missing):
    write_logs(tmp_path)
    write_samples(tmp_path, BEFORE if missing == "increc_samples" else DAY)
    write_stats(tmp_path, BEFORE if missing == "item_stats" else DAY)
    with pytest.raises(MissingDataError, match=f"{missing} has no date {DAY} .* dates there: {BEFORE} to {BEFORE}"):
        evaluate_increc.main(Namespace(root=str(tmp_path), requests=1000), DAY)


def test_the_command_line(root, run_job):
    status, line, error = run_job("evaluate_increc", "--root", root, "--date", "2020-01-16")
    assert (status, line) == (1, None)
    assert "has no date 2020-01-16" in error
    assert "Traceback" not in error
    assert run_job("evaluate_increc", "--root", root, "--date", "2020-01-15", "--requests", "0")[0] == 2


def test_what_serves_is_measured_on_the_same_requests(root, result, capsys):
    served, _ = write_model(root, "base", 7, DAY - timedelta(9))
    serving.write(root, "increc", Serving(served.place, str(BEFORE), "put there by hand"))
    before = arrow.read(root, evaluations_table, DAY)
    try:
        evaluate_increc.main(Namespace(root=root, requests=1000), DAY)
    finally:
        Path(root, "models/increc/serving.json").unlink()
    assert f"{served.place} serves and is measured" in capsys.readouterr().err
    assert arrow.read(root, evaluations_table, DAY).sort_by("variant").equals(before.sort_by("variant"))
    rows = arrow.read(root, request_scores, DAY).to_pylist()
    challenger = f"models/increc/date={BEFORE}/base-seed1"
    assert {(row["place"], row["metric"], row["k"]) for row in rows} == {
        (served.place, "inc", 100),
        (challenger, "inc", 100),
    }
    kept = [row for row in rows if row["place"] == challenger]
    assert sorted(row["request_id"] for row in kept) == [f"r{n:02}" for n in range(REQUESTS)]
    _, figures = result
    value = sum(row["numerator"] for row in kept) / sum(row["denominator"] for row in kept)
    assert value == pytest.approx(figures["increc", "base", "inc", "all", 100]["value"])
    made_from = partitions.manifest(Root.of(root), request_scores, DAY)["made_from"]["increc"]
    assert {served.place, challenger, "logs/retrievals"} <= made_from.keys()


def test_a_model_that_has_learned_from_the_date_is_not_measured_on_it(root, result, capsys):
    served, _ = write_model(root, "base", 7, DAY)
    serving.write(root, "increc", Serving(served.place, str(DAY), "put there by hand"))
    try:
        evaluate_increc.main(Namespace(root=root, requests=1000), DAY)
    finally:
        Path(root, "models/increc/serving.json").unlink()
    assert "serves and is measured" not in capsys.readouterr().err


def test_made_from_names_what_was_measured_whatever_is_committed_meanwhile(tmp_path):
    for write in (write_samples, write_stats, write_logs):
        write(tmp_path)
    judge = judged.Judge(str(tmp_path), DAY, judged.Settings())
    assert judge.counts["requests"] == REQUESTS
    put_delta(tmp_path, "retrievals", DAY, [("r00", "late", ITEMS[:5].tolist(), [])])
    assert evaluate.made_from(judge)["logs/retrievals"] == 0
    assert judged.Judge(str(tmp_path), DAY, judged.Settings()).snapshot.versions["logs/retrievals"] == 1
    write_samples(tmp_path, seed=2)
    with pytest.raises(ConflictError, match=f"samples/increc_samples/date={DAY} .* was replaced while it was measured"):
        evaluate.made_from(judge)
