"""Train every variant of a study with every seed and compare them on one page.

Reads:  what train_increc and evaluate_increc, or train_hccp and evaluate_hccp,
        read of the dates; of a simulated world logs and landing/_truth of LAST
Writes: models/studies/NAME; reports/studies/NAME with study.html;
        reports/evaluations of LAST, the rows of the model `studies/NAME`

- Variants learn from FIRST to the day before LAST and are measured on LAST.
- Cells that exist are kept, whatever the code: remove them to have all again.
- A variant whose training fails is left out and named at the end.

In detail:

`--date FIRST..LAST`: each variant learns from nothing from FIRST to the day before LAST and is measured on LAST as
evaluate_increc and evaluate_hccp measure, milliseconds with its first seed alone; the labels of the day before LAST
reach into it, as far as its last windows do. With `--judged N` the last N dates are measured, all by the same models,
which learn from the dates before them: for logs whose single dates are too small. Beside them stand the rows that need
no training. A variant and seed that is there already, from the same inputs, dates and settings, is not repeated; a
change of code does not count: remove the study's cells to have all anew. One whose training fails, as when its loss is
not finite, is left out and named at the end. The page gives means, their spread over seeds, differences from the
study's reference with paired bootstrap intervals over requests, segments, what a request costs, and of IncRec a picture
of the item vectors. The models lie below models/studies/NAME/date=D, D the last date learned from; the values of every
request below reports/studies/NAME/cells/.

A study with a grid is tuned first: of the dates to learn from the last ones, as many as are judged on later and at most
all but the first, are measured on; each variant learns from the others with each combination of the grid, and keeps the
combination of the best IncF@K or ISH@K, K the middle cut-off. What was tried is a study of its own, NAME-tuning.
"""

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta

import tensorflow as tf

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.evaluation import evaluate
from jobs.evaluation import hccp as judge_hccp
from jobs.evaluation import increc as judge_increc
from jobs.evaluation.pooled import SeveralDates
from jobs.evaluation.table import replace_rows
from jobs.study import definitions, item_vectors, page
from jobs.study.comparison import Comparison, compare, headline
from jobs.study.definitions import STUDIES, Study, Variant
from jobs.study.page import Finished
from jobs.study.trials import UNTRAINED, Cell
from jobs.training import hccp as train_hccp
from jobs.training import increc as train_increc
from jobs.training.training import Training
from models.checkpoint import ModelDirectory
from schemas.storage import arrow, delta_log, partitions
from schemas.storage.root import Root
from schemas.table import partition
from schemas.tables.logs import items
from schemas.tables.samples import hccp_samples, increc_samples

