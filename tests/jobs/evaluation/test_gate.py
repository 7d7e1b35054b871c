"""jobs/evaluation/gate.py: what comes to serve, what stays, and which words say so."""

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from jobs.evaluation import gate, request_scores
from jobs.evaluation.gate import Verdict
from models import checkpoint
from models.checkpoint import ModelDirectory
from models.evaluation.per_request import PerRequest
from schemas import serving
from schemas.serving import Serving
from schemas.storage import arrow
from schemas.table import ContractError, MissingDataError
from schemas.tables import reports

DAY = date(2024, 3, 1)
AFTER = DAY + timedelta(1)
REQUESTS = 200
IDS = pa.array([f"r{n:03}" for n in range(REQUESTS)])
OLD = "models/increc/date=2024-02-29/full-seed1"


def model(root, variant="full", day=DAY, **settings):
    directory = ModelDirectory(str(root), "increc", day, variant, 1)
    checkpoint.publish(checkpoint.open_directory(), directory, {"exported": {}, "settings": settings})
    return directory


def earned(hits, metric="inc", k=100):
    hits = np.asarray(hits, float)
    ones = np.ones(len(hits))
    return PerRequest(metric, "all", k, np.arange(len(hits)), hits, ones, ones.astype(int))


def hits(share):
    """The first share of the requests has its target among the first K."""
    return np.arange(REQUESTS) < share * REQUESTS


def scored(root, shares, day=AFTER):
    measured = {directory: [earned(hits(share)), earned(hits(1), k=500)] for directory, share in shares.items()}
    request_scores.replace_rows(str(root), day, "increc", IDS, measured, {})


def decide(root, *published, value=0.3, day=DAY):
    passed = {each: Verdict(True, f"{each.variant} stands above random", AFTER, value) for each in published}
    decision = gate.decide(str(root), "increc", day, passed)
    gate.put(str(root), "increc", decision)
    return decision


@pytest.fixture
def champion(tmp_path):
    directory = model(tmp_path, day=DAY - timedelta(1))
    serving.write(str(tmp_path), "increc", Serving(directory.place, "2024-03-01", "nothing served before"))
    assert directory.place == OLD
    return directory


def test_the_first_model_that_stands_above_random_serves(tmp_path):
    base, full = model(tmp_path, "base"), model(tmp_path)
    passed = {base: Verdict(True, "base passed", AFTER, 0.4), full: Verdict(True, "full passed", AFTER, 0.3)}
    decision = gate.decide(str(tmp_path), "increc", DAY, passed)
    assert decision.serving == Serving(base.place, "2024-03-02", "nothing served before; base passed", None)
    assert serving.read(str(tmp_path), "increc") is None  # deciding writes nothing
    gate.put(str(tmp_path), "increc", decision)
    held = json.loads((tmp_path / "models/increc/serving.json").read_text())
    assert held == {"place": base.place, "since": "2024-03-02", "verdict": decision.serving.verdict, "replaced": None}


@pytest.mark.parametrize(
    ("share", "replaces", "words"),
    [(0.7, True, "is better"), (0.5, True, "is not significantly worse"), (0.3, False, "is worse")],
)
def test_a_challenger_replaces_what_serves_unless_it_is_worse(tmp_path, champion, share, replaces, words):
    challenger = model(tmp_path)
    scored(tmp_path, {champion: 0.5, challenger: share})
    decision = decide(tmp_path, challenger)
    held = serving.read(str(tmp_path), "increc")
    assert held.place == (challenger.place if replaces else OLD)
    assert held.replaced == (OLD if replaces else None)
    assert held.since == ("2024-03-02" if replaces else "2024-03-01")
    assert f"{challenger.place} {words} on 2024-03-02: inc {share - 0.5:+.4f} [" in decision.line
    assert replaces == (words in held.verdict)
    assert replaces != decision.line.endswith(f"{OLD} stays")


def test_slightly_worse_within_the_interval_still_replaces(tmp_path, champion):
    challenger = model(tmp_path)
    mixed = hits(0.5).astype(float)
    mixed[[0, 1, 150]] = 0, 0, 1  # one hit less in 200 requests, by three that differ
    measured = {champion: [earned(hits(0.5))], challenger: [earned(mixed)]}
    request_scores.replace_rows(str(tmp_path), AFTER, "increc", IDS, measured, {})
    assert "is not significantly worse on 2024-03-02: inc -0.0050" in decide(tmp_path, challenger).line
    assert serving.read(str(tmp_path), "increc").place == challenger.place


