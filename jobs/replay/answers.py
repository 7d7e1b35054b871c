"""The funnel's answers as DataFrames: the NumPy cascade over Arrow batches of users."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from jobs.replay import cascade
from jobs.replay.cascade import CHANNELS
from jobs.replay.channels import Channels, questions
from jobs.replay.ranker import Ranker
from jobs.replay.settings import Settings
from schemas.labels import Stage

_USERS_AT_ONCE = 512  # bounds a batch's memory: users x items that ALS knows


def answers(channels: Channels, ranker: Ranker, users: DataFrame, settings: Settings) -> DataFrame:
    """A row a user: user_id, and <name>_items, <name>_scores for each channel and stage, best first."""
    names = (*CHANNELS, *(str(stage) for stage in Stage))
    lists = ", ".join(f"{name}_items array<bigint>, {name}_scores array<float>" for name in names)

    def answer(batch: pa.RecordBatch, catalogue: cascade.Catalogue) -> pa.RecordBatch:
        found = cascade.retrieve(batch, catalogue, settings)
        kept = cascade.pre_rank(found, batch, catalogue, settings)
        score = ranker.score(kept)
        parts = {name: (one.row, one.item, one.score) for name, one in found.items()}
        parts[str(Stage.PRE_RANKING)] = (kept.row, kept.item, kept.pre_score)
        ranking, shown = cascade.rank(kept, score), cascade.spread(kept, score, settings)
        for stage, order in ((Stage.RANKING, ranking), (Stage.RE_RANKING, shown)):
            parts[str(stage)] = (kept.row[order], kept.item[order], score[order])
        columns = {"user_id": batch.column("user_id")}
        for name in names:
            row, item, value = parts[name]
            columns[f"{name}_items"] = _lists(batch.num_rows, row, item)
            columns[f"{name}_scores"] = _lists(batch.num_rows, row, value.astype(np.float32))
        return pa.RecordBatch.from_pydict(columns)

    return _batchwise(channels, users, settings, answer, f"user_id bigint, {lists}")


def examples(channels: Channels, users: DataFrame, settings: Settings) -> DataFrame:
    """What the ranker can learn from: user_id, item_id, features array<double> of each pre-ranked item."""

    def example(batch: pa.RecordBatch, catalogue: cascade.Catalogue) -> pa.RecordBatch:
        kept = cascade.pre_rank(cascade.retrieve(batch, catalogue, settings), batch, catalogue, settings)
        features = pa.FixedSizeListArray.from_arrays(kept.features.ravel(), len(cascade.FEATURES))
        columns = {
            "user_id": batch.column("user_id").take(kept.row),
            "item_id": kept.item,
            "features": features.cast(pa.list_(pa.float64())),
        }
        return pa.RecordBatch.from_pydict(columns)

    return _batchwise(channels, users, settings, example, "user_id bigint, item_id bigint, features array<double>")


def _batchwise(
    channels: Channels,
    users: DataFrame,
    settings: Settings,
    work: Callable[[pa.RecordBatch, cascade.Catalogue], pa.RecordBatch],
    schema: str,
) -> DataFrame:
    catalogue = users.sparkSession.sparkContext.broadcast(channels.catalogue)

    def over(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for at in range(0, batch.num_rows, _USERS_AT_ONCE):
                yield work(batch.slice(at, _USERS_AT_ONCE), catalogue.value)

    return questions(channels, users, settings).mapInArrow(over, schema)


def _lists(rows: int, row: np.ndarray, values: np.ndarray) -> pa.ListArray:
    """Values that are sorted by row as one list a row, empty where a row has none."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
