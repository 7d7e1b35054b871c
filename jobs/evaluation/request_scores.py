"""`request_scores`: what models earned in each request, kept so that a gate need not measure them again."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.checkpoint import ModelDirectory
from models.evaluation.bootstrap import Sums
from models.evaluation.per_request import PerRequest
from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.tables.reports import request_scores

METRICS = {"increc": "inc", "hccp": "ash"}  # what decides, over all requests, at the smallest cut-off
ALL = "all"


def replace_rows(
    root: str,
    day: date,
    model: str,
    request_ids: pa.Array,
    measured: Mapping[ModelDirectory, Sequence[PerRequest]],
    made_from: dict,
) -> None:
    """Replace one model's rows of the date; the other model's stay.

    Args:
        request_ids: of the measured requests, by place.
    """
    parts = [request_scores.schema.empty_table()]
    parts += [_rows(model, directory.place, request_ids, found) for directory, found in measured.items()]
    with Root.of(root).locked("request_scores"):
        before = {}
        if day in arrow.dates(root, request_scores):
            parts.insert(0, arrow.read(root, request_scores, day).filter(pc.field("model") != model))
            before = partitions.manifest(Root.of(root), request_scores, day)["made_from"]
        arrow.write(root, request_scores, day, pa.concat_tables(parts), before | {model: made_from}, {})


def read(root: str, day: date, model: str) -> dict[str, Sums]:
    """Place -> its sums over the requests of the date, the same requests in the same order for all.

    A model that was measured in another metric, at another cut-off or on other requests than the first is left out.
    None where the date was not evaluated.
    """
    if day not in arrow.dates(root, request_scores):
        return {}
    rows = arrow.read(root, request_scores, day).filter(pc.field("model") == model)
    found: dict[str, Sums] = {}
    first = None
    for place in sorted(pc.unique(rows["place"]).to_pylist()):
        mine = rows.filter(pc.field("place") == place).sort_by("request_id")
        same = [mine[name].to_pylist() for name in ("request_id", "metric", "k")]
        first = first or same
        if same == first:
            found[place] = Sums(*(mine[name].to_numpy()[:, None] for name in ("numerator", "denominator")))
    return found


def _rows(model: str, place: str, request_ids: pa.Array, measured: Sequence[PerRequest]) -> pa.Table:
    """Rows at the smallest cut-off of the metric that decides."""
    known = [each for each in measured if each.metric == METRICS[model] and each.segment == ALL and len(each.requests)]
    if not known:
        return request_scores.schema.empty_table()
    scores = min(known, key=lambda each: each.k)
    size = len(scores.requests)
    same = {"model": model, "place": place, "metric": scores.metric, "k": scores.k}
    columns = {name: pa.array([value] * size, request_scores.schema.field(name).type) for name, value in same.items()}
    columns |= {
        "request_id": request_ids.take(pa.array(scores.requests)),
        "numerator": pa.array(scores.numerators, pa.float64()),
        "denominator": pa.array(np.asarray(scores.denominators, np.float64)),
    }
    return pa.table([columns[name] for name in request_scores.names], schema=request_scores.schema)
