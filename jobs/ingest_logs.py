"""Validate the landed logs of a date and keep one row of each key.

Reads:  landing/<table>/date=DATE/*.parquet for requests, retrievals, impressions and conversions, which must be
        there (a file without rows says that nothing happened), and for stages, users and items where they are.
Writes: logs/<table> (Delta; the date is replaced), quarantine/<table>/date=DATE (the refused rows with their
        reason; none if no row is refused), reports/quality/date=DATE.

A row is refused for the first of these that holds: a value that does not cast to the column's type without loss
(a number rounded to a float is none; a time without zone is UTC), a null or empty key, a null in a required
column, an unknown action or stage, a position below 1, a null inside a list, scores of another length than
item_ids (null scores are none), an item twice in a list, a request_time or event_time outside the date, an
event_time more than 5 minutes after logged_time, a request_id that no valid request of the date has.

Of the rows that share a key one is kept: the latest logged_time; among equals the smallest values, column by
column, lists by their hash. Keys whose rows differ beyond logged_time are counted as `conflicting`.

users and items may have further attributes, text or numbers; a type once in the log stays. Other columns are
dropped and named in quality. A table with more than --max-refused-share refused rows fails the job: quarantine
and quality are written, no log changes.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pyarrow as pa

from jobs import command
from jobs.validation import landing, quarantine
from jobs.validation.landing import Landed
from jobs.validation.outcome import Outcome, agree, empty, known_requests, validate
from schemas import arrow
from schemas.logs import LOGS
from schemas.reports import quality
from schemas.spark import Store, session
from schemas.table import Table

# Tables at a time: planning and committing small ones leaves Spark's cores idle.
_AT_ONCE = 3


def arg_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__)
    parser.add_argument(
        "--max-refused-share", type=_share, default=0.05, help="refused rows of a table that fail the job (%(default)s)"
    )
    return parser


def quality_rows(outcomes: dict[str, Outcome], most: float) -> pa.Table:
    """One row a table and check; only refused_share has a threshold."""
    rows = []
    for name, one in outcomes.items():
        measured = {
            "rows_in": one.rows_in,
            "rows_kept": one.rows_kept,
            "refused_share": one.refused_share,
            "duplicates": one.duplicates,
            "conflicting": one.conflicting,
            **{f"refused: {reason}": count for reason, count in one.refused_for.items()},
            **{f"dropped column: {column}": count for column, count in one.landed.dropped.items()},
        }
        for what, value in measured.items():
            threshold = most if what == "refused_share" else None
            passed = threshold is None or value <= threshold
            rows.append({"table": name, "check": what, "value": value, "threshold": threshold, "passed": passed})
    return pa.Table.from_pylist(rows, schema=quality.schema)


def refuse_above(outcomes: dict[str, Outcome], most: float, day: date) -> None:
    """Raise if a table's refused share is above the threshold, naming each such table."""
    faults = []
    for name, one in outcomes.items():
        if one.refused_share > most:
            top = sorted(one.refused_for.items(), key=lambda item: (-item[1], item[0]))[:3]
            reasons = "; ".join(f"{reason} ({count})" for reason, count in top)
            faults.append(f"{name}: {one.refused_share:.1%} of {one.rows_in} rows refused: {reasons}")
    if faults:
        raise command.WorkFailedError(
            f"{' | '.join(faults)}; at most {most:.1%} may be; no log of {day} was changed, "
            f"the rows are in quarantine/<table>/date={day}"
        )


def publish(store: Store, outcome: Outcome, day: date, settings: dict) -> int:
    """Replace the date of one log; returns its rows.

    Raises:
        WorkFailedError: rows in are not rows kept, duplicate and quarantined.
    """
    table = outcome.landed.table
    written = store.replace(table, day, outcome.kept.select(*(f"`{name}`" for name in table.names)), settings)
    agree(table, "rows written", written, "rows in less duplicates and quarantined", outcome.rows_kept)
    return written


def retire(store: Store, root: str, table: Table, day: date) -> None:
    """Empty the date of a log whose landing folder is gone since an earlier run wrote it."""
    quarantine.remove(store, table, day)
    if day in arrow.dates(root, table):
        store.replace(table, day, empty(store, table), {})


def main(arguments: argparse.Namespace, day: date) -> dict:
    landed = {table: landing.find(arguments.root, table, day) for table in LOGS}
    for table, found in landed.items():
        for column, count in found.dropped.items() if found else ():
            command.log(f"ingest_logs {day}: {table.name}: column {column}, in {count} rows, is dropped")
    store = Store(session("ingest_logs"), arguments.root)
    most, settings = arguments.max_refused_share, {"max_refused_share": arguments.max_refused_share}
    try:
        with landing.unreadable_files_named():
            outcomes = validate_all(store, [found for found in landed.values() if found], day)
            for outcome in outcomes.values():
                quarantine.write(store, outcome, day, settings)
            arrow.write(arguments.root, quality, day, quality_rows(outcomes, most), {}, settings)
            refuse_above(outcomes, most, day)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                rows = pool.map(lambda outcome: publish(store, outcome, day, settings), outcomes.values())
                written = dict(zip(outcomes, rows, strict=True))
    finally:
        store.spark.catalog.clearCache()
    for table in LOGS:
        if landed[table] is None:
            retire(store, arguments.root, table, day)
    return summary(outcomes, written)


def validate_all(store: Store, landed: list[Landed], day: date) -> dict[str, Outcome]:
    """Table name -> what became of its rows; the requests first, since others must name a valid one."""
    first, *others = landed
    found = {first.table.name: validate(store, first, day, None)}
    known = known_requests(found[first.table.name])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = pool.map(lambda one: validate(store, one, day, known), others)
        return found | {one.table.name: outcome for one, outcome in zip(others, outcomes, strict=True)}


def summary(outcomes: dict[str, Outcome], written: dict[str, int]) -> dict:
    """Totals over the tables, and each table's own counts."""
    tables = {
        name: {
            "rows_in": one.rows_in,
            "rows_written": written[name],
            "quarantined": one.quarantined,
            "duplicates": one.duplicates,
            "conflicting": one.conflicting,
            "refused_for": one.refused_for,
        }
        for name, one in outcomes.items()
    }
    totals = ("rows_written", "quarantined", "duplicates", "conflicting")
    return {total: sum(counts[total] for counts in tables.values()) for total in totals} | {"tables": tables}


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write a number from 0 to 1")
    return share


if __name__ == "__main__":
    command.run("ingest_logs", arg_parser().parse_args(), main)
