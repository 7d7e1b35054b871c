"""What the simulated funnel logs of requests: the NumPy cascade over Arrow batches of users, a task at a time.

A task writes its own part of the landing files: a date is millions of list elements, and taking them through Spark's
rows and its Parquet writer cost twice what all the rest of the date does. A part is named by its partition, so a
task that runs again replaces what it wrote.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.replay.events import cascade
from jobs.replay.events.cascade import CHANNELS
from jobs.replay.events.channels import Channels, questions
from jobs.replay.events.ranker import Ranker, chance
from jobs.replay.settings import Settings
from schemas.storage.root import Root
from schemas.table import Table
from schemas.tables.logs import impressions, retrievals, stages
from schemas.vocabulary import Stage

ANSWERED = (retrievals, stages, impressions)

_USERS_AT_ONCE = 512  # bounds a batch's memory: users x items that ALS knows


def write(
    channels: Channels, ranker: Ranker, asked: DataFrame, settings: Settings, folders: Mapping[Table, str]
) -> None:
    """Answer requests, and write what the funnel logs of them as Parquet.

    Args:
        asked: request_id, user_id, request_time.
        folders: for each of ANSWERED, the empty folder, as a path or URI, that its files go to.
    """
    places = {table.name: folders[table] for table in ANSWERED}

    def over(batches: Iterator[pa.RecordBatch], catalogue: cascade.Catalogue) -> Iterator[pa.RecordBatch]:
        part, written = f"part-{TaskContext.get().partitionId():05}.parquet", 0
        roots = {table: Root.of(places[table.name]) for table in ANSWERED}
        for root in roots.values():
            root.filesystem.create_dir(root.path, recursive=True)
        files = {
            table: parquet.ParquetWriter(root.at(part), table.schema, filesystem=root.filesystem, compression="zstd")
            for table, root in roots.items()
        }
        for batch in batches:
            for table, rows in answer(batch, catalogue, ranker, settings).items():
                files[table].write_table(rows)
                written += rows.num_rows
        for file in files.values():
            file.close()
        yield pa.RecordBatch.from_pydict({"rows": [written]})

    _batchwise(channels, by_user(asked, settings), settings, over, "rows bigint").collect()


def exposed(channels: Channels, ranker: Ranker, asked: DataFrame, settings: Settings) -> DataFrame:
    """request_id and item_id of what the funnel shows for requests; arguments as of write."""

    def over(batches: Iterator[pa.RecordBatch], catalogue: cascade.Catalogue) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            shown = answer(batch, catalogue, ranker, settings)[impressions]
            yield from shown.select(["request_id", "item_id"]).combine_chunks().to_batches()

    return _batchwise(channels, by_user(asked, settings), settings, over, "request_id string, item_id bigint")


def examples(channels: Channels, users: DataFrame, settings: Settings) -> DataFrame:
    """What the ranker can learn from: user_id, item_id, features array<double> of each pre-ranked item."""

    def over(batches: Iterator[pa.RecordBatch], catalogue: cascade.Catalogue) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = cascade.retrieve(batch, catalogue, settings)
            kept = cascade.pre_rank(cascade.merge(found, batch, catalogue, settings), settings)
            offsets = np.arange(0, kept.features.size + 1, len(cascade.FEATURES), dtype=np.int32)
            yield pa.RecordBatch.from_pydict(
                {
                    "user_id": batch.column("user_id").take(pa.array(kept.row)),
                    "item_id": kept.item,
                    "features": pa.ListArray.from_arrays(offsets, kept.features.ravel()),
                }
            )

    return _batchwise(channels, users, settings, over, "user_id bigint, item_id bigint, features array<double>")


def answer(
    batch: pa.RecordBatch, catalogue: cascade.Catalogue, ranker: Ranker, settings: Settings
) -> dict[Table, pa.Table]:
    """The rows of each of ANSWERED for a batch of channels.questions with two columns more.

    requests: list<struct<request_id, request_time>> of the user; all of them get the same answer. chance: in [0, 1),
    what decides the shadow's draw.
    """
    found = cascade.retrieve(batch, catalogue, settings)
    candidates = cascade.merge(found, batch, catalogue, settings)
    kept = cascade.pre_rank(candidates, settings)
    score = ranker.score(kept)
    ranking, shown = cascade.rank(kept, score), cascade.spread(kept, score, settings)
    users = batch.num_rows
    channels = {
        name: (_lists(users, one.row, one.item), _lists(users, one.row, one.score)) for name, one in found.items()
    }
    passed = [
        (Stage.PRE_RANKING, kept, np.arange(len(kept.row)), kept.pre_score),
        (Stage.RANKING, kept, ranking, score),
        (Stage.RE_RANKING, kept, shown, score),
    ]
    if settings.shadow_ranked:
        shadow = cascade.shadow(candidates, batch.column("chance").to_numpy(), settings)
        shadow_score = ranker.score(shadow)
        passed.append((Stage.SHADOW_RANKING, shadow, cascade.rank(shadow, shadow_score), shadow_score))
    staged = {
        stage: (_lists(users, items.row[order], items.item[order]), _lists(users, items.row[order], value[order]))
        for stage, items, order, value in passed
    }
    asked = batch.column("requests")
    owner = np.repeat(np.arange(users), asked.value_lengths().to_numpy())
    request_id, request_time = asked.flatten().flatten()
    return {
        retrievals: _named_lists(retrievals, request_id, owner, {name: channels[name] for name in CHANNELS}),
        stages: _named_lists(stages, request_id, owner, staged),
        impressions: _impressions(request_id, request_time, staged[Stage.RE_RANKING][0].take(pa.array(owner))),
    }


def _named_lists(
    table: Table, request_id: pa.Array, owner: np.ndarray, lists: Mapping[str, tuple[pa.ListArray, pa.ListArray]]
) -> pa.Table:
    """A row for each request and name whose list is not empty."""
    parts = []
    for name, (items, scores) in lists.items():
        has = np.flatnonzero(items.value_lengths().to_numpy()[owner] > 0)
        whose = pa.array(owner[has])
        names = pa.array(np.full(len(has), str(name), dtype=object), pa.string())
        columns = [request_id.take(pa.array(has)), names, items.take(whose), scores.take(whose)]
        parts.append(pa.Table.from_arrays(columns, schema=table.schema))
    return pa.concat_tables(parts)


def _impressions(request_id: pa.Array, request_time: pa.Array, items: pa.ListArray) -> pa.Table:
    """A row for each exposed item, at positions from 1, shown when it was asked for."""
    request = np.repeat(np.arange(len(items)), items.value_lengths().to_numpy())
    position = (cascade.place(request) + 1).astype(np.int32)
    at = pa.array(request)
    columns = [request_id.take(at), items.flatten(), pa.array(position), request_time.take(at)]
    return pa.Table.from_arrays(columns, schema=impressions.schema)


def by_user(asked: DataFrame, settings: Settings) -> DataFrame:
    """A row a user with what `answer` reads beside the channels' columns; the requests are of one date."""
    requests = F.sort_array(F.collect_list(F.struct("request_id", "request_time")))
    drawn = chance(settings.seed, F.to_date(F.min("request_time")).cast("string"), F.col("user_id"))
    return asked.groupBy("user_id").agg(requests.alias("requests"), drawn.alias("chance"))


def _batchwise(
    channels: Channels,
    users: DataFrame,
    settings: Settings,
    work: Callable[[Iterator[pa.RecordBatch], cascade.Catalogue], Iterator[pa.RecordBatch]],
    schema: str,
) -> DataFrame:
    catalogue = users.sparkSession.sparkContext.broadcast(channels.catalogue)

    def over(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        small = (
            batch.slice(at, _USERS_AT_ONCE) for batch in batches for at in range(0, batch.num_rows, _USERS_AT_ONCE)
        )
        return work(small, catalogue.value)

    return questions(channels, users, settings).mapInArrow(over, schema)


def _lists(rows: int, row: np.ndarray, values: np.ndarray) -> pa.ListArray:
    """Values that are sorted by row as one list a row, empty where a row has none; scores become float32."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int32)
    kind = pa.int64() if values.dtype == np.int64 else pa.float32()
    return pa.ListArray.from_arrays(offsets, pa.array(values.astype(kind.to_pandas_dtype())))
