"""A published model with vectors, loaded back from what `serving` exported: its user tower and its index."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import tensorflow as tf
from pyarrow import fs, parquet

from models.batches import Batch
from models.checkpoint import ModelDirectory
from models.serving import export
from schemas.storage import partitions
from schemas.storage.root import Root
from schemas.table import MissingDataError


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
            tower = tf.saved_model.load(str(folder / "saved_model/user"))
            index = faiss.read_index(str(folder / "index.faiss"))
            item_ids = parquet.read_table(folder / "index_ids")["item_id"].to_numpy()
        return cls(tower, index, item_ids)

    def retrieve(self, rows: Batch, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The items nearest to each request, best first: positions in item_ids, int64 [B, K], and scores.

        K is `most`, or the catalogue's size if that is smaller; -1 where an inverted list's cells hold too few.

        Args:
            rows: user_id, history_item_ids, history_actions.
        """
        users_BD = self.user_tower.signatures["serving_default"](**export.fed_user(rows))["vectors"].numpy()
        scores_BK, positions_BK = self.index.search(users_BD, min(most, len(self.item_ids)))
        return positions_BK, scores_BK


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
