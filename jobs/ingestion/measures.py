"""What `quality` says of a date's logs: how much there was, what was refused, and what has changed.

Every measure is a row without a threshold; each bound that a measure is held against is a row of its own.
"""

from datetime import date

import pyarrow as pa

from jobs.command.cli import WorkFailedError
from jobs.ingestion.result import Outcome
from jobs.quality import drift_bounds
from jobs.quality.drift_bounds import (
    COVERAGE,
    NULL_SHARE,
    REFUSED_SHARE,
    ROWS,
    SET_ASIDE,
    WITHOUT_RETRIEVALS,
    Bound,
    Measures,
    row,
)
from schemas.tables.reports import quality


def measure(outcomes: dict[str, Outcome]) -> Measures:
    """What is compared with the days before: rows kept, shares set aside and of null, requests' retrievals by channel.

    Shares of null are of the valid rows, duplicates among them.
    """
    found: Measures = {}
    for name, one in outcomes.items():
        found[name, ROWS] = one.rows_kept
        valid = one.rows_valid
        found[name, SET_ASIDE] = one.set_aside_share
        for column, filled in one.counts.filled.items():
            found[name, f"{NULL_SHARE}{column}"] = (valid - filled) / valid
    requests, retrievals = outcomes["requests"].rows_kept, outcomes["retrievals"].counts
    if requests:
        found["requests", WITHOUT_RETRIEVALS] = (requests - retrievals.requests) / requests
        for channel, count in retrievals.channels.items():
            found["retrievals", f"{COVERAGE}{channel}"] = count / requests
    return found


def quality_rows(outcomes: dict[str, Outcome], most_refused: float, today: Measures, bounds: list[Bound]) -> pa.Table:
    """The rows of `quality`."""
    found = []
    for name, one in outcomes.items():
        counted = {
            "rows_in": one.rows_in,
            "duplicates": one.duplicates,
            "conflicting": one.conflicting,
            **{f"refused: {reason}": count for reason, count in one.refused_for.items()},
            **{f"set aside: {reason}": count for reason, count in one.set_aside.items()},
            "repeated_items": one.counts.repeated_items,
            "truncated": one.counts.truncated,
            **{f"dropped column: {column}": count for column, count in one.landed.dropped.items()},
        }
        found += [row(name, check, value) for check, value in counted.items()]
        passed = one.refused_share <= most_refused
        found.append(row(name, REFUSED_SHARE, one.refused_share, most_refused, passed))
    return pa.Table.from_pylist(
        found + drift_bounds.rows(today) + [bound.row for bound in bounds], schema=quality.schema
    )


def stop_if(outcomes: dict[str, Outcome], most_refused: float, changes: list[Bound], day: date) -> None:
    """Raise a WorkFailedError that names each table with too many refused rows and each change."""
    faults = []
    for name, one in outcomes.items():
        if one.refused_share > most_refused:
            top = sorted(one.refused_for.items(), key=lambda item: (-item[1], item[0]))[:3]
            reasons = "; ".join(f"{reason} ({count})" for reason, count in top)
            faults.append(f"{name}: {one.refused_share:.1%} of {one.rows_in} rows refused: {reasons}")
    advice = (
        f"at most {most_refused:.1%} may be refused, the rows are in quarantine/<table>/date={day}; " if faults else ""
    )
    if changes:
        faults += [str(change) for change in changes]
        advice += f"for a log that is incomplete, land the rest of {day}; for a change that is real, --accept-changes; "
    if faults:
        raise WorkFailedError(f"{' | '.join(faults)}; {advice}no log of {day} was changed")
