"""jobs/render_report.py: the page says what is there, what is missing, and loads nothing."""

import json
import re
from argparse import Namespace
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from jobs import render_report as job
from jobs.report import models
from jobs.report.page import charts
from jobs.report.page.charts import Bar, Line, Point
from schemas.table import MissingDataError
from tests.support import tiny_root
from tests.support.tiny_root import DAY

VOID = {"meta", "link", "br", "hr", "img", "input", "circle", "line", "polyline"}


class Page(HTMLParser):
    """The page's sections as text, its ids and resources; fails where tags do not nest."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.ids, self.resources, self.words, self.rows = [], set(), [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        self.resources += [value for name, value in attributes if name in ("src", "href", "srcset", "xlink:href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def render(root, day: date = DAY) -> tuple[str, dict]:
    counted = job.main(Namespace(root=str(root)), day)
    with open(counted["report"], encoding="utf-8") as file:
        return file.read(), counted


def put_model(root, day: date, variant: str, epochs: list, **more) -> None:
    folder = root / f"models/increc/date={day}/{variant}-seed1"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"epochs": epochs, "continued_from": None, **more}))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    tiny_root.put_all(root)
    before = [{"loss_basic": 8.0, "loss_inc": 4.0}, {"loss_basic": 6.0, "loss_inc": 3.0}]
    put_model(root, tiny_root.BEFORE, "full", before,
              exported={"items": 77, "index": {"recall": 0.991}, "verdict": "stands above random"})  # fmt: skip
    put_model(root, DAY, "full", [{"loss_basic": 5.0, "loss_inc": 2.5}],
              continued_from=f"models/increc/date={tiny_root.BEFORE}/full-seed1")  # fmt: skip
    html, counted = render(root)
    return html, Page(html), counted, root


def test_the_page_nests_and_loads_nothing(full):
    html, page, _, _ = full
    assert {"rows", "quality", "groups", "channels", "levels", "increc", "hccp", "published"} <= page.ids
    assert all(resource.startswith("#") for resource in page.resources)
    assert not re.search(r"https?://|url\(|@import|<script|<link|<img", html)


def test_its_json_says_where_it_is_and_the_headline(full):
    _, _, counted, root = full
    assert counted["report"] == str(root / "reports/report/date=2024-03-01/index.html")
    assert counted["headline"]["increc"] == {
        "metric": "IncF@500", "trained": "full 25.0 ±7.1 %", "untrained": "hot_items 15.0 %"
    }  # fmt: skip


def test_it_is_a_function_of_the_root(full):
    html, _, _, root = full
    assert render(root)[0] == html


def test_simulated_stages_are_called_simulated(full, tmp_path):
    assert "simulated" in full[1].text.lower()
    tiny_root.put_landing(tmp_path, "requests", DAY, tiny_root.example.REQUESTS, simulated=True, source="taobao")
    assert "Simulated stages on real events (taobao)." in Page(render(tmp_path)[0]).text
    some = {"simulated": ["retrievals", "stages"], "source": "trivago"}
    tiny_root.put_landing(tmp_path, "requests", DAY, tiny_root.example.REQUESTS, **some)
    text = Page(render(tmp_path)[0]).text
    assert "Simulated retrievals and stages before real lists (trivago)." in text
    assert "Requests, retrievals, stages and impressions are simulated" not in text


def test_a_world_is_called_simulated_by_its_truth(tmp_path):
    tiny_root.put_landing(tmp_path, "requests", DAY, tiny_root.example.REQUESTS, users=9)
    assert "No manifest calls them simulated." in Page(render(tmp_path)[0]).text
    (tmp_path / "landing/_truth").mkdir()
    assert "A simulated world." in Page(render(tmp_path)[0]).text


def test_rows_from_landing_to_logs(full):
    rows = full[1].rows
    # landed 8: 6 valid, the unknown action refused, one landed twice
    assert ["conversions", "8", "1", "12.5 %", "0", "1", "6", "action is unknown (1)"] in rows
    assert ["requests", "5", "0", "0.0 %", "0", "0", "5", ""] in rows
    assert ["table", "2024-02-29", "2024-03-01"] in rows
    assert ["labels/target_groups", "1", "11"] in rows
    assert ["samples/increc_samples", "-", "3"] in rows


def test_the_funnel_counts_requests_and_items(full):
    text = full[1].text
    assert "all requests 5" in text
    assert "of scenario homepage 4 80.0 %" in text
    assert "with retrievals 3 75.0 %" in text
    assert "with any label 3 100.0 %" in text
    assert "(hccp_samples) 2 66.7 %" in text
    # 9 retrieved items over 3 requests; r1's 3 pass pre-ranking; ETG 5 of 3 requests; RTG 4 and ITG 2
    assert "retrieved, all channels 3" in text
    assert "after pre_ranking 3 100.0 %" in text
    assert "after shadow_ranking" not in text  # it is logged, and no step of the funnel
    assert "exposed (ETG) 1.67" in text
    assert "acted on, shown or not (RTG or ITG) 2 Channels" in text


def test_failed_checks_come_first(full):
    _, page, _, _ = full
    assert "1 of 2 checks failed." in page.text
    checks = [row for row in page.rows if row[-1:] in (["no"], ["yes"])]
    assert checks[0] == ["conversions", "refused_share", "12.5 %", "5.0 %", "no"]
    assert ["conversions", "conflicting", "2", "only counted", ""] in page.rows


@pytest.mark.parametrize(
    ("check", "value", "threshold", "shown"),
    [
        ("coverage: hot, at least", 0.55, 0.8, ["55.0 %", "80.0 %"]),
        ("null share: scenario, at most", 0.25, 0.2, ["25.0 %", "20.0 %"]),
        ("share without retrievals", 0.05, None, ["5.0 %", "only counted"]),
        ("unlabelable share", 0.05, None, ["5.0 %", "only counted"]),
        ("ITG share, at most", 0.5, 0.4, ["50.0 %", "40.0 %"]),
        ("rows_kept, at least", 450.0, 500.0, ["450", "500"]),
        ("dropped column: coverage_share", 7.0, None, ["7", "only counted"]),
    ],
)
def test_a_check_that_is_a_share_is_shown_as_per_cent_with_its_bound(tmp_path, check, value, threshold, shown):
    tiny_root.put(tmp_path, "quality", DAY, [("requests", check, value, threshold, True)])
    rows = Page(render(tmp_path)[0]).rows
    assert ["table", "check", "value", "bound", "passed"] in rows
    assert ["requests", check, *shown, "" if threshold is None else "yes"] in rows


def test_groups_channels_and_levels(full):
    rows = full[1].rows
    assert ["2024-03-01", "5", "4", "2", "33.3 %", ""] in rows
    assert ["RTG", "3", "0", "0", "1", "0"] in rows
    assert ["elsewhere", "3", "2"] in rows
    # of 6 acted items each found 2, one alone; hot's 6 items were 2 a request, and its own find had been exposed
    assert ["hot", "3", "2", "3", "2 33.3 %", "", "1", "1,667", "1"] in rows
    assert ["swing", "1", "3", "2", "2 33.3 %", "", "1", "3,333", "0"] in rows
    assert ["(everywhere)", "0 0.0 %", "1 100.0 %", "1 100.0 %", "0 0.0 %", "2 33.3 %"] in rows
    assert ["search", "0 0.0 %", "0 -", "0 -", "0 -", "0 0.0 %"] in rows
    assert ["hot + swing", "1", "25.0 %"] in rows
    assert "1 of the RTG were exposed though no channel logged them." in full[1].text
    assert ["filtered", "40", "90.9 %", "", "1"] in rows


def test_models_stand_beside_the_rows_without_training(full):
    _, page, _, _ = full
    assert ["full", "2", "21.0 ±7.1 %", "25.0 ±7.1 %", "30.0 ±7.1 %", "21.0 ±7.1 %", "25.0 ±7.1 %", "30.0 ±7.1 %"] in (
        page.rows
    )
    assert ["hot_items", "", "11.0 %", "15.0 %", "20.0 %", "11.0 %", "15.0 %", "20.0 %"] in page.rows
    assert "In IncF@500 the best trained variant, full , reaches 25.0 ±7.1 % (2 seeds)" in page.text
    assert "Support: 2,000." in page.text
    assert ["incumbent", "", "50.0 %", "50.0 %", "50.0 %", "50.0 %"] in page.rows
    assert ["full", "1", "80.0 %", "72.0 %", "48.0 %", "24.0 %"] in page.rows  # ISH by popularity
    assert ["full", "1", "80.0 %", "0.625", "-", "1.750"] in page.rows
    assert "Models trained up to 2024-02-29, measured on 2024-03-01" in page.text


def test_losses_of_the_models_continued_from_come_first(full):
    _, page, _, _ = full
    assert ["full", "1", "3", "basic", "8", "5"] in page.rows
    assert ["", "", "", "inc", "4", "2.5"] in page.rows
    assert "full inc, epoch 2: 3.0000" in full[0]


def test_what_was_exported_is_listed_with_its_verdict(full):
    assert ["increc", "full", "1", "2024-02-29", "77", "99.1 %", "stands above random"] in full[1].rows
    assert "The other 1 of the 2 models" in full[1].text


def test_an_empty_root_names_every_job_that_is_missing(tmp_path):
    text = Page(render(tmp_path)[0]).text
    for made_by in ("simulate_logs", "ingest_logs", "label_target_groups", "build_channel_value", "build_hccp_samples",
                    "evaluate_increc", "evaluate_hccp", "train_increc", "train_hccp", "export_models"):  # fmt: skip
        assert made_by in text
    assert "Not evaluated yet" in text


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("put_logs", "Every log, conversions too, is simulated."),
        ("put_labels", "2 of 6 acted items are ITG"),
        ("put_samples", "with an RTG or ITG item (increc_samples)"),
        ("put_quality", "1 of 2 checks failed."),
        ("put_scores", "Models trained up to 2024-02-29, measured on 2024-03-01, which they had not seen."),
    ],
)
def test_any_part_alone_makes_a_page(tmp_path, part, said):
    getattr(tiny_root, part)(tmp_path)
    assert said in Page(render(tmp_path)[0]).text


def test_only_rows_without_training_say_that_no_model_was_measured(tmp_path):
    row = ("increc", "random", 0, "inc_filtered", "all", 500, 0.1, 10, False)
    tiny_root.put(tmp_path, "evaluations", DAY, [row])
    assert "No trained model was measured on 2024-03-01" in Page(render(tmp_path)[0]).text


def test_data_is_escaped(tmp_path):
    named = [("r1", 1, "<script>alert(1)</script>", tiny_root.example.at("10:00"))]
    tiny_root.put_delta(tmp_path, "requests", DAY, named)
    tiny_root.put(tmp_path, "quality", DAY, [("requests", "<img src=x>", 1.0, None, True)])
    tiny_root.put(tmp_path, "evaluations", DAY, [
        ("increc", "<b>full", 1, "inc_filtered", "all", k, 0.1, 10, True) for k in (10, 100)
    ])  # fmt: skip
    html, _ = render(tmp_path)
    assert "<img src=x>" not in html
    assert "<b>full" not in html
    assert "&lt;b&gt;full" in html


def test_a_later_date_does_not_show(tmp_path):
    tiny_root.put_labels(tmp_path)
    page = Page(render(tmp_path, tiny_root.BEFORE)[0])
    assert ["table", "2024-02-29"] in page.rows
    assert "2024-03-01" not in page.text


def test_a_missing_root_fails_with_one_line(run_job, tmp_path):
    with pytest.raises(MissingDataError, match="there is no root"):
        render(tmp_path / "none")
    status, line, said = run_job("render_report", "--root", tmp_path / "none", "--date", DAY)
    assert (status, line) == (1, None)
    assert "render_report 2024-03-01: there is no root" in said.splitlines()[-1]
    assert run_job("render_report", "--root", tmp_path)[0] == 2


def test_a_model_without_a_manifest_does_not_exist(tmp_path):
    (tmp_path / "models/increc/date=2024-03-01/full-seed1").mkdir(parents=True)
    assert models.trained(str(tmp_path)) == []


def test_names_beside_lines_do_not_touch_and_ticks_cover():
    lines = [Line(f"v{n}", (Point(10, 0.1), Point(100, 0.2 + n / 1000)), n) for n in range(12)]
    svg = charts.line_chart(lines, "title", "K", log_x=True)
    places = sorted(float(y) for y in re.findall(r'class="name" x="[\d.]+" y="([\d.]+)"', svg))
    assert len(places) == 12
    assert min(after - before for before, after in pairwise(places)) >= 14.9
    ticks = [float(tick) for tick in re.findall(r">([\d.]+) %<", svg)]
    assert ticks[0] == 0
    assert ticks[-1] >= 21.1


def test_ticks_are_written_as_they_are():
    """-3 to 6 points want ticks 2.5 apart; 12 to 13.2 %, .25 apart."""
    bars = charts.bar_chart([Bar("new", 0.06, -0.03, 0.06)], "title")
    assert re.findall(r'<text class="tick mid"[^>]*>([-+][^<]*)<', bars) == [
        "-5.0",
        "-2.5",
        "+0.0",
        "+2.5",
        "+5.0",
        "+7.5",
    ]
    lines = [Line("one", (Point(0, 0.12), Point(1, 0.132)), 0)]
    svg = charts.line_chart(lines, "title", "x", from_zero=False)
    assert re.findall(r">([^<]*) %<", svg) == ["12.00", "12.25", "12.50", "12.75", "13.00", "13.25"]
