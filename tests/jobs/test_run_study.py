"""jobs/run_study.py and jobs/study: from samples to a page, what is repeated and what not, wrong questions."""

import json
import re
import shutil
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pytest

from jobs import evaluate_hccp, run_study, train_hccp
from jobs.command.cli import WorkFailedError
from jobs.evaluation.pooled import SeveralDates
from jobs.study import page
from jobs.study.comparison import compare
from jobs.study.trials import Cell
from models.evaluation.bootstrap import Interval
from models.evaluation.per_request import PerRequest, averages
from schemas.storage import arrow
from schemas.table import MissingDataError
from schemas.tables.reports import evaluations
from tests.jobs.test_evaluate_increc import DAY as INCREC_DAY
from tests.jobs.test_evaluate_increc import write_logs, write_samples, write_stats
from tests.jobs.test_render_report import Page
from tests.support import tiny_root
from tests.support.planted_funnel import Funnel

FIRST, LAST = date(2020, 1, 1), date(2020, 1, 3)
SEGMENTS = ["top", "middle", "tail", "cold start", "active"]


def run(root, study="tiny", first=FIRST, last=LAST, *flags) -> dict:
    words = ["--root", str(root), "--date", f"{first}..{last}", "--study", study, *flags]
    arguments = run_study.parsed(words)
    (day,) = arguments.date
    return run_study.main(arguments, day)


def rows_of(root, model, day=LAST) -> dict:
    """(variant, seed, metric, segment, k) -> (value, support), timings left out."""
    names = ("variant", "seed", "metric", "segment", "k")
    rows = arrow.read(str(root), evaluations, day).to_pylist()
    return {
        tuple(row[name] for name in names): (row["value"], row["support"])
        for row in rows
        if row["model"] == model and not row["metric"].startswith("milliseconds")
    }


@pytest.fixture(scope="module", autouse=True)
def few_timed_requests():
    """500 of each model take longer than training it."""
    settings = partial(run_study.judge_hccp.Settings, timed_requests=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_study.judge_hccp, "Settings", settings)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A root with two days to learn from and one to judge on, and what the study's first run said."""
    root, funnel = tmp_path_factory.mktemp("root"), Funnel(seed=1)
    for n in range(3):
        funnel.put_day(str(root), FIRST + timedelta(n), requests=100)
    tiny_root.put_landing(root, "requests", LAST, tiny_root.example.REQUESTS, simulated=True, source="taobao")
    return root, run(root)


def test_every_cell_is_trained_measured_and_shown(done):
    root, line = done
    assert (line["cells"], line["trained"]) == (1 + 3 * 2, 6)
    assert line["report"] == str(root / "reports/studies/tiny/study.html")
    cells = {folder.name for folder in (root / "reports/studies/tiny/cells").iterdir()}
    trained = {f"{name}-seed{seed}" for name in ("exposed_only", "full", "full_margin_2") for seed in (1, 2)}
    assert cells == {"untrained-seed0", *trained}
    assert {each.name for each in (root / "models/studies/tiny/date=2020-01-02").iterdir()} == trained
    rows = rows_of(root, "studies/tiny")
    timings = 3 * 2 * 2  # of the first seed's three models: two percentiles, with and without the items' vectors
    assert line["rows_written"] == len(rows) + timings
    assert {key[:2] for key in rows} == {
        ("random", 0), ("hot_items", 0), ("incumbent", 0), *((name, seed) for name in ("exposed_only", "full",
        "full_margin_2") for seed in (1, 2)),
    }  # fmt: skip


def test_a_model_of_a_study_learned_from_all_days_but_the_last(done):
    root, _ = done
    manifest = run_study.ModelDirectory(str(root), "studies/tiny", LAST - timedelta(1), "full_margin_2", 2).manifest()
    assert manifest["days"] == ["2020-01-01", "2020-01-02"]
    assert manifest["continued_from"] is None
    assert manifest["settings"]["margin_exposed"] == 2.0


