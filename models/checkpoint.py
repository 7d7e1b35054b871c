"""The model directory: models/<model>/date=D/<variant>-seed<seed>/ below the root.

    checkpoint/weights.npz      every variable of the model by name
    checkpoint/optimizer.npz    the optimizer's variables by name, so that training goes on where it stopped
    checkpoint/catalogue.npz    the items that the model knows
    logs/                       TensorBoard
    manifest.json               settings, made_from, losses per epoch, vocabulary sizes; without it there is no model

Written beside its place and swapped in whole. Plain NumPy archives: any NumPy reads them, and a table that
grew since restores its first rows.
"""

import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import tensorflow as tf
from pyarrow import fs

from models.item_vocabulary import Catalogue
from schemas.storage.root import Root
from schemas.storage.staging import Staged, stage, swap
from schemas.table import MissingDataError

MANIFEST = "manifest.json"
# A model goes on from one that is so many days older at most, and is measured for so long.
CONTINUED_DAYS = 7
_ATTRIBUTES = "/attributes"  # in the names of an item tower's table of attributes and of its optimizer slots
_NAME = re.compile(r"(?P<variant>.+)-seed(?P<seed>\d+)")


@dataclass(frozen=True)
class ModelDirectory:
    """One trained model's place below a root; it need not exist."""

    root: str
    model: str
    day: date
    variant: str
    seed: int

    @classmethod
    def at(cls, root: str, place: str) -> "ModelDirectory":
        """The directory at a place as `place` writes it.

        Raises:
            MissingDataError: the place is no model's.
        """
        parts = place.strip("/").split("/")
        name = _NAME.fullmatch(parts[-1])
        try:
            if len(parts) != 4 or parts[0] != "models" or not name:
                raise ValueError
            day = date.fromisoformat(parts[2].removeprefix("date="))
        except ValueError:
            raise MissingDataError(
                f"{place} is no model's place, should be models/MODEL/date=YYYY-MM-DD/VARIANT-seedSEED below the root"
            ) from None
        return cls(root, parts[1], day, name["variant"], int(name["seed"]))

    @property
    def place(self) -> str:
        """Relative to the root."""
        return f"models/{self.model}/date={self.day.isoformat()}/{self.variant}-seed{self.seed}"

    @property
    def exists(self) -> bool:
        return Root.of(self.root).exists(f"{self.place}/{MANIFEST}")

    def manifest(self) -> dict:
        """What the training wrote down.

        Raises:
            MissingDataError: there is no such model.
        """
        root = Root.of(self.root)
        if not self.exists:
            raise MissingDataError(f"there is no model {self.place} below {root.path}")
        return json.loads(root.read_text(f"{self.place}/{MANIFEST}"))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """One archive of the checkpoint: `weights`, `optimizer` or `catalogue`."""
        root = Root.of(self.root)
        path = f"{self.place}/checkpoint/{name}.npz"
        if not root.exists(path):
            raise MissingDataError(f"there is no {path} below {root.path}")
        with root.filesystem.open_input_file(root.at(path)) as stream:
            archive = np.load(io.BytesIO(stream.read()), allow_pickle=False)
            return {key: archive[key] for key in archive.files}

    def catalogue(self) -> Catalogue:
        return Catalogue.of(self.arrays("catalogue"))


def found(root: str, model: str, day: date) -> list[ModelDirectory]:
    """The models of one date that exist, sorted by variant and seed."""
    place, folder = Root.of(root), f"models/{model}/date={day.isoformat()}"
    selector = fs.FileSelector(place.at(folder), allow_not_found=True)
    names = [_NAME.fullmatch(info.base_name) for info in place.filesystem.get_file_info(selector)]
    there = [ModelDirectory(root, model, day, name["variant"], int(name["seed"])) for name in names if name]
    return sorted((one for one in there if one.exists), key=lambda one: (one.variant, one.seed))


def newest(root: str, model: str, last: date, days: int) -> list[ModelDirectory]:
    """Of each variant and seed the newest model of the `days` dates that end at `last`, sorted by variant and seed."""
    models = {}
    for day in (last - timedelta(days=n) for n in range(days)):
        for each in found(root, model, day):
            models.setdefault((each.variant, each.seed), each)
    return [models[key] for key in sorted(models)]


