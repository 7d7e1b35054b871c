"""What differs between two dates, two roots or two versions of a table: its keys, its rows, where its items are."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jobs.command.cli import WorkFailedError
from jobs.report import counts, inventory
from jobs.report.counts import Breakdown
from jobs.report.inventory import Holding
from schemas.storage import arrow
from schemas.table import MissingDataError
from schemas.tables.labels import target_groups
from schemas.tables.samples import hccp_samples

_EXAMPLES = 3


@dataclass(frozen=True)
class Side:
    """One of the two states; `version` is None for the newest."""

    label: str
    root: str
    held: Holding
    day: date
    version: int | None = None

    def batches(self, columns: Sequence[str] | None) -> pa.RecordBatchReader:
        """Its rows without `date`, streamed; all columns if None."""
        if self.version is None:
            return inventory.batches(self.root, self.held, self.day, columns)
        source = _at(self.root, self.held, self.version).to_pyarrow_dataset()
        wanted = list(columns) if columns else [name for name in source.schema.names if name != "date"]
        return source.scanner(columns=wanted, filter=pc.field("date") == self.day, **arrow.SCAN).to_reader()


def sides(root: str, held: Holding, pair: Sequence[str], day: date | None) -> tuple[Side, Side]:
    """The two states that a pair names: dates, versions of a Delta table as whole numbers, or roots.

    Args:
        day: the date to compare, of versions and roots; the newest that both have if None.

    Raises:
        MissingDataError: one of them does not exist.
        WorkFailedError: versions of a table that has none.
    """
    if all(_is_date(each) for each in pair):
        return tuple(_dated(root, held, date.fromisoformat(each)) for each in pair)
    if all(each.isdigit() for each in pair):
        return _versions(root, held, [int(each) for each in pair], day)
    helds = [inventory.holding(each, held.path) for each in pair if inventory.require(each) is None]
    common = sorted(set(helds[0].days) & set(helds[1].days))
    if not common or (day is not None and day not in common):
        there = ", ".join(map(str, common[-10:])) or "none"
        raise MissingDataError(f"{held.path} has no such date in both roots; dates in both: {there}")
    chosen = day or common[-1]
    return tuple(Side(each, each, one, chosen) for each, one in zip(pair, helds, strict=True))


def compare(first: Side, second: Side) -> dict:
    """Keys gone and added, rows changed and in which columns, items that moved, and both distributions."""
    key = list(first.held.table.key)
    with tempfile.TemporaryDirectory(prefix="headrace-diff-") as folder, duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{folder}'")
        columns = [_hashed(connection, name, side, key) for name, side in (("a", first), ("b", second))]
        shared = [name for name in columns[0] if name in columns[1]]
        moves = _moves(connection, first, second)
        return {
            "rows": [_one(connection, f"SELECT count(*) FROM {side}") for side in ("a", "b")],
            "columns_gone": [name for name in columns[0] if name not in columns[1]],
            "columns_added": [name for name in columns[1] if name not in columns[0]],
            **_keys(connection, key, shared),
            **({"moves": moves} if moves is not None else {}),
            "distributions": {each.title: _side_by_side(each, first, second) for each in counts.breakdowns(first.held)},
        }


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return "-" in text


def _dated(root: str, held: Holding, day: date) -> Side:
    if day not in held.parts:
        there = ", ".join(map(str, held.days[-10:]))
        raise MissingDataError(f"{held.path} has no date {day}; dates there: {there}")
    return Side(str(day), root, held, day)


def _versions(root: str, held: Holding, versions: Sequence[int], day: date | None) -> tuple[Side, Side]:
    if held.plain or held.table.storage != "delta":
        raise WorkFailedError(f"{held.path} is no Delta table, so it has no versions; compare dates or roots")
    files = [_files(root, held, version) for version in versions]
    differing = sorted({each for each, _ in files[0] ^ files[1]})
    chosen = day or (differing[-1] if differing else held.days[-1])
    return tuple(Side(f"version {version}", root, held, chosen, version) for version in versions)


def _files(root: str, held: Holding, version: int) -> set[tuple[date, str]]:
    actions = pa.table(_at(root, held, version).get_add_actions(flatten=True)).to_pylist()
    return {(each["partition.date"], each["path"]) for each in actions}


def _at(root: str, held: Holding, version: int):
    table = arrow.delta(root, held.table)
    newest = table.version()
    if version > newest:
        raise MissingDataError(f"{held.path} has no version {version}; the newest is {newest}")
    table.load_as_version(version)
    return table


def _hashed(connection: duckdb.DuckDBPyConnection, name: str, side: Side, key: Sequence[str]) -> list[str]:
    """Put a side's keys, and a hash of each other column, into a table; returns the other columns."""
    rows = side.batches(None)
    others = [column for column in rows.schema.names if column not in key]
    hashes = "".join(f", hash({_quoted(column)}) AS {_quoted(column)}" for column in others)
    connection.register("rows", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT {', '.join(map(_quoted, key))}{hashes} FROM rows")
    connection.unregister("rows")
    return others


def _keys(connection: duckdb.DuckDBPyConnection, key: Sequence[str], shared: Sequence[str]) -> dict:
    on = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in map(_quoted, key))
    changed = [f"a.{name} <> b.{name}" for name in map(_quoted, shared)]
    each = "".join(f", count(*) FILTER ({test})" for test in changed)
    both = connection.execute(
        f"SELECT count(*), count(*) FILTER ({' OR '.join(changed) or 'false'}){each} FROM a JOIN b ON {on}"
    ).fetchone()
    names = ", ".join(map(_quoted, key))
    result = {"same_keys": both[0], "changed": both[1], "changed_by_column": dict(zip(shared, both[2:], strict=True))}
    for what, (left, right) in {"gone": ("a", "b"), "added": ("b", "a")}.items():
        where = f"FROM {left} WHERE NOT EXISTS (SELECT 1 FROM {right} WHERE {on})"
        result[what] = _one(connection, f"SELECT count(*) {where}")
        rows = connection.execute(f"SELECT {names} {where} ORDER BY {names} LIMIT {_EXAMPLES}").fetchall()
        result[f"{what}_examples"] = [dict(zip(key, row, strict=True)) for row in rows]
    return result


