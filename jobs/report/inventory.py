"""What is below a root: the tables, landing folders and quarantines that exist, with their dates, rows and sizes.

Rows and sizes come from manifests, the Delta log and Parquet footers; no data is read for them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, fs, parquet

from schemas.storage import arrow, delta_log, partitions
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.table import MissingDataError, Table
from schemas.tables import logs
from schemas.tables.registry import TABLES

LANDING, QUARANTINE = "landing", "quarantine"


@dataclass(frozen=True)
class Part:
    """One date: `rows` is None where a file cannot be read, `bytes` counts Parquet files."""

    rows: int | None
    bytes: int


@dataclass(frozen=True)
class Holding:
    """A table, landing folder or quarantine that exists, by its path below the root."""

    path: str
    table: Table
    parts: dict[date, Part] = field(repr=False)

    @property
    def layer(self) -> str:
        return self.path.split("/")[0]

    @property
    def days(self) -> list[date]:
        return sorted(self.parts)

    @property
    def plain(self) -> bool:
        """Whether it is a folder of files that no manifest or Delta log vouches for."""
        return self.layer in (LANDING, QUARANTINE)

    def rows(self, day: date) -> int | None:
        """The rows of one date, or None where there is no such date or its files cannot be read."""
        return self.parts[day].rows if day in self.parts else None


def paths() -> dict[str, Table]:
    """Every path that may exist below a root, in the order the data flows."""
    landed = {f"{LANDING}/{table.name}": table for table in logs.LOGS}
    refused = {f"{QUARANTINE}/{table.name}": table for table in logs.LOGS}
    rest = {table.path: table for table in TABLES.values() if table.dated}
    ingested = {path: table for path, table in rest.items() if table.layer == "logs"}
    return landed | ingested | refused | rest


def holdings(root: str) -> list[Holding]:
    """Everything that exists below a root, in the order the data flows.

    Raises:
        MissingDataError: there is no such root.
    """
    require(root)
    found = (holding(root, path) for path in paths())
    return [each for each in found if each.parts]


def holding(root: str, path: str) -> Holding:
    """One table, landing folder or quarantine; without dates where it does not exist."""
    table, place = paths()[path], Root.of(root)
    if path.split("/")[0] in (LANDING, QUARANTINE):
        days = partitions.dates_below(place, path)
        return Holding(path, table, {day: _plain_part(place, f"{path}/date={day}") for day in days})
    if table.storage == "delta":
        return Holding(path, table, _delta_parts(root, table))
    manifests = {day: partitions.manifest(place, table, day) for day in partitions.dates(place, table)}
    return Holding(path, table, {day: Part(each["rows"], each["bytes"]) for day, each in manifests.items()})


def require(root: str) -> None:
    """Raise a MissingDataError unless the root is a folder."""
    place = Root.of(root)
    if place.filesystem.get_file_info(place.path).type != fs.FileType.Directory:
        raise MissingDataError(f"there is no root {place.path}; --root is the folder that holds landing/, logs/, …")


def batches(root: str, held: Holding, day: date, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
    """One date's rows, streamed in small batches, only the columns asked for; all if None."""
    source, only = _dataset(root, held, day)
    wanted = list(columns) if columns else [name for name in source.schema.names if name != "date"]
    return source.scanner(columns=wanted, filter=only, **arrow.SCAN).to_reader()


def head(root: str, held: Holding, day: date, count: int) -> pa.Table:
    """The first rows of one date, read no further than that."""
    source, only = _dataset(root, held, day)
    names = [name for name in source.schema.names if name != "date"]
    scanner = source.scanner(columns=names, filter=only, batch_size=64, batch_readahead=1, fragment_readahead=1)
    return scanner.head(count)


def provenance(root: str, held: Holding, day: date) -> dict:
    """`made_from` and `settings` of one date, as its manifest or Delta commit recorded them; empty if none did."""
    place = Root.of(root)
    if held.table.storage == "parquet" or held.plain:
        at = f"{held.path}/date={day}/{MANIFEST}"
        return json.loads(place.read_text(at)) if place.exists(at) else {}
    found = next(delta_log.replacements(place, held.table, day), None)
    return {"version": found[0], **found[1]} if found else {}


def _dataset(root: str, held: Holding, day: date) -> tuple[dataset.Dataset, pc.Expression | None]:
    if held.table.storage == "delta" and not held.plain:
        return arrow.delta(root, held.table).to_pyarrow_dataset(), pc.field("date") == day
    place = Root.of(root)
    files = [info.path for info in place.files(f"{held.path}/date={day}", ".parquet")]
    return dataset.dataset(files, filesystem=place.filesystem, format="parquet"), None


def _delta_parts(root: str, table: Table) -> dict[date, Part]:
    if not Root.of(root).exists(f"{table.path}/_delta_log"):
        return {}
    parts: dict[date, Part] = {}
    for file in pa.table(arrow.delta(root, table).get_add_actions(flatten=True)).to_pylist():
        day = file["partition.date"]
        before = parts.get(day, Part(0, 0))
        parts[day] = Part(before.rows + (file["num_records"] or 0), before.bytes + file["size_bytes"])
    return parts


def _plain_part(place: Root, folder: str) -> Part:
    files = place.files(folder, ".parquet")
    return Part(_footer_rows(place, files), sum(info.size for info in files))


def _footer_rows(place: Root, files: list[fs.FileInfo]) -> int | None:
    total = 0
    for info in files:
        try:
            with place.filesystem.open_input_file(info.path) as source:
                total += parquet.read_metadata(source).num_rows
        except (OSError, pa.ArrowException):
            return None
    return total
