"""tests/benchmarks/scripts/summarise_studies.py: a page of two roots' studies, counted by hand, and what it refuses."""

from datetime import date

import numpy as np
import pytest
from summarise_studies import arg_parser, studies_of, summary

from jobs.study.trials import UNTRAINED, Cell
from models.evaluation.per_request import PerRequest
from tests.support import tiny_root

DAY, WRITTEN = date(2020, 1, 3), date(2020, 2, 1)
NONE, ALL = [0, 0, 0, 0], [1, 1, 1, 1]


def put_cell(root, variant, seed, hits, name="tiny", made_from=None):
    """ISH@10 of one target in each of four requests, of each of these rows; the last request's is in the tail."""
    settings = {
        "days": ["2020-01-01", "2020-01-02"], "judged": [str(DAY)], "judging": {}, "requests": 4, "seed": seed,
        "training": {},
    }  # fmt: skip
    found = {
        each: [
            PerRequest.summed((metric, segment, 10), np.arange(first, 4), np.array(values[first:]), by_request=True)
            for metric, segment, first in (("ish", "all", 0), ("ash", "tail", 3))
        ]
        for each, values in hits.items()
    }
    Cell(str(root), name, DAY, variant, seed, made_from or {"a": 1}, settings).write(found)


def put_study(root, seeds, **variants):
    put_cell(root, UNTRAINED, 0, {"random": [1, 0, 0, 0], "hot_items": NONE})
    for variant, hits in variants.items():
        for seed in range(1, seeds + 1):
            put_cell(root, variant, seed, {variant: hits})


@pytest.fixture
def roots(tmp_path):
    """Two roots: in the second only one seed, and a variant whose training failed."""
    one, other = tmp_path / "one", tmp_path / "other"
    put_study(one, 2, exposed_only=NONE, full=ALL, full_margin_2=NONE)
    tiny_root.put_landing(other, "requests", DAY, tiny_root.example.REQUESTS, simulated=True, source="taobao")
    put_study(other, 1, exposed_only=NONE, full=ALL)
    return [str(one), f"taobao={other}"]


def test_the_page_counted_by_hand(roots):
    text = summary(roots, WRITTEN, "2 cores, no GPU")
    lines = text.splitlines()
    assert lines[0] == "# Studies, 2020-02-01"
    assert "2 cores, no GPU" in lines
    assert "Reference: `exposed_only`." in text
    assert (
        "- **one**: Origin not stated. Learned from 2020-01-01 to 2020-01-02, judged on 2020-01-03: 4 requests; "
        "seeds 1, 2; size tiny."
    ) in lines
    assert (
        "- **taobao**: Simulated stages on real events (taobao). Learned from 2020-01-01 to 2020-01-02, judged on "
        "2020-01-03: 4 requests; seeds 1; size tiny. Not there: full_margin_2-seed1."
    ) in lines
    start = lines.index("| variant | one, ISH@10 | taobao (simulated), ISH@10 |")
    assert lines[start + 1 : start + 5] == [
        "|---|---|---|",
        "| exposed_only | 0.0 ±0.0 % (reference) | 0.0 % (reference) |",
        "| full | 100.0 ±0.0 %, **+100.0 [+100.0, +100.0]** | 100.0 %, **+100.0 [+100.0, +100.0]** |",
        "| full_margin_2 | 0.0 ±0.0 %, +0.0 [+0.0, +0.0] | - |",
    ]
    rows = {line.split(" | ")[0]: line for line in lines[start + 5 : start + 7]}
    # One request of four: a draw has it not at all in three of ten, so 0 is inside.
    assert rows["| random"].startswith("| random | 25.0 %, +25.0 [+0.0, +")
    assert rows["| hot_items"] == "| hot_items | 0.0 %, +0.0 [+0.0, +0.0] | 0.0 %, +0.0 [+0.0, +0.0] |"
    tail = lines[lines.index("| variant | one, ASH@10, tail | taobao (simulated), ASH@10, tail |") + 2 :]
    assert tail[1] == "| full | 100.0 ±0.0 %, **+100.0 [+100.0, +100.0]** | 100.0 %, **+100.0 [+100.0, +100.0]** |"
    assert "ASH@10 |" not in text  # nobody measured it whole
    assert not any(path.split("=")[-1] in text for path in roots)


def test_one_roots_metrics_stand_in_one_table(roots):
    lines = summary(roots[:1], WRITTEN, "x").splitlines()
    assert [line for line in lines if line.startswith("| variant")] == ["| variant | ISH@10 | ASH@10, tail |"]
    assert "| exposed_only | 0.0 ±0.0 % (reference) | 0.0 ±0.0 % (reference) |" in lines


def test_it_is_a_function_of_the_roots(roots):
    assert summary(roots, WRITTEN, "x") == summary(roots, WRITTEN, "x")


def test_a_size_is_a_study_of_its_own(roots):
    root = roots[0]
    put_cell(root, "full", 1, {"full": ALL}, name="hccp_ablations-tiny")
    put_cell(root, "full", 1, {"full": ALL}, name="of_somebody_else")
    put_cell(root, "full-epochs-3", 1, {"full-epochs-3": ALL}, name="hccp_baselines_tuned-tuning")
    assert [(each.name, each.size, each.seeds) for each in studies_of(root, [])] == [
        ("hccp_ablations-tiny", "tiny", 1), ("tiny", "tiny", 2)
    ]  # fmt: skip
    assert [each.name for each in studies_of(root, ["tiny"])] == ["tiny"]


def test_what_does_not_belong_together_is_refused(roots, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"none of .*empty has a finished study of tiny"):
        summary([str(tmp_path / "empty")], WRITTEN, "x", ["tiny"])
    with pytest.raises(ValueError, match="two roots with tiny have one name"):
        summary([roots[0], roots[0]], WRITTEN, "x")
    put_cell(roots[0], "full", 2, {"full": ALL}, made_from={"a": 2})
    with pytest.raises(ValueError, match=r"cells of different inputs, dates or settings: .*; full-seed2$"):
        summary(roots, WRITTEN, "x")


def test_a_page_has_a_date_and_says_what_it_ran_on(capsys):
    given = arg_parser().parse_args(["a", "b=c", "--written", "2020-02-01", "--hardware", "2 cores", "--study", "tiny"])
    assert (given.roots, given.written, given.hardware, given.study) == (["a", "b=c"], WRITTEN, "2 cores", ["tiny"])
    with pytest.raises(SystemExit):
        arg_parser().parse_args(["a"])
    assert "--written, --hardware" in capsys.readouterr().err