def test_what_is_there_is_not_repeated(done, monkeypatch):
    root, _ = done
    before, html = rows_of(root, "studies/tiny"), (root / "reports/studies/tiny/study.html").read_text()
    monkeypatch.setitem(run_study._WAYS, "hccp", (*run_study._WAYS["hccp"][:1], None, run_study.judge_hccp))
    assert run(root)["trained"] == 0
    assert rows_of(root, "studies/tiny") == before
    assert (root / "reports/studies/tiny/study.html").read_text() == html


def test_a_study_that_was_stopped_goes_on_with_what_is_missing(done):
    root, _ = done
    before = rows_of(root, "studies/tiny")
    shutil.rmtree(root / "reports/studies/tiny/cells/full-seed2")
    assert run(root)["trained"] == 1
    assert rows_of(root, "studies/tiny") == before


def test_the_first_seeds_models_are_timed_once(done):
    root, _ = done
    costs = {each.parent.name: each for each in (root / "reports/studies/tiny/cells").glob("*/_cost.json")}
    assert {*costs} == {"exposed_only-seed1", "full-seed1", "full_margin_2-seed1"}
    rows = json.loads(costs["full-seed1"].read_text())
    assert [(row["metric"], row["segment"], row["support"]) for row in rows] == [
        ("milliseconds_p50", "all", 4), ("milliseconds_p99", "all", 4),
        ("milliseconds_p50", "item_vectors_at_hand", 4), ("milliseconds_p99", "item_vectors_at_hand", 4),
    ]  # fmt: skip
    before = {name: path.read_text() for name, path in costs.items()}
    costs["full-seed1"].unlink()
    assert run(root)["trained"] == 0
    after = {name: path.read_text() for name, path in costs.items()}
    assert {name for name in costs if after[name] != before[name]} <= {"full-seed1"}
    html = Page((root / "reports/studies/tiny/study.html").read_text())
    shown = {row[0]: row[1:] for row in html.rows if len(row) == 5}
    assert shown["variant"] == ["ms p50", "ms p99", "ms p50, item vectors at hand", "ms p99, item vectors at hand"]
    assert shown["full"] == [f"{row['value']:.3f}" for row in json.loads(after["full-seed1"])]
    assert "of 4 requests, one at a time" in html.text


def test_averages_are_those_of_the_evaluating_job(done):
    root, _ = done
    day = LAST - timedelta(1)
    flags = ["--root", str(root), "--date", str(day), "--preset", "full", "--days", "2", "--size", "tiny"]
    train_hccp.main(train_hccp.arg_parser().parse_args(flags), day)
    flags = ["--root", str(root), "--date", str(LAST)]
    evaluate_hccp.main(evaluate_hccp.arg_parser().parse_args(flags), LAST)
    judged, studied = rows_of(root, "hccp"), rows_of(root, "studies/tiny")
    assert {key[0] for key in judged} == {"random", "hot_items", "incumbent", "full-tiny"}
    # A study's size is its own, not its variants'.
    assert {key: studied[key[0].removesuffix("-tiny"), *key[1:]] for key in judged} == judged
    assert judged["full-tiny", 1, "ish", "all", 10][0] > 0


def test_several_judged_dates_count_as_one(done):
    """Of each date's own requests, with its own item_stats: sums of targets and hits, requests behind each other."""
    root, _ = done
    alone = [
        run_study.judge_hccp.Judge(str(root), LAST - timedelta(n), run_study.judge_hccp.Settings()) for n in (1, 0)
    ]
    together = SeveralDates(alone)
    assert together.requests == sum(each.requests for each in alone) == 200
    assert (together.day, together.days) == (LAST, [LAST - timedelta(1), LAST])
    parts = [each.measure([])["hot_items", 0] for each in alone]
    both = {one.key: one for one in together.measure([])["hot_items", 0]}
    assert {*both} == {one.key for part in parts for one in part}
    key = ("ash", "all", 10)
    first, second = (next(one for one in part if one.key == key) for part in parts)
    assert both[key].numerators.tolist() == [*first.numerators, *second.numerators]
    assert both[key].requests.tolist() == [*first.requests, *(alone[0].requests + second.requests)]
    assert both[key].by_request


