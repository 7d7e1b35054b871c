"""jobs/report/scores.py: which rows of `evaluations` count as trained."""

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from jobs.evaluation.table import replace_rows
from jobs.report import scores
from schemas.storage import arrow
from schemas.tables.reports import evaluations

DAY = date(2024, 3, 1)


def row(variant, **more):
    return {
        "variant": variant,
        "seed": 0,
        "metric": "inc",
        "segment": "all",
        "k": 100,
        "value": 0.5,
        "support": 4,
    } | more


def test_the_column_says_what_was_trained_whatever_the_name(tmp_path):
    rows = [row("popular_twice", trained=False), row("random", trained=True), row("swing_deeper")]
    replace_rows(str(tmp_path), DAY, "increc", rows)
    scored = scores.read(str(tmp_path), DAY)["increc"]
    assert {name: scored.untrained(name) for name in scored.variants} == {
        "popular_twice": True, "random": False, "swing_deeper": True,  # the last: nobody said, so its name does
    }  # fmt: skip


@pytest.mark.parametrize("kept", [[], [row("full", trained=True)]])
def test_an_older_partition_falls_back_to_names_and_can_be_added_to(tmp_path, kept):
    older = replace(evaluations, columns=evaluations.columns[:-1])
    rows = [{"model": "increc"} | row(name) for name in ("random", "full")]
    table = pa.Table.from_pylist(rows, schema=older.schema)
    arrow.write(str(tmp_path), older, DAY, table, {}, {"increc": {}})
    assert arrow.read(str(tmp_path), evaluations, DAY)["trained"].to_pylist() == [None, None]
    if kept:
        replace_rows(str(tmp_path), DAY, "hccp", kept)
    scored = scores.read(str(tmp_path), DAY)
    assert scored["increc"].untrained("random")
    assert not scored["increc"].untrained("full")
    assert list(scored) == (["increc", "hccp"] if kept else ["increc"])
