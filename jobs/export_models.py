"""Publish the date's models that passed: SavedModels, item vectors and a FAISS index into the model's directory.

A model passed if its evaluation on the day after stands above the `random` row of that evaluation; where that day is
not evaluated yet, the checkpoint that it continued from (day before, same variant and seed) has to stand above it on
the date. What counts is Inc@K of increc and ASH@K of hccp, at the smallest K that both rows have. A model that did
not pass is held back, with the reason. Before anything is published the SavedModels are loaded back and compared with
the model, and the index has to find 98 % of the exact top 100. A pre-ranker whose network crosses user and item has no
vectors: of it a SavedModel is published that scores a user's items.

Reads:  models/increc, models/hccp, reports/evaluations, samples/increc_samples, samples/hccp_samples
Writes: models/<model>/date=D/<variant>-seed<seed>: saved_model, of models with vectors item_vectors, index.faiss and
        index_ids, and `exported` in its manifest; the directory is swapped in whole
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, fs

from jobs.command import cli
from models import batches, checkpoint
from models.checkpoint import MANIFEST, ModelDirectory
from models.hccp import model as hccp
from models.increc import model as increc
from models.serving import export as serving
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.tables.reports import evaluations
from schemas.tables.samples import hccp_samples, increc_samples

MODELS = {"increc": (increc.load, increc_samples, "inc"), "hccp": (hccp.load, hccp_samples, "ash")}
RECALL_AT_LEAST = 0.98
DIFFERENCE_AT_MOST = 1e-5
QUERIES = 1000  # requests of the date that the index and the SavedModels are checked with


def arg_parser() -> argparse.ArgumentParser:
    return cli.parser(__doc__)


def main(arguments: argparse.Namespace, day: date) -> dict:
    published, held_back, written = [], {}, 0
    for model, (_, _, metric) in MODELS.items():
        for directory in checkpoint.found(arguments.root, model, day):
            passed, why = verdict(directory, metric)
            cli.log(f"{directory.place}: {why}")
            if passed:
                written += export(directory, why)["items"]
                published.append(directory.place)
            else:
                held_back[directory.place] = why
    if not published and not held_back:
        cli.log(f"there is no model dated {day} below {arguments.root}")
    return {"rows_written": written, "published": published, "held_back": held_back}


def verdict(directory: ModelDirectory, metric: str) -> tuple[bool, str]:
    """Whether the model passed, and by which figures."""
    after, before = directory.day + timedelta(1), replace(directory, day=directory.day - timedelta(1))
    evaluations_of = [(after, "it")]
    if directory.manifest().get("continued_from") == before.place:
        evaluations_of.append((directory.day, f"the model of {before.day} that it continued from"))
    for evaluated, what in evaluations_of:
        rows = _evaluation(directory.root, evaluated, directory.model, metric)
        own = rows.get((directory.variant, directory.seed), {})
        if not own:
            continue
        random = rows.get(("random", 0), {})
        common = sorted(k for k in own.keys() & random.keys() if own[k] is not None and random[k] is not None)
        if not common:
            return False, f"the evaluation of {evaluated} has no K at which {what} and random both have {metric}"
        k = common[0]
        above = own[k] > random[k]
        stands = "stands above" if above else "does not stand above"
        return above, f"on {evaluated} {what} {stands} random: {metric}@{k} {own[k]:.4f} against {random[k]:.4f}"
    unknown = " or ".join(f"on {evaluated} {what}" for evaluated, what in evaluations_of)
    return False, f"not evaluated yet: there is no {metric} of {directory.variant} {unknown}"


def _evaluation(root: str, day: date, model: str, metric: str) -> dict[tuple[str, int], dict[int, float | None]]:
    """(variant, seed) -> k -> the metric over everything; empty if the date is not evaluated."""
    if day not in arrow.dates(root, evaluations):
        return {}
    rows = arrow.read(root, evaluations, day, evaluations.names)
    wanted = (pc.field("model") == model) & (pc.field("metric") == metric) & (pc.field("segment") == "all")
    found: dict[tuple[str, int], dict[int, float | None]] = {}
    for row in rows.filter(wanted).to_pylist():
        found.setdefault((row["variant"], row["seed"]), {})[row["k"]] = row["value"]
    return found


def export(directory: ModelDirectory, why: str) -> dict:
    """Write everything beside the directory and swap it in; returns what its manifest now says of it.

    Raises:
        WorkFailedError: a SavedModel gives other vectors than the model, or the index finds too little.
        ConflictError: the model was trained anew meanwhile; the new one stays, not exported.
    """
    load, samples, _ = MODELS[directory.model]
    folder = checkpoint.open_directory()
    try:
        with checkpoint.replacing(directory) as staged:
            manifest = directory.manifest()
            model, requests = load(directory), some_requests(directory.root, samples, directory.day)
            copy(directory, folder)
            exported = exported_to(folder, model, requests)
            check(directory, exported)
            weights = (folder / "checkpoint/weights.npz").read_bytes()
            made_from = {"checkpoint": hashlib.sha256(weights).hexdigest()[:16], "verdict": why}
            checkpoint.fill(staged, folder, manifest | {"exported": exported | made_from})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cli.log(f"{directory.place}: {json.dumps(exported)}")
    return exported


def exported_to(folder: Path, model, requests: batches.Batch) -> dict:
    """Write what a server needs into the folder; returns what the manifest says of it."""
    length = model.settings.history_length
    if not model.has_vectors:
        return serving.export_scorer(model, length, requests, folder)
    exported = serving.export(model, length, model.user_vectors(requests), folder)
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
