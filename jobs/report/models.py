"""The trained models below a root: their manifests, losses and what was exported of them."""

import json
from dataclasses import dataclass, field
from datetime import date

from pyarrow import fs

from schemas.storage import Root

MODELS = ("increc", "hccp")
_EXPORTS = ("saved_model", "item_vectors", "index.faiss")


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
    def losses(self) -> dict[str, list[float]]:
        """The loss, and each of its terms, after each epoch; empty where the manifest has none."""
        found = self.manifest.get("losses") or {}
        if isinstance(found, dict):
            return {name: list(values) for name, values in found.items()}
        if isinstance(found[0], dict):
            return {name: [epoch[name] for epoch in found] for name in found[0] if _number(found[0][name])}
        return {"loss": list(found)}


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
                    exported = tuple(part for part in _EXPORTS if place.exists(f"{at}/{part}"))
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


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
