"""A study's cells: what one variant and seed earned in each request, a folder each, with the state it was made from.

reports/studies/<study>/cells/<variant>-seed<seed>/    rows of study_values, staged and swapped in as any table's
    _cost.json                                         what a request costs, of one seed of each variant

A time differs from run to run: it is measured once and kept, and goes when the cell is made anew.
"""

import json
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from pyarrow import dataset

from models.evaluation.per_request import PerRequest, from_table, to_table
from schemas.storage import arrow
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.tables.reports import study_values

UNTRAINED = "untrained"  # the cell of all rows that need no training
_COST = "_cost.json"


@dataclass(frozen=True)
class Cell:
    """One variant and seed of a study; `made_from` and `settings` are all that its values depend on but the code."""

    root: str
    study: str
    day: date
    variant: str
    seed: int
    made_from: dict
    settings: dict

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"

    @property
    def place(self) -> str:
        """Relative to the root."""
        return f"reports/studies/{self.study}/cells/{self.name}"

    @property
    def done(self) -> bool:
        """Whether it is there and was made from the same inputs with the same settings."""
        place, at = Root.of(self.root), f"{self.place}/{MANIFEST}"
        if not place.exists(at):
            return False
        said = json.loads(place.read_text(at))
        wanted = json.loads(json.dumps([study_values.fingerprint, self.made_from, self.settings]))
        return [said.get(name) for name in ("contract", "made_from", "settings")] == wanted

    def write(self, found: dict[str, list[PerRequest]]) -> None:
        """Replace the cell by these values of one or more variants."""
        tables = [study_values.schema.empty_table(), *(to_table(name, values) for name, values in found.items())]
        rows = pa.concat_tables(tables)
        arrow.write_at(self.root, study_values, self.day, self.place, rows, self.made_from, self.settings)

    def read(self) -> dict[str, list[PerRequest]]:
        """Variant -> its values."""
        place = Root.of(self.root)
        files = [info.path for info in place.files(self.place, ".parquet")]
        return from_table(dataset.dataset(files, filesystem=place.filesystem).to_table())

    @property
    def cost(self) -> list[dict] | None:
        """metric, segment, k, value and support, as `evaluations` has them; None where nobody has measured it."""
        place, at = Root.of(self.root), f"{self.place}/{_COST}"
        return json.loads(place.read_text(at)) if place.exists(at) else None

    def write_cost(self, rows: list[dict]) -> None:
        """Put it beside the values."""
        Root.of(self.root).write_text(f"{self.place}/{_COST}", json.dumps(rows) + "\n")