# request_id, item_id and the place of the item: what moves between two states of a table
_PLACES = {
    target_groups.path: (
        ("request_id", "item_id", "group"),
        'SELECT request_id, item_id, string_agg("group", \' and \' ORDER BY "group") AS place FROM rows GROUP BY ALL',
    ),
    hccp_samples.path: (
        ("request_id", "item_ids", "levels"),
        "SELECT request_id, unnest(item_ids) AS item_id, unnest(levels) AS place FROM rows",
    ),
}


def _moves(connection: duckdb.DuckDBPyConnection, first: Side, second: Side) -> list[dict] | None:
    """How many items went from one group or level to another; None for tables without them."""
    if first.held.plain or first.held.path not in _PLACES:
        return None
    columns, query = _PLACES[first.held.path]
    for name, side in (("before", first), ("after", second)):
        connection.register("rows", side.batches(columns))
        connection.execute(f"CREATE TABLE {name} AS {query}")
        connection.unregister("rows")
    found = connection.execute(
        "SELECT before.place, after.place, count(*) FROM before JOIN after USING (request_id, item_id) "
        "WHERE before.place <> after.place GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    )
    return [dict(zip(("from", "to", "items"), row, strict=True)) for row in found.fetchall()]


def _side_by_side(breakdown: Breakdown, first: Side, second: Side) -> list[dict]:
    """A breakdown of both: by its labels, each figure of the first and of the second; None where one lacks the row."""
    tables = [counts.of(side.batches(breakdown.columns), breakdown) for side in (first, second)]
    labels = [name for name, value in next(iter([*tables[0], *tables[1]]), {}).items() if isinstance(value, str)]
    keyed = [{tuple(row[name] for name in labels): row for row in rows} for rows in tables]
    return [
        {
            **dict(zip(labels, key, strict=True)),
            **{
                name: [side.get(key, {}).get(name) for side in keyed]
                for name in (keyed[0].get(key) or keyed[1][key])
                if name not in labels
            },
        }
        for key in dict.fromkeys([*keyed[0], *keyed[1]])
    ]


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return connection.execute(query).fetchone()[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
