"""Validate the landed logs of a date and keep one row of each key.

Reads:  landing/<table>/date=DATE/*.parquet for requests, retrievals, impressions and conversions, which must be
        there (a file without rows says that nothing happened), and for stages, users and items where they are.
Writes: logs/<table> (Delta; a date is replaced if its rows are others, of conversions only the rows that are),
        quarantine/<table>/date=DATE (the refused rows with their reason; none if no row is refused),
        reports/quality/date=DATE.

A row is refused for the first of these that holds: a value that does not cast to the column's type without loss
(a number rounded to a float is none; a time without zone is UTC), a null or empty key, a null in a required
column, an unknown action or stage, a position below 1, a null inside a list, scores of another length than
item_ids (null scores are none), an item twice in a list, a request_time or event_time outside the date, an
event_time more than 5 minutes after logged_time, a request_id that no valid request of the date has.

Of the rows that share a key one is kept: the latest logged_time; among equals the smallest values, column by
column, lists by their hash. Keys whose rows differ beyond logged_time are counted as `conflicting`.

users and items may have further attributes, text or numbers; a type once in the log stays. Other columns are
dropped and named in quality. quality also says how many rows were kept, each nullable column's share of null, the share
of requests without retrievals and each channel's coverage of the requests.

A table with more than --max-refused-share refused rows fails the job, and so does a date that is unlike the same
weekdays of the 28 days before it (jobs/quality/drift_bounds.py has the bounds), as when a channel's log is
lost: quarantine and quality are written, no log changes. A change that is real is let through by --accept-changes,
and then whenever the date is ingested again as long as it lasts.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import cli
from jobs.ingestion import landing, measures, quarantine
from jobs.ingestion.landing import Landed
from jobs.ingestion.result import Outcome, agree, empty, known_requests, validate
from jobs.quality import drift_bounds
from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store
from schemas.table import Table
from schemas.tables.labels import target_groups
from schemas.tables.logs import LOGS, conversions
from schemas.tables.reports import quality

LANDED = "landed"  # the setting of a log's commit that names the files it was made from
# Tables at a time: planning and committing small ones leaves Spark's cores idle.
_AT_ONCE = 3


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--max-refused-share", type=_share, default=0.05, help="refused rows of a table that fail the job (%(default)s)"
    )
    parser.add_argument(
        "--accept-changes", action="store_true", help="publish the date although it is unlike the days before"
    )
    cli.stale_flag(parser, "landing files")
    return parser


def publish(store: Store, root: str, outcome: Outcome, day: date, settings: dict) -> int:
    """Replace the date of one log where it differs, of conversions only the rows that do; returns the date's rows.

    Raises:
        WorkFailedError: rows in are not rows kept, duplicate and quarantined.
    """
    table = outcome.landed.table
    kept = outcome.kept.select(*(f"`{name}`" for name in table.names))
    expected = "rows in less duplicates and quarantined", outcome.rows_kept
    own = Store(store.spark, root)
    if table.name == conversions.name and day in arrow.dates(root, table):
        agree(table, "rows to write", kept.cache().count(), *expected)
        own.update(table, day, own.read(table, day).select(*table.names), kept, settings)
    else:
        write = own.replace if table.open else own.renew
        agree(table, "rows written", write(table, day, kept, settings), *expected)
    return outcome.rows_kept


def retire(store: Store, root: str, table: Table, day: date) -> None:
    """Empty the date of a log whose landing folder is gone since an earlier run wrote it."""
    quarantine.remove(store, table, day)
    if day in arrow.dates(root, table):
        store.replace(table, day, empty(store, table), {})


def main(arguments: argparse.Namespace, day: date) -> dict:
    files_landed = landing.fingerprint(arguments.root, day)  # first: what lands from here on is for --stale to find
    landed = {table: landing.find(arguments.root, table, day) for table in LOGS}
    for table, found in landed.items():
        for column, count in found.dropped.items() if found else ():
            cli.log(f"ingest_logs {day}: {table.name}: column {column}, in {count} rows, is dropped")
    store = Store(session("ingest_logs"), arguments.root)
    settings = {"max_refused_share": arguments.max_refused_share}
    published = {**settings, LANDED: files_landed}
    try:
        with landing.unreadable_files_named():
            outcomes = validate_all(store, [found for found in landed.values() if found], day)
            for outcome in outcomes.values():
                quarantine.write(store, outcome, day, settings)
            check(arguments, outcomes, day)
            publish_one = partial(publish, store, arguments.root, day=day, settings=published)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                rows = pool.map(publish_one, outcomes.values())
                written = dict(zip(outcomes, rows, strict=True))
    finally:
        store.spark.catalog.clearCache()
    for table in LOGS:
        if landed[table] is None:
            retire(store, arguments.root, table, day)
    return summary(outcomes, written)


def check(arguments: argparse.Namespace, outcomes: dict[str, Outcome], day: date) -> None:
    """Write quality, and stop a date with too many refused rows or a change that nobody has accepted."""
    earlier = drift_bounds.before(arguments.root, day, {table.name for table in LOGS})
    if not earlier.enough:
        known = f"{len(earlier.days)} known days among the {drift_bounds.DAYS} before"
        cli.log(f"ingest_logs {day}: {known} are too few to compare with")
    today, most = measures.measure(outcomes), arguments.max_refused_share
    bounds = earlier.bounds(today)
    changes = [bound for bound in bounds if not bound.passed]
    accepted = {change.name for change in changes}
    with drift_bounds.locked(arguments.root):
        present, manifest = drift_bounds.recorded(arguments.root, day)
        if not arguments.accept_changes:
            accepted &= set(manifest["settings"].get(drift_bounds.ACCEPTED, ()))
        of_labels = present.filter(pc.field("table") == target_groups.name)
        rows = pa.concat_tables([measures.quality_rows(outcomes, most, today, bounds), of_labels])
        settings = {"max_refused_share": most, drift_bounds.ACCEPTED: sorted(accepted)}
        arrow.write(arguments.root, quality, day, rows, {}, settings)
    for change in changes:
        if change.name in accepted:
            cli.log(f"ingest_logs {day}: accepted: {change}")
    measures.stop_if(outcomes, most, [one for one in changes if one.name not in accepted], day)


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


def stale(root: str, days: list[date]) -> list[date]:
    """Which of the dates were ingested from other files than are landed now."""
    place = Root.of(root)
    newest = [delta_log.newest(place, table) for table in LOGS if not table.optional]
    found = []
    for day in days:
        made_from = {one[day][1]["settings"].get(LANDED) for one in newest if day in one}
        there = landing.fingerprint(root, day)
        # Several: a run ended between two tables.
        if len(made_from) > 1 or (made_from and there and there not in made_from):
            found.append(day)
    return found


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write a number from 0 to 1")
    return share


if __name__ == "__main__":
    cli.run("ingest_logs", arg_parser().parse_args(), main, stale)
