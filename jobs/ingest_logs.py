"""Validate the landed logs of a date and keep one row of each key.

Reads:  landing/<table>/date=DATE, settings.toml
Writes: logs/<table> and ids/ (Delta), quarantine/<table>/date=DATE,
        reports/quality/date=DATE

- Only stages, users and items may be absent; a file may be without rows.
- A table with too many refused rows or a change against the days before stops
  the date: quarantine and quality are written, no log changes.

In detail:

Only stages, users and items may be absent; a file without rows says that nothing happened. Rows are refused or set
aside as docs/bring-your-own-logs.md says; check_landing shows it before anything is written. Of rows that share a key
the latest logged_time is kept, else the smallest values.

A table with too many refused rows stops the date, and so does a change against the days before it
(jobs/quality/drift_bounds.py): quarantine and quality are written, no log changes. Accepted changes stay accepted.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command import cli
from jobs.ingestion import (
    folders,
    landing,
    measures,
    parquet_files,
    plain_copies,
    publication,
    quarantine,
    recorded_ids,
    validation,
)
from jobs.ingestion.result import Outcome, agree, empty
from jobs.quality import drift_bounds
from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.table import Table
from schemas.tables.labels import target_groups
from schemas.tables.logs import LOGS, conversions
from schemas.tables.reports import quality

LANDED = "landed"  # the setting of a log's commit that names the files it was made from
SETTINGS = "settings"  # the setting of a log's commit that holds what settings.toml said


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument(
        "--max-refused-share", type=cli.share, default=0.05, help="refused rows of a table that fail (%(default)s)"
    )
    parser.add_argument(
        "--accept-changes",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="publish the date although it is unlike the days before",
    )
    parser.add_argument(
        "--reset-attribute",
        type=_attribute,
        action="append",
        default=[],
        metavar="TABLE.NAME",
        help="take the landed type; what no longer fits is null",
    )
    cli.stale_flag(parser, "landing files")
    return parser


def publish(store: Store, root: str, outcome: Outcome, day: date, settings: dict) -> int:
    """Replace the date of one log where it differs, of conversions only the rows that do; returns the date's rows.

    Raises:
        WorkFailedError: rows in are not rows kept, duplicate, quarantined and set aside.
    """
    table = outcome.landed.table
    kept = outcome.kept.select(*(f"`{name}`" for name in table.names))
    expected = "rows in less duplicates, quarantined and set aside", outcome.rows_kept
    own = Store(store.spark, root)
    if outcome.landed.retyped:
        own.retype(table, outcome.landed.retyped)
    if table.name == conversions.name and day in arrow.dates(root, table):
        agree(table, "rows to write", kept.cache().count(), *expected)
        own.update(table, day, own.read(table, day).select(*table.names), kept, settings)
    else:
        agree(table, "rows written", own.renew(table, day, kept, settings), *expected)
    return outcome.rows_kept


def retire(store: Store, root: str, table: Table, day: date, settings: dict) -> None:
    """Empty the date of a log whose landing folder is gone since an earlier run wrote it."""
    quarantine.remove(store, table, day)
    if day in arrow.dates(root, table):
        store.replace(table, day, empty(store, table), settings)


def main(arguments: argparse.Namespace, day: date) -> dict:
    root, root_settings = arguments.root, RootSettings.of(arguments.root)
    # First: what lands from here on is for --stale to find.
    files_landed = folders.fingerprint(root, day, root_settings)
    landed = validation.find_all(root, day, root_settings, arguments.reset_attribute)
    for table, found in landed.items():
        for column, count in found.dropped.items() if found else ():
            cli.log(f"ingest_logs {day}: {table.name}: column {column}, in {count} rows, is dropped")
        for attribute, kind in found.retyped.items() if found else ():
            cli.log(
                f"ingest_logs {day}: {table.name}: {attribute} becomes {kind}; every date of the log is written anew"
            )
    for line in parquet_files.unknown_folders(Root.of(root)):
        cli.log(f"ingest_logs {day}: {line}")
    store = Store(session("ingest_logs", needs_jvm=True), root)
    settings = {"max_refused_share": arguments.max_refused_share}
    if recorded := validation.recorded(root_settings):
        settings[SETTINGS] = recorded
    published = {**settings, LANDED: files_landed}
    present = [found for found in landed.values() if found]
    try:
        with landing.unreadable_files_named(root, present), plain_copies.copies(Root.of(root)) as copies:
            outcomes, id_texts = validation.validate_all(store, root, present, day, copies)
            for outcome in outcomes.values():
                quarantine.write(store, outcome, day, settings)
            check(arguments, outcomes, day)
            recorded_ids.record(store, root, id_texts, day, settings)
            publish_one = partial(publish, store, root, day=day, settings=published)
            with ThreadPoolExecutor(validation.AT_ONCE) as pool:
                rows = pool.map(publish_one, outcomes.values())
                written = dict(zip(outcomes, rows, strict=True))
    finally:
        store.spark.catalog.clearCache()
    for table in LOGS:
        if landed[table] is None:
            retire(store, root, table, day, published)
    return summary(outcomes, written)


def check(arguments: argparse.Namespace, outcomes: dict[str, Outcome], day: date) -> None:
    """Write quality, and stop a date with too many refused rows or a change that nobody has accepted."""
    root, most = arguments.root, arguments.max_refused_share
    judgement = publication.judge(root, outcomes, day, most)
    if not judgement.earlier.enough:
        known = f"{len(judgement.earlier.days)} known days among the {drift_bounds.DAYS} before"
        cli.log(f"ingest_logs {day}: {known} are too few to compare with")
    accepted = {change.name for change in judgement.changes}
    with drift_bounds.locked(root):
        present, _ = drift_bounds.recorded(root, day)
        if not arguments.accept_changes:
            accepted &= publication.accepted_before(root, day)
        of_labels = present.filter(pc.field("table") == target_groups.name)
        settings = {"max_refused_share": most, drift_bounds.ACCEPTED: sorted(accepted)}
        arrow.write(root, quality, day, pa.concat_tables([judgement.rows, of_labels]), {}, settings)
    for change in judgement.changes:
        if change.name in accepted:
            cli.log(f"ingest_logs {day}: accepted: {change}")
    measures.stop_if(outcomes, most, judgement.not_accepted(accepted), day)


def summary(outcomes: dict[str, Outcome], written: dict[str, int]) -> dict:
    """Totals over the tables, and each table's own counts."""
    tables = {name: one.counted | {"rows_written": written[name]} for name, one in outcomes.items()}
    totals = ("rows_written", "quarantined", "duplicates", "conflicting", "repeated_items", "truncated")
    return {
        **{total: sum(counts[total] for counts in tables.values()) for total in totals},
        "set_aside": sum(one.rows_set_aside for one in outcomes.values()),
        "tables": tables,
    }


def stale(root: str, days: list[date]) -> list[date]:
    """Which of the dates were ingested from other files than are landed now, or with other settings."""
    place, root_settings = Root.of(root), RootSettings.of(root)
    newest = [delta_log.newest(place, table) for table in LOGS if not table.optional]
    found = []
    for day in days:
        made_from = [written[day][1]["settings"] for written in newest if day in written]
        named = folders.fingerprint(root, day, root_settings)
        if made_from and named is not None and _differs(made_from, named, validation.recorded(root_settings)):
            found.append(day)
    return found


def _differs(made_from: list[dict], named: str | dict, recorded: dict) -> bool:
    files = [settings.get(LANDED) for settings in made_from]
    if any(each != files[0] for each in files):  # a run ended between two tables
        return True
    return folders.changed(files[0], named) or any(settings.get(SETTINGS, {}) != recorded for settings in made_from)


def _attribute(text: str) -> str:
    table, _, name = text.partition(".")
    tables = [each.name for each in LOGS if each.open]
    if table not in tables or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no TABLE.NAME; TABLE is one of {', '.join(tables)}")
    return text


if __name__ == "__main__":
    cli.run("ingest_logs", arg_parser().parse_args(), main, stale)
