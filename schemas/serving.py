"""models/<model>/serving.json: which model serves now, since when, by what verdict, and what it replaced."""

import json
from dataclasses import asdict, dataclass

from schemas.storage.root import Root
from schemas.table import ContractError

FILE = "serving.json"


@dataclass(frozen=True)
class Serving:
    """What serves of one kind of model.

    place: the model's directory below the root. since: the date of the verdict, YYYY-MM-DD. verdict: the reason, in
    words. replaced: the place that served before, None for the first. passed_over: where a person put the model there,
    the newest date of a model published by then; absent from the file otherwise.
    """

    place: str
    since: str
    verdict: str
    replaced: str | None = None
    passed_over: str | None = None


def read(root: str, model: str) -> Serving | None:
    """What serves of a model; None where nothing was ever put there.

    Raises:
        ContractError: serving.json is not what `write` writes.
    """
    folder, path = Root.of(root), f"models/{model}/{FILE}"
    if not folder.exists(path):
        return None
    try:
        held = json.loads(folder.read_text(path))
        return Serving(held["place"], held["since"], held["verdict"], held["replaced"], held.get("passed_over"))
    except (ValueError, KeyError, TypeError) as fault:
        raise ContractError(
            f"{folder.at(path)} should be JSON with place, since, verdict and replaced: {fault!r}"
        ) from fault


def write(root: str, model: str, serving: Serving) -> None:
    """Replace serving.json; a reader sees the old one or the new one, whole."""
    held = {name: value for name, value in asdict(serving).items() if name != "passed_over" or value is not None}
    Root.of(root).write_text(f"models/{model}/{FILE}", json.dumps(held, indent=1) + "\n")
