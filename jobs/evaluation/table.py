"""The `evaluations` table as its writers share it: each model's rows replaced, the other models' rows kept."""

from collections.abc import Iterable, Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from schemas.storage import arrow, partitions
from schemas.storage.root import Root
from schemas.table import ContractError
from schemas.tables.reports import evaluations


def replace_rows(
    root: str,
    day: date,
    model: str,
    rows: Iterable[Mapping],
    made_from: dict | None = None,
    settings: dict | None = None,
) -> int:
    """Replace one model's rows in the date's partition of `evaluations`; returns how many were written.

    The two evaluating jobs may run at the same time: on a local file system one waits for the other. On an
    object store nothing makes it wait, so there a scheduler has to run them one after another.

    Args:
        model: `increc`, `hccp` or `studies/NAME`; its earlier rows of the date go.
        rows: mappings with variant, seed, metric, segment, k, value (may be None), support and, where it is known,
            trained.
        made_from: input table -> version or identity. settings: what the rows depend on. The manifest keeps both
            under the model's name, beside the other models'.

    Raises:
        ContractError: a row lacks a column or has one too many, or two rows share a key; nothing is written.
    """
    new = _table(model, rows)
    with Root.of(root).locked("evaluations"):
        kept, manifest = _others(root, day, model)
        said = manifest.get("settings", {})  # its keys are models; what no model's key covers nobody would ever renew
        before = {name: made for name, made in manifest.get("made_from", {}).items() if name in said}
        rows, settings = pa.concat_tables([kept, new]), said | {model: settings or {}}
        arrow.write(root, evaluations, day, rows, before | {model: made_from or {}}, settings)
    return new.num_rows


def _table(model: str, rows: Iterable[Mapping]) -> pa.Table:
    rows = [{"model": model, "trained": None, **row} for row in rows]
    seen = set()
    for row in rows:
        if set(row) != set(evaluations.names):
            raise ContractError(
                f"a row for {evaluations.path} has {', '.join(sorted(row))}; "
                f"it should have {', '.join(sorted(evaluations.names))}"
            )
        key = tuple(row[name] for name in evaluations.key)
        if key in seen:
            raise ContractError(f"two rows for {evaluations.path} share the key {key}")
        seen.add(key)
    return pa.Table.from_pylist(rows, schema=evaluations.schema)


def _others(root: str, day: date, model: str) -> tuple[pa.Table, dict]:
    """The date's rows of the other models, and its manifest; no rows and an empty one if it does not exist."""
    if day not in arrow.dates(root, evaluations):
        return evaluations.schema.empty_table(), {}
    there = arrow.read(root, evaluations, day, evaluations.names).cast(evaluations.schema)
    return there.filter(pc.field("model") != model), partitions.manifest(Root.of(root), evaluations, day)
