"""The `evaluations` of one date, seeds gathered: what the terminal and the page show of the models."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean, stdev

from jobs.report import numbers
from schemas.storage import arrow
from schemas.tables.reports import evaluations

# Older evaluations do not say what was trained: there these rows, and those of deeper channels, were not.
_UNTRAINED = ("random", "hot_items", "incumbent", "item_cf_twice")

NAMES = {
    "inc": "Inc",
    "inc_filtered": "IncF",
    "base": "Base",
    "exposure": "Exposure",
    "order": "Order",
    "overlap": "Overlap",
    "ish": "ISH",
    "ash": "ASH",
    "isph": "ISPH",
    "asph": "ASPH",
    "ranker_recall_10": "R10",
    "ranker_ndcg": "NDCG",
    "auc": "AUC",
    "gauc": "GAUC",
    "milliseconds_p50": "ms p50",
    "milliseconds_p99": "ms p99",
}
# Not shares: written as decimals.
_DECIMAL = {"auc", "gauc", "ranker_ndcg", "milliseconds_p50", "milliseconds_p99"}
HEADLINES = {"increc": ("inc_filtered", "inc"), "hccp": ("ish", "ash")}


@dataclass(frozen=True)
class Measure:
    """One metric of one variant: the mean over its seeds.

    `spread` is the standard deviation over the seeds, None with fewer than two; `support` is the
    smallest of the seeds' supports; `value` is None where nothing could be measured.
    """

    value: float | None
    spread: float | None
    seeds: tuple[int, ...]
    support: int


@dataclass(frozen=True)
class Scores:
    """One model's measures, by (variant, metric, segment, k).

    `trained`: variant -> whether it was trained, for those whose rows say so.
    """

    model: str
    measures: dict[tuple[str, str, str, int], Measure]
    trained: dict[str, bool] = field(default_factory=dict)

    def get(self, variant: str, metric: str, k: int, segment: str = "all") -> Measure | None:
        return self.measures.get((variant, metric, segment, k))

    @property
    def variants(self) -> list[str]:
        """Trained variants first, each kind from the best to the worst in the model's first headline metric."""
        metric = HEADLINES.get(self.model, ("",))[0]
        k = middle(self.cuts(metric))

        def place(name: str) -> tuple:
            measure = self.get(name, metric, k)
            return self.untrained(name), -(measure.value or 0.0) if measure else 1.0, name

        return sorted({key[0] for key in self.measures}, key=place)

    def cuts(self, metric: str) -> list[int]:
        return sorted({key[3] for key in self.measures if key[1] == metric})

    def metrics(self) -> set[str]:
        return {key[1] for key in self.measures}

    def segments(self, metric: str) -> list[str]:
        """In the order of their table; of scenarios those in which there was a target."""
        order = ["top", "middle", "tail", "cold_start", "active"]
        known = {key[2]: each.support for key, each in self.measures.items() if key[1] == metric and key[2] != "all"}
        found = [name for name, support in known.items() if support or not name.startswith("scenario_")]
        return sorted(found, key=lambda name: (order.index(name) if name in order else 99, name))

    def seeds(self, variant: str) -> tuple[int, ...]:
        return tuple(sorted({seed for key, each in self.measures.items() if key[0] == variant for seed in each.seeds}))

    def untrained(self, variant: str) -> bool:
        """Whether no training was needed; guessed from the name where the rows are of an older release."""
        guess = variant in _UNTRAINED or variant.endswith("_deeper")
        return not self.trained.get(variant, not guess)

    def support(self, metric: str, segment: str = "all") -> tuple[int, int] | None:
        """The smallest and largest support of a metric over its variants and cut-offs."""
        found = [each.support for key, each in self.measures.items() if key[1:3] == (metric, segment)]
        return (min(found), max(found)) if found else None


def label(metric: str, k: int = 0) -> str:
    """`Inc@500` for `inc` at 500."""
    name = NAMES.get(metric, metric)
    return f"{name}@{k}" if k else name


def written(metric: str, measure: Measure | None) -> str:
    """`12.3 %`, with `± 0.4` before the sign where there are several seeds; decimals for what is no share."""
    if measure is None or measure.value is None:
        return numbers.NOTHING
    scale, digits = (100, 1) if share(metric) else (1, 3)
    text = f"{scale * measure.value:.{digits}f}"
    if measure.spread is not None:
        text += f" ±{scale * measure.spread:.{digits}f}"
    return f"{text} %" if share(metric) else text


def share(metric: str) -> bool:
    """Whether it is written in per cent."""
    return metric.removesuffix("_per_request") not in _DECIMAL


def middle(cuts: list[int]) -> int:
    """The cut-off to show where there is room for one; 0 of none."""
    return cuts[len(cuts) // 2] if cuts else 0


def few(cuts: list[int]) -> list[int]:
    """At most three of the cut-offs: the smallest, a middle one and the largest."""
    return cuts if len(cuts) <= 3 else [cuts[0], cuts[len(cuts) // 2], cuts[-1]]


def gather(rows: Iterable[dict]) -> dict[str, Scores]:
    """Rows of `evaluations` as one Scores per model, the seeds of a variant gathered."""
    values: dict[tuple, list[dict]] = {}
    for row in rows:
        key = (row["model"], row["variant"], row["metric"], row["segment"], row["k"])
        values.setdefault(key, []).append(row)
    models: dict[str, dict] = {}
    trained: dict[str, dict[str, bool]] = {}
    for (model, *key), found in sorted(values.items()):
        models.setdefault(model, {})[tuple(key)] = _measure(found)
        known = [row["trained"] for row in found if row.get("trained") is not None]
        if known:
            trained.setdefault(model, {})[key[0]] = any(known)
    names = sorted(models, key=lambda name: (name != "increc", name))
    return {model: Scores(model, models[model], trained.get(model, {})) for model in names}


def read(root: str, day: date) -> dict[str, Scores]:
    """The evaluations of a date by model, empty where the date has none; studies have pages of their own."""
    if day not in arrow.dates(root, evaluations):
        return {}
    rows = arrow.read(root, evaluations, day, evaluations.names).to_pylist()
    return gather(row for row in rows if row["model"] in HEADLINES)


def _measure(rows: list[dict]) -> Measure:
    known = [row["value"] for row in rows if row["value"] is not None]
    return Measure(
        value=fmean(known) if known else None,
        spread=stdev(known) if len(known) > 1 else None,
        seeds=tuple(sorted(row["seed"] for row in rows)),
        support=min(row["support"] for row in rows),
    )
