"""The trained models below a root: their manifests, losses and what was exported of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from pyarrow import fs

from schemas.storage.root import Root

MODELS = ("increc", "hccp")
_EXPORTS = ("saved_model", "item_vectors", "index.faiss", "index_ids")


@dataclass(frozen=True)
class Trained:
    """One variant and seed of a model, trained up to a date; `exported` names the parts that serve."""

    model: str
    day: date
    variant: str
    seed: int
    manifest: dict = field(repr=False)
    exported: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"

    @property
    def place(self) -> str:
        """Relative to the root."""
        return f"models/{self.model}/date={self.day}/{self.name}"

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The mean of each loss term in each epoch of this date's training."""
        return self.manifest.get("epochs") or []


def history(last: Trained, trained: Sequence[Trained]) -> dict[str, list[float]]:
    """Each recorded mean over all epochs that led to a model, those of the models it continued from included."""
    places, chain = {each.place: each for each in trained}, [last]
    while (before := places.get(chain[0].manifest.get("continued_from"))) is not None:
        chain.insert(0, before)
    epochs = [epoch for each in chain for epoch in each.epochs]
    terms = last.epochs[0] if last.epochs else {}
    return {term: [epoch[term] for epoch in epochs if term in epoch] for term in terms}


def trained(root: str, last: date | None = None) -> list[Trained]:
    """Every trained model up to the date `last`, oldest first; a folder without a manifest does not exist."""
    place = Root.of(root)
    found = []
    for model in MODELS:
        for day_folder in _folders(place, f"models/{model}"):
            try:
                day = date.fromisoformat(day_folder.removeprefix("date="))
            except ValueError:
                continue
            if last is not None and day > last:
                continue
            for name in _folders(place, f"models/{model}/{day_folder}"):
                variant, _, seed = name.rpartition("-seed")
                at = f"models/{model}/{day_folder}/{name}"
                if variant and seed.isdigit() and place.exists(f"{at}/manifest.json"):
                    manifest = json.loads(place.read_text(f"{at}/manifest.json"))
                    exported = tuple(
                        part for part in _EXPORTS if manifest.get("exported") and place.exists(f"{at}/{part}")
                    )
                    found.append(Trained(model, day, variant, int(seed), manifest, exported))
    return found


def listing(root: str) -> list[dict]:
    """The models by model and date, for the overview: what was trained, and which of it was exported."""
    found: dict[tuple[str, date], list[str]] = {}
    for each in trained(root):
        found.setdefault((each.model, each.day), []).append(each.name + (" (exported)" if each.exported else ""))
    return [{"model": model, "date": str(day), "variants": names} for (model, day), names in found.items()]


def _folders(place: Root, relative: str) -> list[str]:
    selector = fs.FileSelector(place.at(relative), allow_not_found=True)
    found = place.filesystem.get_file_info(selector)
    return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)
