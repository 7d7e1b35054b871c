"""Put a published model to serve: the one at a place, or the previous one.

Reads:  models/<model>: serving.json, the models' manifests
Writes: models/<model>/serving.json

- A server and retrieve_increc take the model from their next start on.
- The next export_models compares new models with the one put back.
"""

import argparse
import json
import time
from datetime import UTC, datetime

from jobs.command import cli
from schemas import serving
from schemas.serving import Serving
from schemas.storage.root import Root
from schemas.table import MissingDataError

MODELS = ("increc", "hccp")


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory or URI that holds every table")
    parser.add_argument("--model", required=True, choices=MODELS)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--place", help="models/MODEL/date=D/VARIANT-seedSEED, below the root")
    which.add_argument("--previous", action="store_true", help="the model that the serving one replaced")
    return parser


def serve(root: str, model: str, place: str | None, since: str) -> dict:
    """Put a model to serve; returns what serves and what it replaced.

    Args:
        place: of the model; None for the one that served before. since: the date to write down.

    Raises:
        MissingDataError: the model is not published, or nothing served before.
    """
    with Root.of(root).locked(f"serving-{model}"):
        held = serving.read(root, model)
        target = place.strip("/") if place else _previous(root, model, held)
        require_published(root, model, target)
        if held is None or held.place != target:
            why = "put back by hand" if place is None else "put there by hand"
            newest = max(place.split("/")[2] for place in published_places(root, model)).removeprefix("date=")
            held = Serving(target, since, why, held.place if held else None, newest)
            serving.write(root, model, held)
            cli.log(f"{model}: {held.place} serves now, {why}; it replaced {held.replaced or 'nothing'}")
        else:
            cli.log(f"{model}: {target} serves already, since {held.since}: nothing changed")
    return {"model": model, "place": held.place, "replaced": held.replaced}


def _previous(root: str, model: str, held: Serving | None) -> str:
    if held is None:
        raise MissingDataError(f"nothing serves of {model} below {Root.of(root).path}, so nothing served before")
    if held.replaced is None:
        raise MissingDataError(f"nothing of {model} served before {held.place}; name a published model with --place")
    return held.replaced


def require_published(root: str, model: str, target: str) -> None:
    """Raise a MissingDataError, which names the published places, unless a model's place is published."""
    published = published_places(root, model)
    if target not in published:
        known = ", ".join(published[-5:]) or "none"
        raise MissingDataError(f"{target} is no published model of {model}; the newest published: {known}")


def published_places(root: str, model: str) -> list[str]:
    """Places of a model's exported directories, oldest first."""
    place = Root.of(root)
    found = []
    for info in place.files(f"models/{model}", "/manifest.json"):
        relative = info.path[len(place.path.rstrip("/")) + 1 :]
        if relative.count("/") == 4 and "exported" in json.loads(place.read_text(relative)):
            found.append(relative.rpartition("/")[0])
    return found


def main(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    line = serve(arguments.root, arguments.model, arguments.place, f"{datetime.now(UTC):%Y-%m-%d}")
    cli.tell({"job": "serve_model", "rows_written": 0, **line, "seconds": round(time.monotonic() - started, 1)})


if __name__ == "__main__":
    arguments = arg_parser().parse_args()
    cli.show("serve_model", lambda: main(arguments))
