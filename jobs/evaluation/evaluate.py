"""What judging either model has in common: the rows that `evaluations` get, and what they were made from."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from jobs.command import cli
from jobs.evaluation import request_scores
from jobs.evaluation import table as evaluations
from models import checkpoint
from models.checkpoint import ModelDirectory
from models.evaluation.per_request import PerRequest, averages
from schemas import serving
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import ConflictError, Table, partition
from schemas.vocabulary import Attribution

Measured = dict[tuple[str, int], list[PerRequest]]  # by variant and seed


class Judge(Protocol):
    """One date's requests, ready to measure whatever orders their items.

    `sources`: the tables that the figures come from; the Delta ones may be of earlier dates too, or absent.
    `snapshot`: the root as all of them are read. `states`: `partition_states` before anything was read.
    `requests`: how many are measured. `request_ids`: of these, by place. `counts`: what the job says of them.
    """

    root: str
    snapshot: arrow.Snapshot
    states: dict[str, str]
    day: date
    settings: Any
    requests: int
    request_ids: pa.Array
    counts: dict[str, int]
    sources: ClassVar[tuple[Table, ...]]

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured: ...

    def cost(self, model: ModelDirectory) -> list[dict]: ...


def evaluate(judge: Judge, model: str) -> dict:
    """Measure the newest models of the week before, what serves and what needs no training; replaces the model's rows.

    What serves is measured on the same requests, for `gate` to compare; its figures are in request_scores alone.
    """
    before = judge.day - timedelta(1)
    models = checkpoint.newest(judge.root, model, before, checkpoint.CONTINUED_DAYS)
    if not models:
        days = f"{checkpoint.CONTINUED_DAYS} days up to {before}"
        cli.log(f"models/{model} has no model of the {days}: only the rows that need no training")
    warn_of_shared_actions(judge)
    measured = judge.measure(models)
    scored = {each: measured.get((each.variant, each.seed), []) for each in models}
    scored |= serving_scores(judge, model, models)
    rows = rows_of(measured, {(each.variant, each.seed) for each in models})
    for each in models if judge.requests else ():
        rows += [{"variant": each.variant, "seed": each.seed, "trained": True, **row} for row in judge.cost(each)]
    sources = made_from(judge) | {each.place: each.manifest().get("made_from") for each in scored}
    written = evaluations.replace_rows(judge.root, judge.day, model, rows, sources, asdict(judge.settings))
    request_scores.replace_rows(judge.root, judge.day, model, judge.request_ids, scored, sources)
    return {"rows_written": written, **judge.counts, "models": [each.place for each in models]}


def serving_scores(judge: Judge, model: str, models: Sequence[ModelDirectory]) -> dict:
    """What the model that serves earned in each request; none where nothing serves or it is measured anyway.

    A model of the date or of a later one has learned from these requests: it is not measured on them.
    """
    served = serving.read(judge.root, model)
    if served is None or not judge.requests:
        return {}
    champion = ModelDirectory.at(judge.root, served.place)
    if champion in models or not champion.exists or champion.day >= judge.day:
        return {}
    cli.log(f"{champion.place} serves and is measured beside them")
    return {champion: judge.measure([champion], untrained=False)[champion.variant, champion.seed]}


def warn_of_shared_actions(judge: Judge) -> None:
    """Say so if one action may be a target of the date and have been one of the day before."""
    samples = next(table for table in judge.sources if table.layer == "samples")
    made = partitions.manifest(Root.of(judge.root), samples, judge.day)["settings"]
    if made.get("labelling", {}).get("attribution") == Attribution.EVERY_REQUEST:
        cli.log(
            f"the labels of {judge.day} give an action to every request whose window it falls in, those of the day "
            "before among them: models of that day have learned from some of what they are measured on"
        )


def rows_of(measured: Measured, trained: Collection[tuple[str, int]]) -> list[dict]:
    """Rows of `evaluations`, without the model.

    Args:
        trained: variant and seed of the models among what was measured.
    """
    return [
        {"variant": variant, "seed": seed, "trained": (variant, seed) in trained, **row}
        for (variant, seed), found in measured.items()
        for row in averages(found)
    ]


def partition_states(root: str, day: date, sources: Sequence[Table]) -> dict[str, str]:
    """The state of each Parquet source of a date.

    Raises:
        MissingDataError: a source lacks the date.
    """
    place, parquet = Root.of(root), [table for table in sources if table.storage == "parquet"]
    return {partition(table, day): partitions.identity(place, table, day) for table in parquet}


def made_from(judge: Judge) -> dict:
    """The state of every input that the figures come from: what was read, whatever was written meanwhile.

    Raises:
        ConflictError: a Parquet partition was replaced while it was measured.
    """
    for place, state in partition_states(judge.root, judge.day, judge.sources).items():
        if state != judge.states[place]:
            raise ConflictError(f"{place} below {judge.root} was replaced while it was measured; run this again")
    delta = [table for table in judge.sources if table.storage == "delta" and arrow.dates(judge.snapshot, table)]
    return judge.states | {table.path: arrow.delta(judge.snapshot, table).version() for table in delta}
