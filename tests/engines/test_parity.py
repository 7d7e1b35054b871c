"""Spark and Sail make the same rows of every table, and tables change hands."""

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest

from jobs import (
    build_hccp_samples,
    build_increc_samples,
    build_item_stats,
    build_user_histories,
    label_target_groups,
)
from schemas.tables.features import item_stats, user_histories
from schemas.tables.labels import target_groups
from schemas.tables.samples import hccp_samples, increc_samples
from tests.support import engines, landed
from tests.support import worked_example as example
from tests.support.funnel_logs import put_funnel
from tests.support.generated_logs import DAYS
from tests.support.tiny_root import put_delta

WORLDS = {"example": example.DAY, "generated": DAYS[1]}
EVE, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12, tzinfo=UTC)
MADE = {
    target_groups: label_target_groups,
    user_histories: build_user_histories,
    item_stats: build_item_stats,
    increc_samples: build_increc_samples,
    hccp_samples: build_hccp_samples,
}


def make(root, day: date, engine: str, *jobs) -> None:
    with engines.engine(engine):
        for job in jobs:
            job.main(landed.flags(job, root, day), day)


def assert_alike(root, other, table, day: date) -> None:
    rows = engines.content(root, table, day)
    assert rows == engines.content(other, table, day)
    assert rows
    assert engines.written_types(root, table, day) == engines.written_types(other, table, day)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Roots of logs alone: the worked example with its stages, and generated days."""
    roots = {name: (tmp_path_factory.mktemp(f"world_{name}"), day) for name, day in WORLDS.items()}
    put_example(roots["example"][0])
    put_funnel(roots["generated"][0], seed=1, per_day=400)
    return roots


def put_example(root) -> None:
    """The worked example; the day before it, so that there are statistics of items; and stages of two requests."""
    for name in ("requests", "retrievals", "impressions"):
        put_delta(root, name, example.DAY, getattr(example, name.upper()))
    for day in (example.DAY, example.DAY + timedelta(days=1)):
        put_delta(root, "conversions", day, [row for row in example.CONVERSIONS if row[4].date() == day])
    put_delta(root, "stages", example.DAY, [("r1", "ranking", [3, 1], []), ("r2", "re_ranking", [8, 4], [])])
    put_delta(root, "impressions", EVE, [("q", item, 1, NOON) for item in (1, 2, 2)])
    put_delta(root, "conversions", EVE, [("e", 1, 2, "click", NOON, "homepage", None, NOON)])


@pytest.mark.parametrize("world", list(WORLDS))
def test_every_table_has_the_same_rows(spark, worlds, tmp_path, world):
    source, day = worlds[world]
    for engine in ("spark", "sail"):
        shutil.copytree(source, tmp_path / engine)
        make(tmp_path / engine, day, engine, *MADE.values())
    for table in MADE:
        assert_alike(tmp_path / "spark", tmp_path / "sail", table, day)