def test_the_last_dates_are_judged_on_and_the_others_learned_from(tmp_path):
    for day in (INCREC_DAY - timedelta(n) for n in range(3)):
        write_samples(tmp_path, day)
        write_stats(tmp_path, day)
    write_logs(tmp_path)
    tiny_root.put_delta(tmp_path, "retrievals", INCREC_DAY - timedelta(1), [("r05", "hot", [1], [])])  # no swing
    flags = ("--size", "tiny", "--seeds", "1", "--judged", "2")
    run(tmp_path, "increc_presets", INCREC_DAY - timedelta(2), INCREC_DAY, *flags)
    name, learned = "studies/increc_presets-tiny", INCREC_DAY - timedelta(2)
    manifest = run_study.ModelDirectory(str(tmp_path), name, learned, "base", 1).manifest()
    assert manifest["days"] == [str(learned)]
    supports = {key: support for key, (_, support) in rows_of(tmp_path, name, INCREC_DAY).items()}
    assert supports["base", 1, "inc", "all", 100] == 2 * 30  # an ITG item a request
    assert {"hot_items", "hot_deeper"} <= {key[0] for key in supports}
    assert "swing_deeper" not in {key[0] for key in supports}  # the others would be of twice its requests
    html = (tmp_path / "reports/studies/increc_presets-tiny/study.html").read_text()
    assert "learned from 2020-01-13, from nothing" in Page(html).text
    assert "the same requests of 2020-01-14 to 2020-01-15" in Page(html).text


def test_the_page(done):
    root, _ = done
    html = (root / "reports/studies/tiny/study.html").read_text()
    shown = Page(html)
    assert {"differences", "sweeps", "segments", "curves", "costs", "settings"} <= shown.ids
    assert "vectors" not in shown.ids  # HCCP's samples tell no ITG item from another
    assert "Cold start: fewer than 5 conversions" in shown.text
    segmented = next(n for n, row in enumerate(shown.rows) if row[2:] == SEGMENTS)
    assert shown.rows[segmented + 1 + 3 + 3][:2] == ["support", ""]  # below three variants and three untrained rows
    assert all(resource.startswith("#") for resource in shown.resources)
    assert not re.search(r"https?://|url\(|@import|<script|<link|<img", html)
    assert "<title>headrace study tiny (simulated stages)</title>" in html
    assert "Simulated stages on real events (taobao)." in shown.text
    assert "learned from 2020-01-01 to 2020-01-02, from nothing, once for each of 2 seeds, in size tiny" in shown.text
    apart = {row[0]: row[1] for row in shown.rows if len(row) == 2}
    assert apart["exposed_only"] == ""
    assert "margin_exposed 2.0" in apart["full_margin_2"]
    first = next(row for row in shown.rows if row[0] == "exposed_only (reference)")
    assert first[1] == "2"
    assert first[2].endswith(" %-")  # no difference from itself
    other = next(row for row in shown.rows if row[0] == "full")
    assert re.fullmatch(r"[\d.]+ ±[\d.]+ %[+-][\d.]+ \[[+-][\d.]+, [+-][\d.]+\]", other[2])
    marked = re.findall(r'<i( class="clear")?>([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]</i>', html)
    assert {bool(strong) for strong, *_ in marked} == {True, False}
    assert all(not strong or float(low) * float(high) >= 0 for strong, _, low, high in marked)
    assert all(strong or float(low) * float(high) <= 0 for strong, _, low, high in marked)
    assert "Metrics over margin exposed" in html
    assert html.count("<rect") == 2 * 2  # two variants beside the reference, in ISH and ASH


