"""A published model with vectors, loaded back from what `serving` exported: its user tower and its index."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from pyarrow import fs, parquet

from models.batches import Batch
from models.checkpoint import ModelDirectory
from models.serving import export
from schemas import serving
from schemas.storage import partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError

DEFAULT_VARIANT, DEFAULT_SEED = "full", 1  # where nothing says what serves


@dataclass(frozen=True)
class Published:
    """item_ids: int64 [C], by the index's positions."""

    user_tower: Any
    index: faiss.Index
    item_ids: np.ndarray

    @classmethod
    def load(cls, directory: ModelDirectory) -> "Published":
        """From below any root, through a local copy that does not stay."""
        root = Root.of(directory.root)
        with tempfile.TemporaryDirectory(prefix="headrace-published-") as made:
            folder = Path(made)
            for name in ("saved_model/user", "index_ids"):
                (folder / name).mkdir(parents=True)
            for name in ("saved_model/user", "index_ids", "index.faiss"):
                fs.copy_files(
                    root.at(f"{directory.place}/{name}"), str(folder / name), root.filesystem, fs.LocalFileSystem()
                )
            tower = export.load_saved_model(folder / "saved_model/user")
            index = faiss.read_index(str(folder / "index.faiss"))
            item_ids = parquet.read_table(folder / "index_ids")["item_id"].to_numpy()
        return cls(tower, index, item_ids)

    def retrieve(self, rows: Batch, most: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The items nearest to each request, best first: positions in item_ids, int64 [B, K], and scores.

        K is `most`, or the catalogue's size if that is smaller; -1 where there are too few, in an inverted list's cells
        or among the allowed items.

        Args:
            rows: user_id, history_item_ids, history_actions.
            allowed: bool [C], which items may be returned; all if None.
        """
        users_BD = self.user_tower.signatures["serving_default"](**export.fed_user(rows))["vectors"].numpy()
        depth, among = min(most, len(self.item_ids)), None
        if allowed is not None and not allowed.all():
            selector = faiss.IDSelectorBatch(np.flatnonzero(allowed))
            inverted = isinstance(self.index, faiss.IndexIVF)
            among = (
                faiss.SearchParametersIVF(sel=selector, nprobe=self.index.nprobe)
                if inverted
                else faiss.SearchParameters(sel=selector)
            )
        scores_BK, positions_BK = self.index.search(users_BD, depth, params=among)
        return positions_BK, scores_BK


def chosen(root: str, model: str, variant: str | None, seed: int | None, before: date) -> ModelDirectory:
    """The model that serves, if it is of a date before `before`; else, or where a variant or seed is named, `newest`.

    Raises:
        MissingDataError, ValueError: as `newest`.
    """
    if variant is None and seed is None:
        served = serving.read(root, model)
        if served is not None:
            directory = ModelDirectory.at(root, served.place)
            if directory.day < before and directory.exists and "exported" in directory.manifest():
                return directory
    return newest(root, model, variant or DEFAULT_VARIANT, DEFAULT_SEED if seed is None else seed, before)


def newest(root: str, model: str, variant: str, seed: int, before: date) -> ModelDirectory:
    """The last model before a date that export_models published.

    Raises:
        MissingDataError: none was; says which checkpoints there are.
        ValueError: what was published is not all of the order that was judged.
    """
    held_back = []
    for day in reversed(partitions.dates_below(Root.of(root), f"models/{model}")):
        directory = ModelDirectory(root, model, day, variant, seed)
        if day < before and directory.exists:
            manifest = directory.manifest()
            if "exported" in manifest:
                if manifest["settings"].get("item_cf_share"):
                    raise ValueError(f"{directory.place} is judged fused with item-CF, which its index lacks")
                return directory
            held_back.append(directory.place)
    there = f"not published: {', '.join(held_back)}" if held_back else "no checkpoint of it either"
    raise MissingDataError(f"no published models/{model}/date=D/{variant}-seed{seed} before {before}; {there}")