# Model -> its samples, what trains it, what judges it.
_WAYS = {
    "increc": (increc_samples, train_increc.train, judge_increc),
    "hccp": (hccp_samples, train_hccp.train, judge_hccp),
}


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--study", choices=STUDIES, required=True, help="required; a wrong name lists them all", metavar="NAME"
    )
    parser.add_argument("--seeds", type=cli.at_least(1), metavar="N", help="seeds of each variant; default the study's")
    parser.add_argument("--size", choices=("default", "tiny"), help="of every preset; default the study's")
    parser.add_argument(
        "--judged", type=cli.at_least(1), default=1, metavar="N", help="dates measured, the last ones; default 1"
    )
    return parser


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments with `--date` taken apart: `days` to learn from, `judged` to judge on; `date` is the last alone."""
    parser = arg_parser()
    arguments = parser.parse_args(words)
    arguments.days, arguments.judged = arguments.date[: -arguments.judged], arguments.date[-arguments.judged :]
    arguments.date = arguments.judged[-1:]
    if not arguments.days:
        parser.error("--date has to be FIRST..LAST: a study learns from the dates before those that it is judged on")
    if STUDIES[arguments.study]().grid and len(arguments.days) < 2:
        parser.error(f"--date has to have a date more: {arguments.study} is tuned on the last of two to learn from")
    return arguments


def main(arguments: argparse.Namespace, day: date) -> dict:
    tf.config.experimental.enable_op_determinism()
    name, study = asked(arguments)
    if study.grid:
        study = tuned(arguments, name, study)
    line, _, faults = run(arguments, name, study, arguments.days, arguments.judged)
    if faults:
        raise WorkFailedError(f"{faults}; the page has the others")
    return line


def tuned(arguments: argparse.Namespace, name: str, study: Study) -> Study:
    """The study with what each variant earned most with on the last dates before those that are reported."""
    dates = min(len(arguments.judged), len(arguments.days) - 1)
    learned, judged = arguments.days[:-dates], arguments.days[-dates:]
    _, compared, faults = run(arguments, f"{name}-tuning", definitions.tried(study), learned, judged, tuning=True)
    try:
        best = definitions.with_best(study, headline(compared))
    except ValueError as fault:
        raise WorkFailedError(f"{fault}: {faults}") from None
    for variant in best.variants:
        cli.log(f"{variant.name}: {', '.join(f'{each} {variant.changes[each]}' for each in study.grid)}")
    return best


def run(
    arguments: argparse.Namespace, name: str, study: Study, days: list[date], judged: list[date], tuning: bool = False
) -> tuple[dict, Comparison, str]:
    """Train, judge and write the page; returns the job's line, the comparison, and what could not be trained.

    While tuning nothing is timed or drawn.
    """
    root = arguments.root
    inputs = states(root, study.model, days, judged)
    judging = _WAYS[study.model][2]
    judge = SeveralDates([judging.Judge(root, each, judging.Settings()) for each in judged])
    evaluate.warn_of_shared_actions(judge.judges[0])
    cells = plan(root, name, study, days, judge, inputs)
    todo = [cell for cell in cells if not cell.done]
    cli.log(f"{name}: {len(cells)} cells, {len(cells) - len(todo)} of them there already")
    started, variants = time.monotonic(), {variant.name: variant for variant in study.variants}
    failed = {}
    for number, cell in enumerate(todo, start=1):
        try:
            cell.write(measured(cell, study, variants.get(cell.variant), days, judge))
        except WorkFailedError as fault:  # a loss that is not finite is so in every attempt
            failed[cell.name] = str(fault)
        told = failed.get(cell.name, "done")
        cli.log(f"{number} of {len(todo)} cells, {time.monotonic() - started:.0f} s: {cell.name}: {told}")
    there = [cell for cell in cells if cell.name not in failed]
    faults = "; ".join(f"{each}: {fault}" for each, fault in failed.items())
    if not tuning and all(cell.variant != study.reference for cell in there):
        raise WorkFailedError(f"nothing to compare with: {faults}")
    if not tuning:
        measure_costs(there, days, judge)
    compared = compare(study.model, study.reference, there, judge.requests)
    judging = asdict(judge.settings)
    settings = {"days": [*map(str, days)], "judged": [*map(str, judged)], "size": study.size, **judging}
    written = replace_rows(root, judge.day, f"studies/{name}", compared.rows, inputs, settings)
    picture = None if tuning else item_vectors.picture(name, study, days[-1], judge.judges[-1])
    about = STUDIES[arguments.study].__doc__
    html = page.render(root, Finished(name, study, about, days, judged, judging, compared, picture))
    Root.of(root).write_text(page.place(name), html)
    line = {"rows_written": written, "cells": len(cells), "trained": sum(each.variant != UNTRAINED for each in todo),
            "report": Root.of(root).at(page.place(name))}  # fmt: skip
    return line, compared, faults


def asked(arguments: argparse.Namespace) -> tuple[str, Study]:
    """The study as the flags change it; in another size it has another name, and so a place of its own."""
    study = STUDIES[arguments.study]()
    size = arguments.size or study.size
    name = arguments.study if size == study.size else f"{arguments.study}-{size}"
    return name, replace(study, seeds=arguments.seeds or study.seeds, size=size)


def plan(root: str, name: str, study: Study, days: list[date], judge: SeveralDates, inputs: dict) -> list[Cell]:
    """The rows without training, then every variant with the first seed, then with the second, ..."""
    about = {"days": [*map(str, days)], "judged": [*map(str, judge.days)]}
    about |= {"judging": asdict(judge.settings), "requests": judge.requests}
    wanted = [(UNTRAINED, 0, None)]
    wanted += [
        (variant.name, seed, asdict(study.settings(variant)))
        for seed in range(1, study.seeds + 1)
        for variant in study.variants
    ]
    return [
        Cell(root, name, judge.day, variant, seed, inputs, {**about, "seed": seed, "training": training})
        for variant, seed, training in wanted
    ]


def measured(cell: Cell, study: Study, variant: Variant | None, days: list[date], judge: SeveralDates) -> dict:
    """Variant -> what it earned in each request; a variant is trained first, None stands for those that need not be."""
    if variant is None:
        return {name: found for (name, _), found in judge.measure([]).items()}
    samples, train, _ = _WAYS[study.model]
    directory = model_of(cell, days)
    train(Training(samples, directory, None, days, study.settings(variant)))
    found = judge.measure([directory], untrained=False)
    tf.keras.backend.clear_session()  # a model's graphs are as large as its tables
    gc.collect()
    return {name: values for (name, _), values in found.items()}


def measure_costs(cells: list[Cell], days: list[date], judge: SeveralDates) -> None:
    """Time the first seed's models that nobody has timed yet, all at the end, when nothing else of the study runs."""
    for cell in cells if judge.requests else ():
        model = model_of(cell, days)
        if cell.seed == 1 and cell.cost is None and model.exists:
            cli.log(f"timing {model.place}")
            cell.write_cost(judge.cost(model))


def model_of(cell: Cell, days: list[date]) -> ModelDirectory:
    return ModelDirectory(cell.root, f"studies/{cell.study}", days[-1], cell.variant, cell.seed)


def states(root: str, model: str, learned: list[date], judged: list[date]) -> dict:
    """The state of every input of these dates and the weeks before: nothing that came for others counts.

    Raises:
        MissingDataError: the samples lack a date.
    """
    place, found = Root.of(root), {}
    samples, _, judging = _WAYS[model]
    days, since = [*learned, *judged], min(learned[0], judged[0] - timedelta(judge_increc.Settings.neighbour_days))
    for table in (*judging.Judge.sources, items):
        if table.storage == "parquet":
            there = days if table is samples else set(days) & set(partitions.dates(place, table))
            found |= {partition(table, day): partitions.identity(place, table, day) for day in sorted(there)}
        elif arrow.dates(root, table):
            written = delta_log.newest(place, table)
            versions = (version for day, (version, _) in written.items() if since <= day <= days[-1])
            found[table.path] = max(versions, default=None)
    return found


if __name__ == "__main__":
    cli.run("run_study", parsed(), main)