def test_other_inputs_make_a_cell_anew(done):
    root, _ = done
    about = (str(root), "tiny", LAST, "full", 1)
    said = json.loads((root / "reports/studies/tiny/cells/full-seed1/_manifest.json").read_text())
    same = Cell(*about, said["made_from"], said["settings"])
    assert same.done
    assert not replace(same, made_from={**said["made_from"], "features/item_stats/date=2020-01-02": "other"}).done
    assert not replace(same, settings={**said["settings"], "requests": 7}).done
    assert not replace(same, seed=3).done


def test_a_study_of_increc(tmp_path):
    before = INCREC_DAY - timedelta(1)
    for write in (write_samples, write_stats):
        for day in (before, INCREC_DAY):
            write(tmp_path, day)
    write_logs(tmp_path)
    line = run(tmp_path, "increc_presets", before, INCREC_DAY, "--size", "tiny", "--seeds", "1")
    assert (line["cells"], line["trained"]) == (6, 5)
    rows = rows_of(tmp_path, "studies/increc_presets-tiny", INCREC_DAY)
    assert {key[0] for key in rows} == {
        "base", "boost", "ori", "na", "full", "random", "hot_items", "item_cf_twice", "hot_deeper", "swing_deeper"
    }  # fmt: skip
    html = (tmp_path / "reports/studies/increc_presets-tiny/study.html").read_text()
    shown = Page(html)
    assert "Origin not stated." in shown.text
    assert "IncF@100" in shown.text
    # Request n has the ITG item n and the RTG item n + 1: items 1 to 29 are both. A plane of each kind a variant.
    assert "1 ITG, 1 RTG, 29 both" in shown.text
    assert "Too few ITG or RTG items" in shown.text
    captions = re.findall(r"<h3>([^<]*)</h3>\s*<div class=\"two\">\s*<figure><figcaption>PCA", html)
    assert captions == ["base (reference)", "na", "full"]
    assert len(re.findall(r"<text[^>]*>both \(29\)</text>", html)) == 3 * 2
    assert "costs" not in shown.ids
    assert ["variant", "seeds", *SEGMENTS] in shown.rows


def test_a_variant_that_cannot_be_trained_keeps_no_other_from_it(tmp_path, monkeypatch):
    before = INCREC_DAY - timedelta(1)
    for write in (write_samples, write_stats):
        for day in (before, INCREC_DAY):
            write(tmp_path, day)
    write_logs(tmp_path)
    samples, train, judging = run_study._WAYS["increc"]

    def diverges(training):
        if training.directory.variant in diverging:
            raise WorkFailedError("the loss is not finite")
        return train(training)

    monkeypatch.setitem(run_study._WAYS, "increc", (samples, diverges, judging))
    flags = (tmp_path, "increc_presets", before, INCREC_DAY, "--size", "tiny", "--seeds", "1")
    diverging = {"boost"}
    with pytest.raises(WorkFailedError, match=r"^boost-seed1: the loss is not finite; the page has the others$"):
        run(*flags)
    shown = Page((tmp_path / "reports/studies/increc_presets-tiny/study.html").read_text())
    assert {"full", "base (reference)"} <= {row[0] for row in shown.rows}
    assert "boost" not in {key[0] for key in rows_of(tmp_path, "studies/increc_presets-tiny", INCREC_DAY)}
    diverging = {"base"}
    for cell in (tmp_path / "reports/studies/increc_presets-tiny/cells").glob("base-*"):
        shutil.rmtree(cell)
    with pytest.raises(WorkFailedError, match=r"^nothing to compare with: base-seed1: "):
        run(*flags)


