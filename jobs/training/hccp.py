"""HCCP from samples to a published model."""

from datetime import date

import numpy as np
import pyarrow as pa

from jobs.command.cli import WorkFailedError
from jobs.training.training import Training
from models import batches
from models.hccp import inputs as hccp_inputs
from models.hccp.model import Hccp, load
from models.item_vocabulary import Catalogue
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import partition
from schemas.tables.features import item_stats
from schemas.tables.samples import hccp_samples
from schemas.vocabulary import Level


def train(training: Training) -> dict:
    """Train one variant and publish it; returns its place, and how many requests it learned from."""
    settings = training.settings
    facts = facts_of(training.directory.root, training.days)
    if settings.shadow and not facts["items_by_level"][Level.SHADOW]:
        raise WorkFailedError(
            f"hccp_samples of {training.days[0]} to {training.days[-1]} hold no item of level shadow, which "
            f"{training.directory.variant} learns from; their logs would need the stage shadow_ranking"
        )
    catalogue, counts, made_from = known_items(training, facts["item_ids"])
    seed = training.directory.seed
    model = load(training.before, catalogue, settings) if training.before else Hccp(settings, catalogue, seed)
    model.counts.assign(counts[_number(training.directory.day)])

    def assemble(rows: batches.Batch, random: np.random.Generator) -> dict:
        return hccp_inputs.assemble(rows, catalogue, counts, settings, random)

    found = {"made_from": made_from, "requests": facts["requests"], "items_by_level": facts["items_by_level"]}
    return training.learn(model, hccp_inputs.COLUMNS, assemble, "rows", found)


def facts_of(root: str, days: list[date]) -> dict:
    """What the samples of these dates hold: requests, items of each level, the ids of all items."""
    requests, levels, found = 0, np.zeros(len(Level) + 1, np.int64), [np.zeros(0, np.int64)]
    for day in days:
        rows = batches.decode(arrow.read(root, hccp_samples, day, ["history_item_ids", "item_ids", "levels"]))
        requests += batches.size(rows)
        levels += np.bincount(rows["levels"].values, minlength=len(levels))
        found += [np.unique(rows[name].values) for name in ("history_item_ids", "item_ids")]
    if not requests:
        raise WorkFailedError(f"hccp_samples of {days[0]} to {days[-1]} hold no request to learn from")
    items_by_level = {str(level): int(levels[code]) for level, code in hccp_inputs.LEVEL_CODES.items()}
    return {"requests": requests, "items_by_level": items_by_level, "item_ids": np.unique(np.concatenate(found))}


def known_items(training: Training, item_ids: np.ndarray) -> tuple[Catalogue, dict[int, np.ndarray], dict]:
    """The items to know, `counts_by_row` of each date by its number, and what both were made from."""
    root, days = training.directory.root, training.days
    tables = [(table, one) for table in (hccp_samples, item_stats) for one in days]
    made_from = {partition(table, one): partitions.identity(Root.of(root), table, one) for table, one in tables}
    stats: dict[date, pa.Table] = {
        one: arrow.read(root, item_stats, one, ["item_id", *hccp_inputs.COUNTS]) for one in days
    }
    catalogue, version = training.catalogue(np.concatenate([item_ids, stats[days[-1]]["item_id"].to_numpy()]))
    counts = {_number(one): hccp_inputs.counts_by_row(catalogue, stats[one]) for one in days}
    return catalogue, counts, made_from | version


def _number(day: date) -> int:
    """Days since 1970, as `hccp_inputs.assemble` counts them."""
    return (day - date(1970, 1, 1)).days
