"""A study with a grid: what is tried, what is chosen, and on which dates."""

from datetime import timedelta

import models  # noqa: F401 isort: skip
import numpy as np
import pytest

from jobs import run_study
from jobs.command.cli import WorkFailedError
from jobs.study.definitions import STUDIES, Study, Sweep, Variant, presets, tried, tuned, with_best
from models.evaluation.per_request import PerRequest
from tests.jobs.test_evaluate_increc import DAY, write_logs, write_samples, write_stats
from tests.jobs.test_run_study import rows_of
from tests.support.tiny_root import put_delta

GRID = {"temperature": (0.4, 0.2), "learning_rate": (0.1, 0.3)}
ASKED = tuned(Study("increc", presets("full", "base"), reference="base", size="tiny", seeds=2), GRID)


def test_every_variant_is_tried_with_every_combination_once():
    grid = tried(ASKED)
    settings = {each.name: grid.settings(each) for each in grid.variants}
    assert {name: (one.temperature, one.learning_rate, one.weight_inc) for name, one in settings.items()} == {
        "full-temperature-0.4-learning_rate-0.1": (0.4, 0.1, 1.0),
        "full-temperature-0.4-learning_rate-0.3": (0.4, 0.3, 1.0),
        "full-temperature-0.2-learning_rate-0.1": (0.2, 0.1, 1.0),
        "full-temperature-0.2-learning_rate-0.3": (0.2, 0.3, 1.0),
        "base-temperature-0.4-learning_rate-0.1": (0.4, 0.1, 0.0),
        "base-temperature-0.4-learning_rate-0.3": (0.4, 0.3, 0.0),
        "base-temperature-0.2-learning_rate-0.1": (0.2, 0.1, 0.0),
        "base-temperature-0.2-learning_rate-0.3": (0.2, 0.3, 0.0),
    }
    assert (grid.reference, grid.seeds, grid.size, grid.grid) == (
        "base-temperature-0.4-learning_rate-0.1", 1, "tiny", {},
    )  # fmt: skip


def test_each_variant_keeps_its_best_and_of_equal_ones_the_first():
    values = {each.name: 0.1 for each in tried(ASKED).variants} | {"full-temperature-0.2-learning_rate-0.1": 0.2}
    del values["base-temperature-0.4-learning_rate-0.1"]  # could not be trained
    best = with_best(ASKED, values | {"random": 0.9})
    assert best.variants == (
        Variant("full", "full", {"temperature": 0.2, "learning_rate": 0.1}),
        Variant("base", "base", {"temperature": 0.4, "learning_rate": 0.3}),
    )
    assert (best.reference, best.seeds, best.grid) == ("base", 2, {})


def test_a_variant_without_any_value_and_a_tuned_sweep_are_refused():
    with pytest.raises(ValueError, match=r"full: no combination of .* could be trained"):
        with_best(ASKED, {"base-temperature-0.4-learning_rate-0.1": 0.1})
    curve = (Sweep("temperature", ("base",)),)
    with pytest.raises(ValueError, match=r"'temperature'.* cannot be swept and tuned at once"):
        tuned(Study("increc", presets("base"), "base", curve), GRID)


def test_named_studies_try_their_defaults_first():
    for name in ("increc_filtered_tuned", "hccp_baselines_tuned"):
        study = STUDIES[name]()
        for variant in study.variants:
            alone = study.settings(variant)
            assert all(getattr(alone, setting) == values[0] for setting, values in study.grid.items()), variant


def test_nothing_is_tuned_that_some_objectives_do_not_heed():
    """A setting that one variant feels and another does not would be a larger budget for the first."""
    heeded = {"increc": {"learning_rate", "temperature"}, "hccp": {"learning_rate", "epochs"}}
    assert all({*study.grid} <= heeded[study.model] for study in (named() for named in STUDIES.values()))


@pytest.fixture
def root(tmp_path):
    for n in range(3):
        write_samples(tmp_path, DAY - timedelta(n))
        write_stats(tmp_path, DAY - timedelta(n))
    write_logs(tmp_path)
    put_delta(tmp_path, "retrievals", DAY - timedelta(1), [("r00", "hot", [1], [])])
    return tmp_path


