"""All that is told of one table: how a date was made, its counts and a few rows."""

from datetime import date

from rich.console import Console

from jobs.command.cli import WorkFailedError
from jobs.report import counts, inventory, numbers, scores, terminal
from jobs.report.id_texts import IdTexts
from jobs.report.inventory import Holding
from schemas.table import MissingDataError
from schemas.tables.reports import evaluations


def find(root: str, name: str) -> Holding:
    """The table of that name or path.

    A name is looked for under its own layer first; a log that was landed but not yet ingested is found in landing.

    Raises:
        MissingDataError: no table has that name, or it does not exist below the root.
    """
    inventory.require(root)
    known = inventory.paths()
    named = [path for path in known if name.strip("/") in (path, path.split("/")[1])]
    if not named:
        names = sorted({path.split("/")[1] for path in known})
        raise MissingDataError(f"no table is named {name!r}; the tables are {', '.join(names)}")
    order = sorted(named, key=lambda path: (path.startswith("quarantine/"), path.startswith("landing/")))
    for path in order:
        held = inventory.holding(root, path)
        if held.parts:
            return held
    there = ", ".join(held.path for held in inventory.holdings(root)) or "nothing"
    raise MissingDataError(f"{order[0]} is not below {root}; there is {there}")


def chosen(held: Holding, asked: list[date] | None) -> list[date]:
    """The dates to show: those asked for that exist, or all.

    Raises:
        MissingDataError: none of the dates asked for exists; names the dates that do.
    """
    days = [day for day in held.days if asked is None or day in asked]
    if not days:
        there = ", ".join(map(str, held.days[-10:]))
        raise MissingDataError(f"{held.path} has no date {numbers.span(asked)}; dates there: {there}")
    return days


def describe(root: str, held: Holding, days: list[date], rows: int) -> dict:
    """Everything the view of one table says; the newest of the dates in detail."""
    day = days[-1]
    if held.parts[day].rows is None:
        raise WorkFailedError(f"{held.path}/date={day} has a file that is no readable Parquet; land that date again")
    return {
        "table": held.path,
        "dates": {str(each): vars(held.parts[each]) for each in days},
        "date": str(day),
        "made": inventory.provenance(root, held, day),
        "counts": {each.title: counts.count(root, held, day, each) for each in counts.breakdowns(held)},
        "rows": IdTexts(root).beside(inventory.head(root, held, day, rows).to_pylist()) if rows else [],
    }


def show(console: Console, root: str, held: Holding, days: list[date], told: dict, rows: int) -> None:
    day = days[-1]
    terminal.contract(console, held)
    terminal.per_date(console, held, days)
    terminal.made_from(console, day, told["made"])
    for title, counted in told["counts"].items():
        terminal.breakdown(console, title, day, counted)
    if held.path == evaluations.path:
        terminal.headline(console, scores.read(root, day), day)
    if rows and held.layer != "reports":
        terminal.sample(console, day, told["rows"])
