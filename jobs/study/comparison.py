"""A study's cells as averages, and as differences from its reference with their intervals."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from jobs.report import scores
from jobs.study.trials import UNTRAINED, Cell
from models.evaluation.bootstrap import Interval, Sums, differences
from models.evaluation.per_request import Key, PerRequest, averages

# Metrics that stand in one table, the ones to judge by first.
GROUPS = {
    "increc": (scores.HEADLINES["increc"], ("base", "exposure", "order", "overlap")),
    "hccp": (scores.HEADLINES["hccp"], ("isph", "asph"), ("ranker_recall_10", "ranker_ndcg", "auc", "gauc")),
}


@dataclass
class Comparison:
    """What the cells of one study say.

    rows: of `evaluations`, without the model. sums: key -> variant -> its sums, a column a seed, at the middle cut-off
    of every metric that is compared; by segment of the headline metrics alone.
    """

    model: str
    reference: str
    rows: list[dict] = field(default_factory=list)
    sums: dict[Key, dict[str, Sums]] = field(default_factory=dict)
    _intervals: dict[Key, dict[str, Interval]] = field(default_factory=dict)

    def intervals(self, key: Key) -> dict[str, Interval]:
        """Variant -> its difference from the reference; none where the reference has no such figure."""
        if key not in self._intervals:
            found = self.sums.get(key, {})
            self._intervals[key] = differences(found, self.reference) if self.reference in found else {}
        return self._intervals[key]


def compare(model: str, reference: str, cells: Iterable[Cell], requests: int) -> Comparison:
    """Read the cells, one at a time.

    Args:
        requests: how many were measured, N.
    """
    made, columns = Comparison(model, reference), {}
    for cell in cells:
        for variant, found in cell.read().items():
            seed = 0 if cell.variant == UNTRAINED else cell.seed
            about = {"variant": variant, "seed": seed, "trained": cell.variant != UNTRAINED}
            made.rows += [about | row for row in averages(found)]
            for one in _compared(model, found):
                columns.setdefault(one.key, {}).setdefault(variant, []).append(_dense(one, requests))
        about = {"variant": cell.variant, "seed": cell.seed, "trained": True}
        made.rows += [about | row for row in cell.cost or ()]
    for key in list(columns):  # each is let go once it is stacked: together they are as large as the sums
        variants = columns.pop(key)
        made.sums[key] = {
            name: Sums(*(np.stack(parts, axis=1) for parts in zip(*each, strict=True)))
            for name, each in variants.items()
        }
    return made


def headline(compared: Comparison) -> dict[str, float]:
    """Variant -> the metric to judge by, over all requests at the middle cut-off, a mean over seeds."""
    metric = GROUPS[compared.model][0][0]
    rows = [row for row in compared.rows if (row["metric"], row["segment"]) == (metric, "all")]
    k, found = scores.middle(sorted({row["k"] for row in rows})), {}
    for row in rows:
        if row["k"] == k and row["value"] is not None:
            found.setdefault(row["variant"], []).append(row["value"])
    return {variant: sum(values) / len(values) for variant, values in found.items()}


def _compared(model: str, found: list[PerRequest]) -> list[PerRequest]:
    metrics, cuts = [name for group in GROUPS[model] for name in group], {}
    for one in found:
        cuts.setdefault(one.metric, set()).add(one.k)
    return [
        one
        for one in found
        if one.metric in metrics
        and one.k == scores.middle(sorted(cuts[one.metric]))
        and (one.segment == "all" or one.metric in scores.HEADLINES[model])
    ]


def _dense(one: PerRequest, requests: int) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators of all N requests, 0 where the metric says nothing of one."""
    numerators, denominators = np.zeros(requests), np.zeros(requests)
    numerators[one.requests], denominators[one.requests] = one.numerators, one.denominators
    return numerators, denominators