def test_the_best_of_several_challengers_serves_and_deciding_again_changes_nothing(tmp_path, champion):
    variants = {"base": 0.3, "boost": 0.6, "full": 0.7, "na": 0.7}
    challengers = {model(tmp_path, name): share for name, share in variants.items()}
    scored(tmp_path, {champion: 0.5} | challengers)
    decide(tmp_path, *challengers)
    held = serving.read(str(tmp_path), "increc")
    assert (held.place, held.replaced) == (OLD.replace("02-29", "03-01"), OLD)
    assert not decide(tmp_path, *challengers).changed
    assert serving.read(str(tmp_path), "increc") == held


def test_without_figures_what_serves_stays_and_the_line_says_what_to_run(tmp_path, champion):
    challenger = model(tmp_path)
    line = decide(tmp_path, challenger).line
    assert "no model of 2024-03-01 is judged yet: evaluate_increc for 2024-03-02, then export_models for" in line
    scored(tmp_path, {challenger: 0.9})
    assert "the evaluation of 2024-03-02 did not measure it" in decide(tmp_path, challenger).line
    assert serving.read(str(tmp_path), "increc").place == OLD


def test_a_model_of_an_earlier_date_does_not_replace_a_later_one(tmp_path, champion):
    earlier = model(tmp_path, day=DAY - timedelta(5))
    line = decide(tmp_path, earlier, day=DAY - timedelta(5)).line
    assert line == f"what serves is of a later date than 2024-02-25; {OLD} stays"


def test_a_model_fused_with_item_cf_never_serves(tmp_path):
    line = decide(tmp_path, model(tmp_path, item_cf_share=0.5)).line
    assert line == "no model of 2024-03-01 can serve; nothing serves"


def test_what_served_and_is_gone_is_replaced_like_a_first_one(tmp_path):
    serving.write(str(tmp_path), "increc", Serving(OLD, "2024-03-01", "it was there"))
    challenger = model(tmp_path)
    decide(tmp_path, challenger)
    held = serving.read(str(tmp_path), "increc")
    assert (held.place, held.replaced) == (challenger.place, OLD)
    assert f"{OLD}, which served, is not published any more" in held.verdict


def test_scores_are_kept_by_model_at_the_smallest_cut_off(tmp_path, champion):
    scored(tmp_path, {champion: 0.5})
    other = ModelDirectory(str(tmp_path), "hccp", DAY, "full", 1)
    measured = {other: [earned(hits(0.25)[:4], "ash", 10)]}
    request_scores.replace_rows(str(tmp_path), AFTER, "hccp", IDS, measured, {"samples/x": "a"})
    rows = arrow.read(str(tmp_path), reports.request_scores, AFTER).to_pylist()
    assert {(row["model"], row["metric"], row["k"]) for row in rows} == {("increc", "inc", 100), ("hccp", "ash", 10)}
    assert [row["request_id"] for row in rows if row["model"] == "hccp"] == ["r000", "r001", "r002", "r003"]
    scored(tmp_path, {})
    assert request_scores.read(str(tmp_path), AFTER, "increc") == {}
    assert list(request_scores.read(str(tmp_path), AFTER, "hccp")) == [other.place]


def test_a_model_measured_on_other_requests_is_not_compared(tmp_path, champion):
    challenger = model(tmp_path)
    measured = {champion: [earned(hits(0.5))], challenger: [earned(hits(0.5)[:7])]}
    request_scores.replace_rows(str(tmp_path), AFTER, "increc", IDS, measured, {})
    assert list(request_scores.read(str(tmp_path), AFTER, "increc")) == [OLD]


def test_a_damaged_serving_json_and_a_wrong_place_are_named(tmp_path):
    (tmp_path / "models/increc").mkdir(parents=True)
    (tmp_path / "models/increc/serving.json").write_text("{}")
    with pytest.raises(ContractError, match=r"serving.json should be JSON with place, since, verdict and replaced"):
        serving.read(str(tmp_path), "increc")
    with pytest.raises(MissingDataError, match="is no model's place, should be models/MODEL"):
        ModelDirectory.at(str(tmp_path), "models/increc/date=soon/full")
