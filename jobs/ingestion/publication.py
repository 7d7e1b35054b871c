"""Whether a validated date may be published: refused shares and drift bounds, as rows of `quality`."""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from jobs.ingestion import measures
from jobs.ingestion.result import Outcome
from jobs.quality import drift_bounds
from jobs.quality.drift_bounds import Before, Bound
from schemas.tables.logs import LOGS


@dataclass(frozen=True)
class Judgement:
    """rows: those of `quality`. earlier: the days that it is compared with. changes: the bounds that it is beyond."""

    rows: pa.Table
    earlier: Before
    changes: list[Bound]

    def not_accepted(self, accepted: set[str]) -> list[Bound]:
        return [change for change in self.changes if change.name not in accepted]


def judge(root: str, outcomes: dict[str, Outcome], day: date, most_refused: float) -> Judgement:
    """Hold a date against the days before it; writes nothing."""
    earlier = drift_bounds.before(root, day, {table.name for table in LOGS})
    today = measures.measure(outcomes)
    bounds = earlier.bounds(today)
    rows = measures.quality_rows(outcomes, most_refused, today, bounds)
    return Judgement(rows, earlier, [bound for bound in bounds if not bound.passed])


def accepted_before(root: str, day: date) -> set[str]:
    """The bounds that an earlier run of the date was let through."""
    _, manifest = drift_bounds.recorded(root, day)
    return set(manifest["settings"].get(drift_bounds.ACCEPTED, ()))
