"""What `check_landing` prints: one screen of 80 columns a log."""

import textwrap
from collections.abc import Mapping, Sequence

from jobs.ingestion import sources
from jobs.ingestion.landing import File
from jobs.ingestion.result import Outcome
from jobs.ingestion.sources import Source
from jobs.ingestion.suggestions import Suggestion
from schemas.storage.settings import PATH, RootSettings
from schemas.table import Table

_WIDTH, _MOST_REASONS, _NAME, _FROM = 80, 6, 16, 34


def lines(
    table: Table,
    files: Sequence[File],
    settings: RootSettings,
    suggestion: Suggestion,
    outcome: Outcome | None,
    example: Mapping[str, object],
    fault: str | None,
) -> list[str]:
    """The screen of one log.

    Args:
        settings: those with which the rows were looked at.
        outcome: what became of the rows, None where they could not be looked at; `fault` says why.
        example: a kept row, a text id's text beside its number.
    """
    filled = [file for file in files if file.rows]
    told = [f"== {table.name}: {len(files)} files, {sum(file.rows for file in files):,} rows"]
    if filled:
        told += [_column(table, name, filled, settings, suggestion, example) for name in table.names]
        told += _others(table, filled, settings, outcome)
    if fault:
        told += textwrap.wrap(fault, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    if outcome:
        told += _counts(outcome)
    return told


def _column(
    table: Table,
    name: str,
    files: Sequence[File],
    settings: RootSettings,
    suggestion: Suggestion,
    example: Mapping[str, object],
) -> str:
    log, column = settings.log(table), table.columns[table.names.index(name)]
    found = dict.fromkeys(sources.source(log, name, file.types, file.folders) for file in files)
    known = [source for source in found if source != sources.NO_SOURCE]
    if known:
        origin = _origin(known[0], log.columns.get(name, ""), log.units.get(name))
    else:
        candidates = " ".join(suggestion.candidates.get(name, [])[:3])
        absent = "absent" if column.nullable or name == "scores" else "MISSING"
        origin = f"{absent}; perhaps {candidates}" if candidates else absent
    value = example.get(name)
    shown = "" if value is None else f" -> {value}"
    return _cut(f"  {name:<{_NAME}} {_cut(origin, _FROM):<{_FROM}}{shown}", _WIDTH)


def _origin(source: Source, mapped: str, unit: str | None) -> str:
    if source.column is not None:
        kind = source.kind or "a type that cannot be read"
        return f"{source.column} ({f'{kind}, {unit}' if unit else kind})"
    return mapped if mapped.startswith(PATH) else f"constant {source.value!r}"


def _others(table: Table, files: Sequence[File], settings: RootSettings, outcome: Outcome | None) -> list[str]:
    """The attributes that are taken over, and the columns that are not."""
    log = settings.log(table)
    used = {sources.source(log, name, file.types, file.folders).column for file in files for name in table.names}
    others = sorted({name for file in files for name in file.types} - used)
    told = {"not used": others}
    if outcome:
        landed = outcome.landed
        attributes = [name for name in landed.table.names if name not in landed.contract.names]
        told = {"attributes": attributes, "not used": sorted(landed.dropped)}
    return [
        line
        for what, names in told.items()
        if names
        for line in textwrap.wrap(
            f"{what}: {', '.join(names)}", _WIDTH, initial_indent="  ", subsequent_indent="    ", max_lines=2
        )
    ]


def _counts(outcome: Outcome) -> list[str]:
    told = [
        f"  of {outcome.rows_in:,} rows: {outcome.rows_kept:,} kept, {outcome.duplicates:,} duplicates, "
        f"{outcome.rows_set_aside:,} set aside, {outcome.quarantined:,} refused"
    ]
    reasons = [("set aside", *pair) for pair in outcome.set_aside.items()]
    reasons += [("refused", *pair) for pair in outcome.refused_for.items()]
    reasons.sort(key=lambda reason: (-reason[2], reason[1]))
    told += [_cut(f"  {what:>9} {count:>9,}  {reason}", _WIDTH) for what, reason, count in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        told.append(f"  and {len(reasons) - _MOST_REASONS} reasons more, in the JSON line")
    counted = {"repeated items dropped": outcome.counts.repeated_items, "times truncated": outcome.counts.truncated}
    told += [f"  {what}: {count:,}" for what, count in counted.items() if count]
    return told


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= width else text[: width - 3] + "..."
