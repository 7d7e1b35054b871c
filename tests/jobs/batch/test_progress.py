"""A date is up to date while its settings hold and no row within its inputs' reach has changed."""

from argparse import Namespace
from datetime import timedelta

import pytest

from jobs.batch.progress import is_made
from jobs.batch.steps import STEPS
from schemas.storage import arrow, delta_log, partitions
from schemas.storage.root import Root
from schemas.table import partition
from schemas.tables.features import item_stats, user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import impressions
from schemas.tables.samples import hccp_samples
from tests.support import tiny_root
from tests.support import worked_example as example
from tests.support.worked_example import DAY

BY_JOB = {step.job: step for step in STEPS}
NONE = Namespace()


def days_off(number: int):
    return DAY + timedelta(days=number)


@pytest.mark.parametrize(("changed", "is_up_to_date"), [(-62, True), (-61, False), (-1, False), (0, False), (1, True)])
def test_a_changed_row_counts_within_reach(tmp_path, changed, is_up_to_date):
    tiny_root.put_delta(tmp_path, "impressions", days_off(-90), example.IMPRESSIONS)
    version = delta_log.version(Root.of(str(tmp_path)), impressions)
    arrow.write(str(tmp_path), item_stats, DAY, tiny_root.rows("item_stats", []), {impressions.path: version}, {})
    step = BY_JOB["build_item_stats"]
    assert is_made(str(tmp_path), step, DAY, NONE)
    tiny_root.put_delta(tmp_path, "impressions", days_off(changed), example.IMPRESSIONS)
    assert is_made(str(tmp_path), step, DAY, NONE) == is_up_to_date


def test_a_date_that_is_not_there_is_not_made(tmp_path):
    assert not is_made(str(tmp_path), BY_JOB["build_item_stats"], DAY, NONE)
    assert not is_made(str(tmp_path), BY_JOB["label_target_groups"], DAY, NONE)


@pytest.fixture
def sampled(tmp_path):
    """A root whose hccp_samples are up to date with seed 3."""
    tiny_root.put_delta(tmp_path, "target_groups", DAY, [], window_hours=24, attribution="last_request")
    tiny_root.put(tmp_path, "user_histories", DAY, [])
    place = Root.of(str(tmp_path))
    made_from = {
        target_groups.path: delta_log.version(place, target_groups),
        partition(user_histories, DAY): partitions.identity(place, user_histories, DAY),
    }
    settings = {"seed": 3, "labelling": {"window_hours": 24}}
    arrow.write(str(tmp_path), hccp_samples, DAY, tiny_root.rows("hccp_samples", []), made_from, settings)
    return tmp_path


def samples_made(root, seed: int = 3) -> bool:
    return is_made(str(root), BY_JOB["build_hccp_samples"], DAY, Namespace(seed=seed))


def test_another_seed_is_another_table(sampled):
    assert samples_made(sampled)
    assert not samples_made(sampled, seed=4)


def test_labels_and_histories_count_by_their_state(sampled):
    tiny_root.put_delta(sampled, "target_groups", days_off(1), [], window_hours=24)
    assert samples_made(sampled)
    tiny_root.put(sampled, "user_histories", DAY, [("r1", [], [], [])])
    assert not samples_made(sampled)


def test_labels_written_again_count_without_a_changed_row(sampled):
    tiny_root.put_delta(sampled, "target_groups", DAY, [], window_hours=24)
    assert not samples_made(sampled)


def test_settings_of_the_root_count(sampled):
    (sampled / "settings.toml").write_text('scenarios = ["feed"]\n')
    tiny_root.put_delta(sampled, "target_groups", DAY, [], window_hours=24, attribution="last_request", scenario="feed")
    given = Namespace(window_hours=24, attribution="last_request", scenario=None)
    step = BY_JOB["label_target_groups"]
    assert is_made(str(sampled), step, DAY, given)
    (sampled / "settings.toml").unlink()
    assert not is_made(str(sampled), step, DAY, given)
    assert is_made(str(sampled), step, DAY, Namespace(**{**vars(given), "scenario": ["feed"]}))
    assert not is_made(str(sampled), step, DAY, Namespace(**{**vars(given), "scenario": ["feed"], "window_hours": 6}))