def run(root, monkeypatch, earned, *flags) -> list:
    """Run ASKED with cells that hold what `earned(settings)` says; returns what was trained on and judged by."""
    monkeypatch.setitem(STUDIES, "increc_presets", lambda: ASKED)
    seen = []

    def measured(cell, study, variant, days, judge):
        value = earned(study.settings(variant)) if variant else 0.1
        seen.append((cell.study, cell.name, [*days], [*judge.days]))
        each = PerRequest.summed(
            ("inc_filtered", "all", 100), np.arange(judge.requests), np.full(judge.requests, value), by_request=True
        )
        return {cell.variant: [each]}

    monkeypatch.setattr(run_study, "measured", measured)
    words = ["--root", str(root), "--date", f"{DAY - timedelta(2)}..{DAY}", "--study", "increc_presets"]
    arguments = run_study.parsed([*words, "--size", "tiny", *flags])
    run_study.main(arguments, *arguments.date)
    return seen


def test_tuning_sees_neither_the_reported_date_nor_another_budget(root, monkeypatch):
    # full is best with a temperature of .2 and a rate of .3, base with .4 and .1.
    def earned(one):
        return (one.learning_rate if one.weight_inc else 0.4 - one.learning_rate) + abs(
            one.temperature - (0.4 if one.weight_inc else 0.2)
        )

    seen = run(root, monkeypatch, earned)
    first, second = DAY - timedelta(2), DAY - timedelta(1)
    assert split(seen) == {
        ("increc_presets-tuning", (first,), (second,)), ("increc_presets", (first, second), (DAY,)),
    }  # fmt: skip
    assert [name for study, name, *_ in seen if study == "increc_presets"] == [
        "untrained-seed0", "full-seed1", "base-seed1", "full-seed2", "base-seed2",
    ]  # fmt: skip
    assert len(seen) == (1 + 2 * 4) + (1 + 2 * 2)
    reported = {key[:2]: value for key, (value, _) in rows_of(root, "studies/increc_presets", DAY).items()}
    assert reported["full", 2] == pytest.approx(0.3 + 0.2)
    assert reported["base", 2] == pytest.approx(0.3 + 0.2)
    assert (root / "reports/studies/increc_presets-tuning/study.html").exists()
    assert run(root, monkeypatch, earned) == []  # all there already, and chosen alike


def split(seen) -> set:
    """Study, what it learned from, what it was judged on."""
    return {(study, tuple(days), tuple(judged)) for study, _, days, judged in seen}


def test_of_few_dates_all_but_the_first_are_tuned_on_and_none_that_is_reported(root, monkeypatch):
    days = [DAY - timedelta(n) for n in (3, 2, 1, 0)]
    write_samples(root, days[0])
    write_stats(root, days[0])
    put_delta(root, "retrievals", days[1], [("r00", "hot", [1], [])])
    asked = ("--judged", "2", "--date", f"{days[0]}..{DAY}")
    assert split(run(root, monkeypatch, lambda settings: settings.learning_rate, *asked)) == {
        ("increc_presets-tuning", (days[0],), (days[1],)), ("increc_presets", (days[0], days[1]), (days[2], DAY)),
    }  # fmt: skip


def test_a_combination_that_diverges_is_passed_over_and_a_variant_of_nothing_else_is_said(root, monkeypatch):
    def earned(one):
        if (one.weight_inc and diverges == "all") or one.learning_rate == (0.3 if one.weight_inc else 0.1):
            raise WorkFailedError("the loss is not finite")
        return one.learning_rate

    diverges = "some"
    seen = run(root, monkeypatch, earned)
    assert sum(study == "increc_presets" for study, *_ in seen) == 5
    diverges = "all"
    for cells in (root / "reports/studies").glob("*/cells/full*"):
        (cells / "_manifest.json").unlink()
    with pytest.raises(WorkFailedError, match=r"full: no combination of .* the loss is not finite"):
        run(root, monkeypatch, earned)


def test_a_tuned_study_needs_three_dates(tmp_path, capsys):
    words = ["--root", str(tmp_path), "--date", "2020-01-01..2020-01-02", "--study", "increc_filtered_tuned"]
    with pytest.raises(SystemExit):
        run_study.parsed(words)
    assert "a date more: increc_filtered_tuned is tuned on the last of two to learn from" in capsys.readouterr().err
