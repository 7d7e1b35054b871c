"""What differs between two states of a table, to be read at 80 columns."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from jobs.report import grids, numbers
from jobs.report.difference import Side

_MOVES, _FIGURES = 12, 2


def difference(console: Console, first: Side, second: Side, told: Mapping) -> None:
    """Keys, changed columns, moves and distributions; A is the first state, B the second."""
    dates = "" if first.day != second.day else f", date {first.day}"
    console.print(Text.assemble((first.held.path, "bold"), f"  A = {first.label}, B = {second.label}{dates}"))
    _keys(console, told)
    _moves(console, told)
    for title, rows in told["distributions"].items():
        _distribution(console, title, rows)


def _keys(console: Console, told: Mapping) -> None:
    grid = grids.new("", ">rows", "")
    grids.add(grid, "A", numbers.count(told["rows"][0]), "")
    grids.add(grid, "B", numbers.count(told["rows"][1]), "")
    grids.add(grid, "in both", numbers.count(told["same_keys"]), "by key")
    changed = [f"{name} {numbers.count(rows)}" for name, rows in told["changed_by_column"].items() if rows]
    grids.add(grid, "changed", numbers.count(told["changed"]), ", ".join(changed))
    for name in ("gone", "added"):
        examples = "; ".join(" ".join(map(str, each.values())) for each in told[f"{name}_examples"])
        more = "; …" if told[name] > len(told[f"{name}_examples"]) else ""
        grids.add(grid, name, numbers.count(told[name]), examples + more)
    for name in ("columns_gone", "columns_added"):
        if told[name]:
            grids.add(grid, name.replace("_", " "), "", ", ".join(told[name]))
    grids.show(console, "Rows", grid)


def _moves(console: Console, told: Mapping) -> None:
    if not told.get("moves"):
        return
    grid = grids.new("from", "to", ">items")
    for each in told["moves"][:_MOVES]:
        grids.add(grid, each["from"], each["to"], numbers.count(each["items"]))
    grids.show(console, "Items that moved", grid)


def _distribution(console: Console, title: str, rows: list[dict]) -> None:
    """The first figures of a breakdown, A beside B."""
    if not rows:
        return
    figures = [name for name, value in rows[0].items() if isinstance(value, list)]
    labels = [name for name in rows[0] if name not in figures]
    chosen = figures[: _FIGURES - 1] + (["share"] if "share" in figures else figures[_FIGURES - 1 : _FIGURES])
    grid = grids.new(*labels, *(f">{name} {side}" for name in chosen for side in "AB"))
    for row in rows:
        cells = (_figure(name, value) for name in chosen for value in row[name])
        grids.add(grid, *(str(row[name]) for name in labels), *cells)
    grids.show(console, title, grid)


def _figure(name: str, value: float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if "share" in name:
        return numbers.percent(value)
    return numbers.decimal(value) if isinstance(value, float) else numbers.count(value)
