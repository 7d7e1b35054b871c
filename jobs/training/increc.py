"""IncRec from samples to a published model."""

from datetime import date

import numpy as np

from jobs.command.cli import WorkFailedError
from jobs.training.masks import Retrieved
from jobs.training.training import Training
from models import batches
from models.increc import inputs as increc_inputs
from models.increc.model import IncRec, load
from models.item_vocabulary import Catalogue, by_row
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import partition
from schemas.tables.features import item_stats
from schemas.tables.logs import retrievals
from schemas.tables.samples import increc_samples

_ITEM_LISTS = ("history_item_ids", "etg_item_ids", "rtg_item_ids", "itg_item_ids")


def train(training: Training) -> dict:
    """Train one variant and publish it; returns its place, and how many requests it learned from."""
    settings = training.settings
    facts = facts_of(training.directory.root, training.days)
    catalogue, probabilities, made_from = known_items(training, facts["item_ids"])
    seed = training.directory.seed
    columns, retrieved = increc_inputs.COLUMNS, None
    if settings.mask_retrieved:
        columns, retrieved = (*columns, "request_id"), Retrieved.read(training.directory.root, training.days, catalogue)
        made_from |= {retrievals.path: arrow.delta(training.directory.root, retrievals).version()}
    model = load(training.before, catalogue, settings) if training.before else IncRec(settings, catalogue, seed)

    def assemble(rows: batches.Batch, random: np.random.Generator) -> dict:
        if retrieved:
            rows = rows | {"retrieved_rows": retrieved.of(rows["request_id"])}
        return increc_inputs.assemble(rows, catalogue, probabilities, settings, random)

    found = {
        "made_from": made_from,
        "serving": settings.serving,
        "requests": facts["requests"],
        "share_of_requests_with_rtg_and_itg": facts["both"] / facts["requests"],
    }
    return training.learn(model, columns, assemble, "target_slots", found)


def facts_of(root: str, days: list[date]) -> dict:
    """What the samples of these dates hold: requests, how many have both RTG and ITG, the ids of all items."""
    requests, both, found = 0, 0, [np.zeros(0, np.int64)]
    for day in days:
        rows = batches.decode(arrow.read(root, increc_samples, day, _ITEM_LISTS))
        requests += batches.size(rows)
        both += int(((rows["rtg_item_ids"].lengths > 0) & (rows["itg_item_ids"].lengths > 0)).sum())
        found.append(np.unique(np.concatenate([lists.values for lists in rows.values()])))
    if not requests:
        raise WorkFailedError(f"increc_samples of {days[0]} to {days[-1]} hold no request to learn from")
    return {"requests": requests, "both": both, "item_ids": np.unique(np.concatenate(found))}


def known_items(training: Training, item_ids: np.ndarray) -> tuple[Catalogue, np.ndarray, dict]:
    """The items to know and f_C by row, and what both were made from."""
    root, day = training.directory.root, training.directory.day
    stats = arrow.read(root, item_stats, day, ["item_id", "sampling_probability"])
    tables = [*((increc_samples, one) for one in training.days), (item_stats, day)]
    made_from = {partition(table, one): partitions.identity(Root.of(root), table, one) for table, one in tables}
    ids = stats["item_id"].to_numpy()
    catalogue, version = training.catalogue(np.concatenate([item_ids, ids]))
    probabilities = stats["sampling_probability"].to_numpy()
    missing = probabilities.min() if len(ids) else 1 / len(catalogue.item_ids)
    return catalogue, by_row(catalogue, ids, probabilities, missing), made_from | version