def test_other_dates_change_no_cell(tmp_path):
    before = INCREC_DAY - timedelta(1)
    for day in (before, INCREC_DAY):
        write_samples(tmp_path, day)
        write_stats(tmp_path, day)
    write_logs(tmp_path)
    states = run_study.states(str(tmp_path), "increc", [before], [INCREC_DAY])
    later = INCREC_DAY + timedelta(1)
    tiny_root.put_delta(tmp_path, "retrievals", later, [("late", "hot", [1], [])])
    tiny_root.put_delta(tmp_path, "retrievals", INCREC_DAY - timedelta(15), [("early", "hot", [1], [])])
    assert run_study.states(str(tmp_path), "increc", [before], [INCREC_DAY]) == states
    tiny_root.put_delta(tmp_path, "retrievals", INCREC_DAY, [("r77", "hot", [1], [])])
    assert run_study.states(str(tmp_path), "increc", [before], [INCREC_DAY]) != states


def test_wrong_questions_have_one_clear_line_each(tmp_path, capsys):
    for words, said in [
        (["--date", "2020-01-01..2020-01-03", "--study", "best"], "--study: invalid choice: 'best'"),
        (["--date", "2020-01-01", "--study", "tiny"], "--date has to be FIRST..LAST"),
        (["--date", "2020-01-01..2020-01-03", "--study", "tiny", "--judged", "3"], "--date has to be FIRST..LAST"),
        (["--date", "2020-01-01..2020-01-03", "--study", "hccp_baselines_tuned", "--judged", "2"], "a date more"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            run_study.parsed(["--root", str(tmp_path), *words])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(MissingDataError, match="samples/hccp_samples has no date 2020-01-01"):
        run(tmp_path)
    assert not (tmp_path / "reports").exists()


def test_the_command_line(run_job, tmp_path):
    status, line, error = run_job(
        "run_study", "--root", tmp_path, "--date", "2020-01-01..2020-01-03", "--study", "tiny"
    )
    assert (status, line) == (1, None)
    assert error.splitlines()[-1].startswith("run_study 2020-01-03: samples/hccp_samples has no date 2020-01-01")
    assert "Traceback" not in error


def hits(variant_hits):
    """ISH@10 of one target in each of four requests, and of those of them that are popular, the first two."""
    owners, values = [0, 1, 2, 3], variant_hits
    yield PerRequest.summed(("ish", "all", 10), np.array(owners), np.array(values), by_request=True)
    yield PerRequest.summed(("ish", "top", 10), np.array(owners[:2]), np.array(values[:2]))


def test_averages_and_differences_come_from_the_same_numbers(tmp_path):
    given = {("old", 1): [1, 0, 0, 0], ("new", 1): [1, 1, 0, 0], ("new", 2): [1, 1, 1, 0]}
    cells = [Cell(str(tmp_path), "by_hand", LAST, *key, {}, {"requests": 4}) for key in given]
    for cell, values in zip(cells, given.values(), strict=True):
        cell.write({cell.variant: [*hits(values)]})
    compared = compare("hccp", "old", cells, requests=4)
    expected = [row for values in given.values() for row in averages(hits(values))]
    assert [{name: row[name] for name in expected[0]} for row in compared.rows] == expected
    found = compared.intervals(("ish", "all", 10))
    assert found["old"] == Interval(0, 0, 0)
    assert found["new"].value == pytest.approx((2 / 4 + 3 / 4) / 2 - 1 / 4)
    assert compared.intervals(("ish", "top", 10))["new"].value == pytest.approx(1 - 1 / 2)
    assert compared.intervals(("ash", "all", 10)) == {}


def test_differences_are_written_in_points():
    share, decimal = (
        page.apart("ish", Interval(0.0123, -0.001, 0.02)),
        page.apart("auc", Interval(-0.01, -0.02, -0.001)),
    )
    assert share == {"apart": "+1.2 [-0.1, +2.0]", "excludes_zero": False}
    assert decimal == {"apart": "-0.010 [-0.020, -0.001]", "excludes_zero": True}
    assert page.apart("ish", Interval(float("nan"), float("nan"), float("nan")))["apart"] == "-"
