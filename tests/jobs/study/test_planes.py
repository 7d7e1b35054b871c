"""jobs/study/planes.py, pictures.py and vector_section.py: which items, where they are put, what is said."""

import re

import numpy as np
import pytest

from jobs.report.page.charts import Cloud, scatter_chart
from jobs.study import vector_section
from jobs.study.pictures import BOTH, ITG, RTG, Items, Picture, chosen
from jobs.study.planes import planes


def two_clouds(points=40):
    """Groups a and b far apart in the second of six dimensions, a point of neither between them."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2 * points + 1, 6))
    vectors[:points, 1] += 20
    vectors[-1] = 10
    groups = np.array(["a"] * points + ["b"] * points + [""])
    return vectors, groups, np.array(["top"] * len(groups), object)


def test_groups_that_lie_apart_do_so_in_both_planes():
    vectors, groups, strata = two_clouds()
    made = planes("full", vectors, groups, strata)
    assert made.pca.shape == made.tsne.shape == (81, 2)
    first = made.pca[:, 0] - made.pca[:, 0].mean()
    assert len({*np.sign(first[:40])}) == len({*np.sign(first[40:80])}) == 1
    assert 0.9 < made.kept < 1
    apart = made.apart
    assert apart.chance == pytest.approx(78 / (2 * 79))
    assert (apart.whole, apart.pca, apart.tsne) == (1.0, 1.0, 1.0)
    assert apart.anew[0] < apart.chance < apart.anew[1] < 0.7
    assert apart.alike == apart.anew  # one stratum


def test_planes_are_the_same_again():
    vectors, groups, strata = two_clouds(20)
    one, other = (planes("full", vectors, groups, strata) for _ in range(2))
    np.testing.assert_array_equal(one.tsne, other.tsne)
    np.testing.assert_array_equal(one.pca, other.pca)
    assert one.apart == other.apart


def test_without_two_groups_of_two_nothing_is_told_apart():
    vectors, groups, strata = two_clouds(5)
    groups[6:] = ""
    assert planes("full", vectors, groups, strata).apart is None
    assert planes("full", vectors, np.full(11, ""), strata).apart is None


def test_items_stand_once_each_in_the_group_that_they_have_alone():
    itg, rtg = np.array([1, 2, 3, 7]), np.array([3, 4, 5, 6])
    found = chosen(itg, rtg, [np.array([1, 2, 3, 4, 5]), np.array([5, 4, 3, 2])])
    assert dict(zip(found.item_ids.tolist(), found.groups.tolist(), strict=True)) == {2: ITG, 3: BOTH, 4: RTG, 5: RTG}
    assert found.there == {ITG: 3, RTG: 3, BOTH: 1}


def test_of_many_items_a_keyed_hash_chooses():
    itg, rtg = np.arange(0, 300), np.arange(300, 350)
    known = [np.arange(350)]
    found, again = chosen(itg, rtg, known, most=60), chosen(itg, rtg, known, most=60)
    assert [np.count_nonzero(found.groups == group) for group in (ITG, RTG, BOTH)] == [60, 50, 0]
    assert found.item_ids.tolist() == again.item_ids.tolist()
    first = chosen(itg[:200], rtg, known, most=60)  # those that were chosen stay so where others are not there
    assert {*found.item_ids[found.item_ids < 200]} <= {*first.item_ids}
    assert found.item_ids[found.groups == ITG].mean() == pytest.approx(149.5, abs=3 * 300 / 12**0.5 / 60**0.5)


def test_no_group_stands_before_the_other():
    """Equal distances are settled by the order: of a hundred places either group has about half in the first fifty."""
    found = chosen(np.arange(50), np.arange(50, 100), [np.arange(100)])
    assert 15 <= np.count_nonzero(found.groups[:50] == ITG) <= 35


def test_a_chart_of_clouds():
    clouds = [Cloud("ITG", [(0.0, 0.0), (10.0, 5.0)], 1), Cloud("both", [(5.0, 2.5)], faint=True), Cloud("RTG", [])]
    svg = scatter_chart(clouds, "a & b")
    assert 'aria-label="a &amp; b"' in svg
    dots = re.findall(r"M([\d.]+) ([\d.]+)h0", svg)
    # A square of 480 with one scale: ten wide, five high; upwards is more.
    assert dots[:3] == [("6.0", "366.0"), ("246.0", "246.0"), ("486.0", "126.0")]
    assert re.findall(r">([^<]+)</text>", svg) == ["ITG (2)", "both (1)", "RTG (0)"]
    assert svg.count('class="cloud faint"') == 2  # its dots, and the legend's
    assert svg.count('class="key"') == 3
    assert svg.count('class="cloud colour1"') == 3


def test_layers_hold_each_point_once():
    points = [(float(n), 0.0) for n in range(30)]
    svg = scatter_chart([Cloud("a", points), Cloud("b", points)], "title")
    drawn = re.findall(r'<g class="cloud colour0"><path d="([^"]*)"/></g>', svg)
    assert sum(path.count("M") for path in drawn) == 2 * 30
    assert max(path.count("M") for path in drawn) == 4


def test_the_section_says_what_the_planes_hold():
    vectors, groups, strata = two_clouds(20)
    shown = np.where(groups == "a", ITG, np.where(groups == "b", RTG, BOTH))
    items = Items(np.arange(41), shown, {ITG: 20, RTG: 1234, BOTH: 1})
    made = planes("full", vectors, groups, strata)
    found = vector_section.section(Picture(items, [made]))
    assert found["counts"] == "20 ITG, 1,234 RTG, 1 both"
    assert found["chance"] == "48.7 %"  # 38 / (2 * 39)
    (row,) = found["rows"]
    assert row["cells"][:3] == ["100.0 %"] * 3
    assert re.fullmatch(r"[\d.]+ to [\d.]+ %", row["cells"][3])
    (caption, pca), (_, tsne) = found["pictures"][0]["charts"]
    assert re.fullmatch(r"PCA, 9\d\.\d % of the variance", caption)
    assert [chart.count("M") for chart in (pca, tsne)] == [41 + 3] * 2
