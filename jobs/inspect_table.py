"""What a person wants to know of a root, or of one table in it, in the terminal.

Without TABLE: every landing folder, table and quarantine below the root, with its dates, rows and size, and the
models. With one: its contract, rows and size per date, how the newest date (or --date) was made, counts by group,
action, channel, level or whatever suits the table, and a few rows. TABLE is a table's name, or its path below the
root, as in landing/requests or quarantine/conversions.

--date is optional here, unlike elsewhere; a range shows the newest of its dates in detail.

Reads: any table, landing folder or quarantine, only the columns that are counted.
Writes: nothing; prints views, or with --json one JSON object and nothing else.
"""

import argparse
from dataclasses import replace
from datetime import date

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError
from rich.console import Console

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.report import counts, inventory, models, numbers, scores, terminal
from jobs.report.grids import Screen
from jobs.report.id_texts import IdTexts
from jobs.report.inventory import Holding
from jobs.report.stories import item, request, user, view, view_days
from schemas.table import MissingDataError
from schemas.tables.reports import evaluations


def arg_parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("table", nargs="?", metavar="TABLE", help="a table's name or path; all of them if left out")
    made.add_argument("--root", required=True, help="directory or URI that holds every table")
    made.add_argument(
        "--date", type=cli.dates, metavar="DATE[..LAST]", help="YYYY-MM-DD, or FIRST..LAST; the newest if left out"
    )
    asked = made.add_mutually_exclusive_group()
    asked.add_argument("--request", metavar="ID", help="tell one request's whole story")
    asked.add_argument("--user", metavar="ID", help="tell a user's days")
    asked.add_argument("--item", metavar="ID", help="tell an item's way through the funnel of one date")
    made.add_argument("--rows", type=cli.at_least(0), default=3, help="sample rows to show (default %(default)s)")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of the views")
    return made


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


def overview(root: str, asked: list[date] | None) -> tuple[list[Holding], list[dict]]:
    """What is below the root, of the dates asked for only.

    Raises:
        MissingDataError: there is no such root, or nothing of those dates in it.
    """
    found, trained = inventory.holdings(root), models.listing(root)
    if asked is None:
        return found, trained
    kept = [replace(held, parts={day: part for day, part in held.parts.items() if day in asked}) for held in found]
    trained = [each for each in trained if date.fromisoformat(each["date"]) in asked]
    if not any(held.parts for held in kept) and not trained:
        days = sorted({day for held in found for day in held.parts})
        raise MissingDataError(f"nothing below {root} is of {numbers.span(asked)}; dates there: {numbers.span(days)}")
    return [held for held in kept if held.parts], trained


def listing(found: list[Holding], trained: list[dict]) -> dict:
    """The overview as one JSON object."""
    tables = [{"table": held.path, "dates": {str(day): vars(held.parts[day]) for day in held.days}} for held in found]
    return {"job": "inspect_table", "tables": tables, "models": trained}


def story(console: Console, arguments: argparse.Namespace) -> None:
    """Tell what happened to a request, a user or an item."""
    root, days = arguments.root, arguments.date
    inventory.require(root)
    texts = IdTexts(root)
    if arguments.request is not None:
        told, written = request.tell(root, arguments.request, days), view.request
    elif arguments.user is not None:
        told, written = user.tell(root, texts.number("user_id", arguments.user), days), view_days.user
    else:
        told, written = item.tell(root, texts.number("item_id", arguments.item), days), view_days.item
    if arguments.json:
        cli.tell({"job": "inspect_table", **told})
    else:
        written(console, told, texts)


def main(arguments: argparse.Namespace, console: Console) -> None:
    root = arguments.root
    if any(each is not None for each in (arguments.request, arguments.user, arguments.item)):
        story(console, arguments)
        return
    if arguments.table is None:
        found, trained = overview(root, arguments.date)
        if arguments.json:
            cli.tell(listing(found, trained))
        else:
            terminal.overview(console, root, found, trained)
        return
    held = find(root, arguments.table)
    days = chosen(held, arguments.date)
    told = describe(root, held, days, arguments.rows)
    if arguments.json:
        cli.tell({"job": "inspect_table", **told})
    else:
        show(console, root, held, days, told, arguments.rows)


if __name__ == "__main__":
    cli.show(
        "inspect_table",
        lambda: main(arg_parser().parse_args(), Screen()),
        (pa.ArrowException, duckdb.Error, DeltaError),
    )