def recorded_settings(kind: type, recorded: dict) -> tuple[object, list[str]]:
    """Settings as a manifest of any release holds them, and the names that this release does not know.

    A setting that the manifest lacks has its default.
    """
    known = {each.name for each in fields(kind)}
    unknown = sorted(recorded.keys() - known)
    return kind(**{name: value for name, value in recorded.items() if name in known}), unknown


def open_directory() -> Path:
    """A new local folder to write a model into before it is published; its logs/ exists."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-model-"))
    (folder / "logs").mkdir()
    return folder


def save(folder: Path, model: tf.keras.Model, catalogue: Catalogue) -> None:
    """Write the model's checkpoint below a folder of `open_directory`."""
    (folder / "checkpoint").mkdir(exist_ok=True)
    np.savez(folder / "checkpoint/weights.npz", **_by_name(variables_of(model)))
    np.savez(folder / "checkpoint/optimizer.npz", **_by_name(model.optimizer.variables))
    np.savez(folder / "checkpoint/catalogue.npz", **catalogue.arrays())


def replacing(directory: ModelDirectory) -> AbstractContextManager[Staged]:
    """The place beside the model that `fill` takes: from here on another run that publishes it is a conflict."""
    return stage(Root.of(directory.root), directory.place, MANIFEST)


def fill(staged: Staged, folder: Path, manifest: dict) -> None:
    """Copy a folder of `open_directory` to its model's place, manifest last; what was there before goes.

    Raises:
        ConflictError: another run published this model meanwhile; its model stays.
    """
    root, place = staged.root, staged.folder
    root.filesystem.create_dir(root.at(place), recursive=True)
    fs.copy_files(str(folder), root.at(place), fs.LocalFileSystem(), root.filesystem)
    root.write_text(f"{place}/{MANIFEST}", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    swap(staged)


def publish(folder: Path, directory: ModelDirectory, manifest: dict) -> None:
    """Move a folder of `open_directory` to its place, manifest last; what was there before goes.

    Raises:
        ConflictError: another run published this model meanwhile; its model stays.
    """
    with replacing(directory) as staged:
        fill(staged, folder, manifest)
    shutil.rmtree(folder)


def variables_of(model: tf.keras.Model) -> list[tf.Variable]:
    """The model's variables without those of its metrics, which are not part of what it learned."""
    counters = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in counters]


def resume(model: tf.keras.Model, directory: ModelDirectory) -> None:
    """Give the model and its optimizer what a directory's checkpoint holds, as `restore` does.

    Raises:
        MissingDataError: the checkpoint does not fit the model.
    """
    restore(variables_of(model), directory.arrays("weights"))
    restore(model.optimizer.variables, directory.arrays("optimizer"))


def restore(variables: Iterable[tf.Variable], arrays: dict[str, np.ndarray]) -> None:
    """Give variables their saved values by name; where a variable has more rows, its first ones.

    A model that knew no attribute has saved no table of them: such a variable stays as it is.

    Raises:
        MissingDataError: a variable has no saved value, or one of another shape.
    """
    faults = []
    knew_attributes = any(_ATTRIBUTES in name for name in arrays)
    for name, variable in _named(variables).items():
        saved = arrays.get(name)
        if saved is None and _ATTRIBUTES in name and not knew_attributes:
            continue
        if saved is None:
            faults.append(f"{name} is missing")
        elif saved.shape == tuple(variable.shape):
            variable.assign(saved)
        elif saved.ndim and saved.shape[1:] == tuple(variable.shape[1:]) and len(saved) < variable.shape[0]:
            variable.assign(np.concatenate([saved, variable.numpy()[len(saved) :]]))
        else:
            faults.append(f"{name} has shape {saved.shape}, should be {tuple(variable.shape)}")
    if faults:
        raise MissingDataError("the checkpoint does not fit the model: " + "; ".join(faults))


def _by_name(variables: Iterable[tf.Variable]) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in _named(variables).items()}


def _named(variables: Iterable[tf.Variable]) -> dict[str, tf.Variable]:
    """Variables by name; raises a ValueError if two share one, since their values would overwrite each other."""
    named: dict[str, tf.Variable] = {}
    for variable in variables:
        name = variable.name.partition(":")[0]
        if name in named:
            raise ValueError(f"two variables are named {name}; give their layers names that differ")
        named[name] = variable
    return named
