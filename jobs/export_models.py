"""Publish the date's models that pass, and decide what serves.

Reads:  models/increc, models/hccp, samples/increc_samples,
        samples/hccp_samples, reports/evaluations, reports/request_scores,
        logs/items (or, without, logs/impressions and logs/conversions),
        ids/item_id where ids are text
Writes: models/<model>/date=D/<variant>-seed<seed>: saved_model, item_vectors,
        index.faiss, index_ids, and `exported` in its manifest;
        models/<model>/serving.json

- A model passes if it stands above `random` in its evaluation of D + 1.
- It replaces what serves unless it is worse on the requests of D + 1.
- Vectors and index hold the items that are alive.

In detail:

Where D + 1 is not evaluated yet, the checkpoint that the model continued from (day before, same variant and seed) has
to stand above random on D. What counts is Inc@K of increc and ASH@K of hccp, at the smallest K that both rows have. A
model that does not pass is held back, with the reason.

Of the models that pass, the gate (jobs/evaluation/gate.py) may put one to serve. The first one serves because it
stands above random. A later one replaces it unless a paired bootstrap over the requests of D + 1 finds it worse. In
the daily batch D + 1 is evaluated after the models of D were exported. So each run decides over the models of the day
before too, those that it published. What a person put to serve with serve_model stays until a model of a later date
is judged.

Before anything is published, the SavedModels are loaded back and compared with the model, and the index has to find
98 % of the exact top 100. A pre-ranker whose network crosses user and item has no vectors: its SavedModel scores a
user's items. The directory is swapped in whole. Items that are alive are those of the newest `items` snapshot at or
before the date, or, where none is logged, of the last 60 days' impressions and conversions.
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, fs

from jobs.command import cli
from jobs.evaluation import gate
from jobs.evaluation.gate import Verdict
from jobs.evaluation.hccp import CUTS
from jobs.evaluation.request_scores import METRICS
from models import batches, checkpoint
from models.checkpoint import MANIFEST, ModelDirectory
from models.evaluation import retrieval_metrics
from models.hccp import model as hccp
from models.increc import model as increc
from models.serving import export as serving
from models.serving.alive_items import AliveItems
from schemas import serving as serving_file
from schemas.storage import arrow, id_texts
from schemas.storage.root import Root
from schemas.tables.reports import evaluations
from schemas.tables.samples import hccp_samples, increc_samples

MODELS = {"increc": (increc.load, increc_samples), "hccp": (hccp.load, hccp_samples)}
RECALL_AT_LEAST = 0.98
DIFFERENCE_AT_MOST = 1e-5
QUERIES = 1000  # requests of the date that the index and the SavedModels are checked with


def arg_parser() -> argparse.ArgumentParser:
    return cli.parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    published, held_back, written, gate_lines = [], {}, 0, {}
    for model in MODELS:
        passed = {}
        for directory in checkpoint.found(arguments.root, model, day):
            found = verdict(directory, METRICS[model])
            cli.log(f"{directory.place}: {found.why}")
            if found.passed:
                written += export(directory, found.why)["items"]
                passed[directory] = found
            else:
                held_back[directory.place] = found.why
        published += [directory.place for directory in passed]
        judged_now(arguments.root, model, day - timedelta(1))
        if passed:
            gate_lines[model] = put_to_serve(arguments.root, model, day, passed)
    if not published and not held_back:
        cli.log(f"there is no model dated {day} below {arguments.root}")
    return {"rows_written": written, "published": published, "held_back": held_back, "serving": gate_lines}


def judged_now(root: str, model: str, before: date) -> None:
    """Let the gate decide over the models of the day before, whose evaluation the daily batch makes after their export.

    What a person put to serve stays: models that were published by then were passed over.
    """
    published = [each for each in checkpoint.found(root, model, before) if "exported" in each.manifest()]
    served = serving_file.read(root, model)
    if not published or (served is not None and (served.passed_over or "") >= str(before)):
        return
    verdicts = {each: verdict(each, METRICS[model]) for each in published}
    passed = {each: found for each, found in verdicts.items() if found.passed}
    if passed:
        put_to_serve(root, model, before, passed)


def put_to_serve(root: str, model: str, day: date, published: dict[ModelDirectory, Verdict]) -> str:
    """Let the gate decide what serves; returns its decision in words."""
    with Root.of(root).locked(f"serving-{model}"):
        decision = gate.decide(root, model, day, published)
        gate.put(root, model, decision)
    cli.log(f"{model}: {decision.line}")
    return decision.line


def verdict(directory: ModelDirectory, metric: str) -> Verdict:
    """Whether the model stands above random, and by which figures."""
    after, before = directory.day + timedelta(1), replace(directory, day=directory.day - timedelta(1))
    evaluations_of = [(after, "it")]
    if directory.manifest().get("continued_from") == before.place:
        evaluations_of.append((directory.day, f"the model of {before.day} that it continued from"))
    for evaluated, what in evaluations_of:
        rows = _evaluation(directory.root, evaluated, directory.model, metric)
        own = rows.get((directory.variant, directory.seed))
        if own is None:
            continue
        if not own:
            return Verdict(False, _without_any_k(evaluated, what, metric))
        random = rows.get(("random", 0), {})
        common = sorted(k for k in own.keys() & random.keys() if own[k] is not None and random[k] is not None)
        if not common:
            return Verdict(
                False, f"the evaluation of {evaluated} has no K at which {what} and random both have {metric}"
            )
        k = common[0]
        above = own[k] > random[k]
        stands = "stands above" if above else "does not stand above"
        why = f"on {evaluated} {what} {stands} random: {metric}@{k} {own[k]:.4f} against {random[k]:.4f}"
        return Verdict(above, why, evaluated, own[k])
    unknown = ", ".join(f"the evaluation of {evaluated} lacks {what}" for evaluated, what in evaluations_of)
    name = f"{directory.variant}-seed{directory.seed}"
    return Verdict(False, f"{name} is not evaluated yet: {unknown}")


def _without_any_k(evaluated: date, what: str, metric: str) -> str:
    cuts = {"inc": retrieval_metrics.CUTOFFS, "ash": CUTS}[metric]
    return (
        f"the evaluation of {evaluated} measured {what}, but no {metric}@K: its K are {', '.join(map(str, cuts))}, and "
        f"a catalogue of fewer than {cuts[0]} items has no first {cuts[0]} to look among. Nothing says whether it "
        "stands above random, so it is held back"
    )


def _evaluation(root: str, day: date, model: str, metric: str) -> dict[tuple[str, int], dict[int, float | None]]:
    """(variant, seed) -> k -> the metric over everything; no k of one that was measured in other metrics alone.

    Empty if the date is not evaluated.
    """
    if day not in arrow.dates(root, evaluations):
        return {}
    rows = arrow.read(root, evaluations, day, evaluations.names)
    found: dict[tuple[str, int], dict[int, float | None]] = {}
    for row in rows.filter((pc.field("model") == model) & (pc.field("segment") == "all")).to_pylist():
        values = found.setdefault((row["variant"], row["seed"]), {})
        if row["metric"] == metric:
            values[row["k"]] = row["value"]
    return found


def export(directory: ModelDirectory, why: str) -> dict:
    """Write everything beside the directory and swap it in; returns what its manifest now says of it.

    Raises:
        WorkFailedError: a SavedModel gives other vectors than the model, or the index finds too little.
        ConflictError: the model was trained anew meanwhile; the new one stays, not exported.
    """
    load, samples = MODELS[directory.model]
    folder = checkpoint.open_directory()
    try:
        with checkpoint.replacing(directory) as staged:
            manifest = directory.manifest()
            model, requests = load(directory), some_requests(directory.root, samples, directory.day)
            copy(directory, folder)
            exported = exported_to(folder, model, requests, directory)
            check(directory, exported)
            weights = (folder / "checkpoint/weights.npz").read_bytes()
            made_from = {"checkpoint": hashlib.sha256(weights).hexdigest()[:16], "verdict": why}
            checkpoint.fill(staged, folder, manifest | {"exported": exported | made_from})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cli.log(f"{directory.place}: {json.dumps(exported)}")
    return exported


def exported_to(folder: Path, model, requests: batches.Batch, directory: ModelDirectory) -> dict:
    """Write what a server needs into the folder; returns what the manifest says of it.

    Raises:
        WorkFailedError: the model knows none of the items that are alive.
    """
    length = model.settings.history_length
    if not model.has_vectors:
        return serving.export_scorer(model, length, requests, folder)
    snapshot, known = arrow.Snapshot(directory.root), np.sort(model.item_vocabulary)
    alive = AliveItems.of(snapshot, directory.day)
    if alive is not None:
        known = known[alive.among(known)]
        if not len(known):
            raise cli.WorkFailedError(
                f"{directory.place} knows none of the {len(alive.item_ids)} items of {alive.source}; an index needs one"
            )
    texts = id_texts.texts(directory.root, "item_id", known)
    exported = serving.export(model, length, model.user_vectors(requests), folder, known, texts)
    exported |= {"alive": alive.source, "made_from": snapshot.versions} if alive else {}
    known = model.item_vocabulary[:QUERIES]
    return exported | {"largest_difference": serving.largest_difference(folder, model, requests, known)}


def check(directory: ModelDirectory, exported: dict) -> None:
    """Raise a WorkFailedError unless what was written serves what the model says."""
    difference, index = exported["largest_difference"], exported.get("index")
    if not difference <= DIFFERENCE_AT_MOST:
        raise cli.WorkFailedError(
            f"{directory.place}: a SavedModel's {'vectors' if index else 'scores'} differ from the model's by "
            f"{difference:.2g}, should be at most {DIFFERENCE_AT_MOST:.0e}; nothing was published"
        )
    if index and not index["recall"] >= RECALL_AT_LEAST:
        raise cli.WorkFailedError(
            f"{directory.place}: the index finds {index['recall']:.3f} of the exact top {index['recall_at']}, "
            f"should be at least {RECALL_AT_LEAST}; nothing was published"
        )


def some_requests(root: str, samples, day: date) -> batches.Batch:
    """What a user tower takes of the date's first requests."""
    columns = ["request_id", "user_id", "history_item_ids", "history_actions"]
    files = dataset.dataset(arrow.files(root, samples, day), filesystem=Root.of(root).filesystem)
    rows: pa.Table = files.head(QUERIES, columns=columns)
    return batches.decode(rows.drop_columns(["request_id"]))


def copy(directory: ModelDirectory, folder: Path) -> None:
    """Copy the model's directory without its manifest and without what was exported before."""
    root = Root.of(directory.root)
    fs.copy_files(root.at(directory.place), str(folder), root.filesystem, fs.LocalFileSystem())
    (folder / MANIFEST).unlink()
    for name in serving.EXPORTED:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    cli.run("export_models", arg_parser().parse_args(), main)
