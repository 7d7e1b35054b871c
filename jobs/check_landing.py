"""Show what ingest_logs would make of a date's landed files.

Reads:  landing/<table>/date=DATE, settings.toml; with --files other folders in
        place of landing's
Writes: nothing; prints a screen a log, a settings.toml to paste and one JSON
        line

- A suggestion is a guess: read it before you paste it.
- It ends with 0 only if ingest_logs would publish the date.

In detail:

A screen shows where each column comes from, or could come from, a row as it would come out, and how many rows would be
kept, set aside or refused, and why: with the suggested settings, where the date would not be published without them. A
suggestion is a guess: read it before you paste it. Ends with 0 only if ingest_logs would publish the date.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

from pyspark.sql import functions as F

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.ingestion import (
    landing,
    landing_report,
    measures,
    plain_copies,
    publication,
    suggestions,
    toml_text,
    validation,
)
from jobs.ingestion.landing import File, Landed
from jobs.ingestion.plain_copies import Copies
from jobs.ingestion.result import Outcome
from jobs.ingestion.suggestions import Suggestion
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.settings import RootSettings
from schemas.storage.spark import Store
from schemas.table import TIME, ContractError, MissingDataError, SettingsError, Table
from schemas.tables.logs import LOGS, requests

_LOG_NAMES = tuple(table.name for table in LOGS)


@dataclass
class Check:
    """What is known of a date's logs: their files, what the settings lack, what became of the rows, what is wrong."""

    files: dict[Table, tuple[File, ...]] = field(default_factory=dict)
    suggested: dict[str, Suggestion] = field(default_factory=dict)
    settings: RootSettings = field(default_factory=RootSettings)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    faults: dict[Table | None, str] = field(default_factory=dict)


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument(
        "--files",
        type=_folder_of_log,
        action="append",
        default=[],
        metavar="LOG=FOLDER",
        help="look at this folder's Parquet files as if they were landed for that log; the root need not exist yet",
    )
    parser.add_argument(
        "--max-refused-share", type=cli.share, default=0.05, help="refused rows of a table that fail (%(default)s)"
    )
    parser.add_argument("--accept-changes", action="store_true", help="as of ingest_logs")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Show each date; raises a WorkFailedError after the last if one would not be published."""
    cli.choose_engine(arguments)
    try:
        given = RootSettings.of(arguments.root)
    except SettingsError as fault:
        _tell(arguments.date[0], Check(faults={None: str(fault)}), None)
        raise
    refused = [day for day in arguments.date if not show(arguments, given, day)]
    if refused:
        raise WorkFailedError(f"ingest_logs would not publish {', '.join(map(str, refused))}; the lines above say why")


def show(arguments: argparse.Namespace, given: RootSettings, day: date) -> bool:
    """Print one date's screens and its JSON line; returns whether `ingest_logs` would publish it."""
    with _copies(arguments.root) as copies:
        found = check(arguments, given, day, copies)
        examples = {name: _example(outcome) for name, outcome in found.outcomes.items()}
    for table, files in found.files.items():
        outcome, suggestion = found.outcomes.get(table.name), found.suggested.get(table.name, Suggestion())
        screen = landing_report.lines(
            table, files, found.settings, suggestion, outcome, examples.get(table.name, {}), found.faults.get(table)
        )
        print("\n".join(screen), end="\n\n")
    written = toml_text.written(suggestions.merged(_parts(given), found.suggested))
    changes = any(each.section or each.ids for each in found.suggested.values())
    title = "what it would have to say" if changes else "nothing is missing"
    print(f"# settings.toml: {title}\n{written}")
    for fault in dict.fromkeys(found.faults.values()):
        cli.log(f"check_landing {day}: {fault}")
    _tell(day, found, written if changes else None)
    return not found.faults


@contextmanager
def _copies(root: str) -> Iterator[Copies]:
    """Where plain copies of odd files lie: nothing is written below a root on this machine."""
    place = Root.of(root)
    with (
        tempfile.TemporaryDirectory() as folder,
        plain_copies.copies(Root.of(folder) if place.is_local else place) as copies,
    ):
        yield copies


def check(arguments: argparse.Namespace, given: RootSettings, day: date, copies: Copies) -> Check:
    """Look at a date's files and rows as `ingest_logs` would; nothing is written."""
    found = Check(settings=given)
    for table in LOGS:
        _look_at(found, table, arguments, given, day)
    suggested = RootSettings.parse(toml_text.written(suggestions.merged(_parts(given), found.suggested)))
    if any(suggestion.needed for suggestion in found.suggested.values()):
        found.settings = suggested
    _validate(found, arguments, day, copies)
    if found.faults and found.settings != suggested:
        # The rows as they would come out tell more than that all are refused.
        faults, found.settings = dict(found.faults), suggested
        _validate(found, arguments, day, copies)
        found.faults = faults
    return found


