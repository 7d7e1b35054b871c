"""What judging either model has in common: the rows that `evaluations` get, and what they were made from."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, ClassVar, Protocol

from jobs.command import cli
from jobs.evaluation import table as evaluations
from models import checkpoint
from models.checkpoint import ModelDirectory
from models.evaluation.per_request import PerRequest, averages
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import Table, partition
from schemas.vocabulary import Attribution

Measured = dict[tuple[str, int], list[PerRequest]]  # by variant and seed


class Judge(Protocol):
    """One date's requests, ready to measure whatever orders their items.

    `sources`: the tables that the figures come from; the Delta ones may be of earlier dates too, or absent.
    `requests`: how many are measured. `counts`: what the job says of them.
    """

    root: str
    day: date
    settings: Any
    requests: int
    counts: dict[str, int]
    sources: ClassVar[tuple[Table, ...]]

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured: ...

    def cost(self, model: ModelDirectory) -> list[dict]: ...


def evaluate(judge: Judge, model: str) -> dict:
    """Measure the models of the day before and what needs no training; replaces the model's rows of the date."""
    before = judge.day - timedelta(1)
    models = checkpoint.found(judge.root, model, before)
    if not models:
        cli.log(f"there is no model in models/{model}/date={before}: only the rows that need no training")
    warn_of_shared_actions(judge)
    rows = rows_of(judge.measure(models), {(each.variant, each.seed) for each in models})
    for each in models if judge.requests else ():
        rows += [{"variant": each.variant, "seed": each.seed, "trained": True, **row} for row in judge.cost(each)]
    sources = made_from(judge) | {each.place: each.manifest().get("made_from") for each in models}
    written = evaluations.replace_rows(judge.root, judge.day, model, rows, sources, asdict(judge.settings))
    return {"rows_written": written, **judge.counts, "models": [each.place for each in models]}


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


def made_from(judge: Judge) -> dict:
    """The state of every input that the figures come from."""
    root, found = judge.root, {}
    for table in judge.sources:
        if table.storage == "parquet":
            found[partition(table, judge.day)] = partitions.identity(Root.of(root), table, judge.day)
        elif arrow.dates(root, table):
            found[table.path] = arrow.delta(root, table).version()
    return found
