"""Show a root, one of its tables, or what happened to a request, user or item.

Reads:  any table, landing folder or quarantine, only the columns it needs
Writes: the file of --export alone; prints views, or one JSON object (--json)

TABLE is a name or a path, as in quarantine/conversions. A and B are dates,
versions of a Delta table (whole numbers) or roots.
"""

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError
from rich.console import Console

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.report import details, difference, difference_view, inventory, models, numbers, query, terminal
from jobs.report.grids import Screen
from jobs.report.id_texts import IdTexts
from jobs.report.inventory import Holding
from jobs.report.stories import item, request, user, view, view_days
from schemas.table import MissingDataError


def arg_parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="inspect_table",
        usage="%(prog)s [TABLE] --root ROOT [--date DATE] [a question] [--json]",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("table", nargs="?", metavar="TABLE", help="the table; all of them if left out")
    made.add_argument("--root", required=True, help="directory or URI that holds every table")
    made.add_argument("--date", type=cli.dates, metavar="DATE", help="YYYY-MM-DD or FIRST..LAST; default the newest")
    question = made.add_mutually_exclusive_group()
    question.add_argument("--request", metavar="ID", help="tell one request's whole story")
    question.add_argument("--user", metavar="ID", help="tell a user's days")
    question.add_argument("--item", metavar="ID", help="tell an item's way through a date's funnel")
    question.add_argument("--diff", nargs=2, metavar=("A", "B"), help="compare two states of TABLE")
    question.add_argument("--sql", metavar="SELECT", help="one SELECT over tables by name, read-only")
    made.add_argument("--export", type=_exported, metavar="FILE", help="all rows of TABLE or --sql as .csv or .parquet")
    made.add_argument("--rows", type=cli.at_least(0), help="rows to show; default 3 of TABLE, 40 of --sql")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of the views")
    return made


def _exported(text: str) -> Path:
    place = Path(text)
    if place.suffix not in (".csv", ".parquet"):
        raise argparse.ArgumentTypeError(f"{text!r} should end in .csv or .parquet")
    if not place.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {place.parent}")
    return place


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


def differ(console: Console, arguments: argparse.Namespace) -> None:
    """Compare two states of a table."""
    held = details.find(arguments.root, arguments.table)
    day = arguments.date[-1] if arguments.date else None
    first, second = difference.sides(arguments.root, held, arguments.diff, day)
    told = difference.compare(first, second)
    if arguments.json:
        labels = {"a": first.label, "b": second.label, "dates": [first.day, second.day]}
        cli.tell({"job": "inspect_table", "table": held.path, **labels, **told})
    else:
        difference_view.difference(console, first, second, told)


def select(console: Console, arguments: argparse.Namespace) -> None:
    """Answer a query, or write all rows of it, or of a table, to a file."""
    root, place, sql = arguments.root, arguments.export, arguments.sql
    if sql is None:
        held = details.find(root, arguments.table)
        sql = query.select(held.path, details.chosen(held, arguments.date)[0 if arguments.date else -1 :])
    most = 40 if arguments.rows is None else arguments.rows
    with query.answer(root, sql, as_text=place is not None and place.suffix == ".csv") as answer:
        if place is not None:
            written = {"export": str(place), "rows_written": query.export(answer.batches, place)}
        else:
            rows = query.head(answer, most + 1)
    if place is not None:
        if arguments.json:
            cli.tell({"job": "inspect_table", **written})
        else:
            console.print(f"{place}: {numbers.count(written['rows_written'])} rows", markup=False)
    elif arguments.json:
        cli.tell({"job": "inspect_table", "columns": answer.columns, "rows": rows[:most], "more": len(rows) > most})
    else:
        terminal.answer(console, answer.columns, rows[:most], len(rows) > most)


def main(arguments: argparse.Namespace, console: Console) -> None:
    root, table = arguments.root, arguments.table
    if table is None and (arguments.diff or (arguments.export and arguments.sql is None)):
        raise WorkFailedError(f"{'--diff' if arguments.diff else '--export'} needs TABLE, for one target_groups")
    if any(each is not None for each in (arguments.request, arguments.user, arguments.item)):
        story(console, arguments)
    elif arguments.diff:
        differ(console, arguments)
    elif arguments.sql is not None or arguments.export is not None:
        select(console, arguments)
    elif table is None:
        found, trained = overview(root, arguments.date)
        if arguments.json:
            cli.tell(listing(found, trained))
        else:
            terminal.overview(console, root, found, trained)
    else:
        held = details.find(root, table)
        days = details.chosen(held, arguments.date)
        rows = 3 if arguments.rows is None else arguments.rows
        told = details.describe(root, held, days, rows)
        if arguments.json:
            cli.tell({"job": "inspect_table", **told})
        else:
            details.show(console, root, held, days, told, rows)


if __name__ == "__main__":
    cli.show(
        "inspect_table",
        lambda: main(arg_parser().parse_args(), Screen()),
        (pa.ArrowException, duckdb.Error, DeltaError),
    )