def _validate(found: Check, arguments: argparse.Namespace, day: date, copies: Copies) -> None:
    """Look at the rows with the settings of `found`."""
    landed = _landed(found, arguments.root)
    if requests not in landed:
        found.faults.setdefault(None, "without requests no row of another log can be looked at")
        return
    store = Store(session("check_landing", needs_jvm=True), arguments.root)
    try:
        with landing.unreadable_files_named(arguments.root, landed.values()):
            found.outcomes, _ = validation.validate_all(store, arguments.root, list(landed.values()), day, copies)
        if all(table.optional or table in landed for table in LOGS):
            _judge(found.outcomes, arguments, day)
    except (ContractError, WorkFailedError) as fault:
        found.faults[None] = str(fault)


def _judge(outcomes: dict[str, Outcome], arguments: argparse.Namespace, day: date) -> None:
    """Raise a WorkFailedError for what stops a date."""
    judgement = publication.judge(arguments.root, outcomes, day, arguments.max_refused_share)
    accepted = publication.accepted_before(arguments.root, day)
    changes = [] if arguments.accept_changes else judgement.not_accepted(accepted)
    measures.stop_if(outcomes, arguments.max_refused_share, changes, day)


def _tell(day: date, found: Check, settings: str | None) -> None:
    cli.tell(
        {
            "job": "check_landing",
            "date": str(day),
            "would_publish": not found.faults,
            "faults": list(found.faults.values()),
            "settings": settings,
            "tables": {name: outcome.counted for name, outcome in found.outcomes.items()},
        }
    )


def _look_at(found: Check, table: Table, arguments: argparse.Namespace, given: RootSettings, day: date) -> None:
    """The files of one log, and what the settings lack to read them."""
    folders = dict(arguments.files)
    try:
        if table.name in folders:
            place, files = Root.of(folders[table.name]), landing.files_in(folders[table.name], day)
        else:
            place, files = Root.of(arguments.root), landing.landed_files(arguments.root, table, day, given)
            landing.require(arguments.root, table, day)
    except (MissingDataError, ContractError) as fault:
        found.files[table], found.faults[table] = (), str(fault)
        return
    if not files:
        return
    found.files[table] = files
    suggestion = suggestions.suggest(table, files, place, given)
    found.suggested[table.name] = suggestion
    if suggestion.needed:
        lacking = ", ".join(suggestion.needed)
        found.faults[table] = f"{table.name}: no file has {lacking}; settings.toml can say which column is meant"


def _landed(found: Check, root: str) -> dict[Table, Landed]:
    landed = {}
    for table, files in found.files.items():
        try:
            if files:
                landed[table] = landing.of_files(root, table, files, found.settings)
        except ContractError as fault:
            found.faults[table] = str(fault)
    return landed


def _parts(settings: RootSettings) -> dict:
    """What a person wrote, without the defaults."""
    default = RootSettings()
    parts = {name: getattr(settings, name) for name in ("time_zone", "arrives_within_days", "scenarios")}
    changed = {name: part for name, part in parts.items() if part != getattr(default, name)}
    ids = {name: kind for name, kind in settings.ids.items() if kind != default.ids[name]}
    logs = {name: log.recorded for name, log in settings.logs.items()}
    return changed | ({"ids": ids} if ids else {}) | ({"logs": logs} if logs else {})


def _example(outcome: Outcome) -> Mapping[str, object]:
    """A kept row's values as text, an id's text beside its number; nothing if no row is kept."""
    names, texts = outcome.landed.contract.names, outcome.landed.text_ids
    columns = [F.col(name).cast("string").alias(name) if not _is_time(outcome, name) else F.col(name) for name in names]
    columns += [F.col(landing.text_column(name)).cast("string").alias(f"text of {name}") for name in texts]
    row = outcome.kept.select(*columns).limit(1).toArrow().to_pylist() if outcome.rows_kept else []
    if not row:
        return {}
    shown = {name: _shown(row[0][name]) for name in names}
    return shown | {name: f"{row[0][f'text of {name}']} as {shown[name]}" for name in texts}


def _is_time(outcome: Outcome, name: str) -> bool:
    return outcome.landed.contract.schema.field(name).type == TIME


def _shown(value: object) -> object:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else value


def _folder_of_log(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not (separator and folder and name in _LOG_NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} is no LOG=FOLDER; LOG is one of {', '.join(_LOG_NAMES)}")
    return name, folder


if __name__ == "__main__":
    given_arguments = arg_parser().parse_args()
    cli.show("check_landing", lambda: main(given_arguments))
