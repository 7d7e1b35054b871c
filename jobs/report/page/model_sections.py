"""The page's part about one model: how it did beside the rows that need no training, and how it was trained."""

from collections.abc import Sequence
from datetime import date, timedelta

from jobs.report import numbers, scores
from jobs.report.models import Trained, history
from jobs.report.page.charts import Line, Point, line_chart
from jobs.report.scores import Scores

TITLES = {
    "increc": "IncRec: a channel that finds what the others miss",
    "hccp": "HCCP: a pre-ranker that learns from the whole stream",
}
LOSS = "loss_"  # how a manifest names what was minimised, among other means of an epoch
_CURVES = {
    "increc": {
        "inc_filtered": "Share of ITG items in the top K once what the channels already returned is left out: "
        "what the new channel adds. Judge by this one.",
        "inc": "Share of ITG items in the plain top K. It also rewards pushing out what other channels return.",
    },
    "hccp": {
        "ish": "Share of items acted on in the scenario that are kept in the top K.",
        "ash": "Share of items acted on in any scenario after the request, among the retrieved ones.",
        "isph": "The same as ISH, of purchases.",
        "asph": "The same as ASH, of purchases.",
    },
}
_FURTHER = {
    "increc": {
        "base": "all acted items (RTG and ITG)",
        "exposure": "exposed items",
        "order": "purchased items",
        "overlap": "share of the top K that the channels already returned",
    },
    "hccp": {
        "ranker_recall_10": "share of the ranker's first 10 that are kept in the top K",
        "ranker_ndcg": "agreement with the ranker's order",
        "auc": "acted on above not acted on, among the exposed; what chose them is level with itself or worse there",
        "gauc": "AUC inside each request, averaged",
        "milliseconds_p50": "per request, median, on the machine that evaluated",
        "milliseconds_p99": "99th percentile of the same",
    },
}
_SEGMENTED = {"increc": ("inc_filtered",), "hccp": ("ish", "ash")}


def model_section(model: str, scored: Scores | None, trained: Sequence[Trained], day: date) -> dict:
    """Everything the page says of one model on one date."""
    mine = [each for each in trained if each.model == model]
    return {
        "model": model,
        "title": TITLES[model],
        "verdict": verdict(scored) if scored else None,
        "evaluation": evaluation(scored) if scored else None,
        "evaluated": sorted(name for name in scored.variants if not scored.untrained(name)) if scored else [],
        "measured_day": day - timedelta(1),
        "training": training(mine) if mine else None,
    }


def verdict(scored: Scores) -> dict | None:
    """The best trained and the best untrained variant in the model's first metric, at its middle cut-off."""
    metric = scores.HEADLINES[scored.model][0]
    cuts = scored.cuts(metric)
    if not cuts:
        return None
    k = scores.middle(cuts)
    known = {name: scored.get(name, metric, k) for name in scored.variants}
    known = {name: each for name, each in known.items() if each and each.value is not None}

    def best(names: list[str]) -> dict | None:
        if not names:
            return None
        name = max(names, key=lambda each: known[each].value)
        return {"variant": name, "text": scores.written(metric, known[name]), "seeds": len(known[name].seeds)}

    return {
        "label": scores.label(metric, k),
        "trained": best([name for name in known if not scored.untrained(name)]),
        "untrained": best([name for name in known if scored.untrained(name)]),
        "support": support(scored, metric),
    }


def evaluation(scored: Scores) -> dict:
    """Curves over K with their tables, the further metrics and the segments."""
    return {
        "pairs": curves(scored),
        "further": further(scored),
        "meanings": meanings(scored),
        "segments": [by_segment(scored, metric) for metric in _SEGMENTED[scored.model] if scored.segments(metric)],
    }


def meanings(scored: Scores) -> list[tuple[str, str]]:
    """What each of the further metrics is."""
    known = scored.metrics()
    return [(scores.label(metric), text) for metric, text in _FURTHER[scored.model].items() if metric in known]


def curves(scored: Scores) -> list[dict]:
    """Curves over K two by two, each pair with its table."""
    captions = _CURVES[scored.model]
    there = [metric for metric in captions if scored.cuts(metric)]
    return [
        {
            "curves": [
                {
                    "label": scores.label(metric),
                    "caption": captions[metric],
                    "chart": curve(scored, metric),
                    "support": support(scored, metric),
                }
                for metric in pair
            ],
            "table": by_cut(scored, pair),
        }
        for pair in (there[n : n + 2] for n in range(0, len(there), 2))
    ]


def curve(scored: Scores, metric: str) -> str | None:
    """The metric over K, a line a variant; None where there is one cut-off only."""
    cuts = scored.cuts(metric)
    lines = []
    for variant, number, faint in _numbered(scored):
        known = [(k, scored.get(variant, metric, k)) for k in cuts]
        points = tuple(
            Point(k, each.value, each.spread, f"{variant}, {scores.label(metric, k)}: {scores.written(metric, each)}")
            for k, each in known
            if each and each.value is not None
        )
        if points:
            lines.append(Line(variant, points, number, faint))
    if len(cuts) < 2 or not lines:
        return None
    return line_chart(lines, f"{scores.label(metric)} over K, by variant", "K (logarithmic)", log_x=True)


def by_cut(scored: Scores, metrics: Sequence[str]) -> dict:
    cuts = [(metric, k) for metric in metrics for k in scores.few(scored.cuts(metric))]
    return _table(scored, [(metric, "all", k, scores.label(metric, k)) for metric, k in cuts])


def by_segment(scored: Scores, metric: str) -> dict:
    k = scores.middle(scored.cuts(metric))
    segments = ["all", *scored.segments(metric)]
    columns = [(metric, segment, k, segment.replace("_", " ")) for segment in segments]
    table = _table(scored, columns)
    supports = [scored.support(metric, segment) for segment in segments]
    return {
        "label": scores.label(metric, k),
        "table": table,
        "supports": [numbers.count(each[1]) if each else numbers.NOTHING for each in supports],
    }


def further(scored: Scores) -> dict:
    """The metrics without a curve of their own, at their middle cut-off."""
    columns = []
    for metric in _FURTHER[scored.model]:
        if scored.cuts(metric):
            k = scores.middle(scored.cuts(metric))
            columns.append((metric, "all", k, scores.label(metric, k)))
    return _table(scored, columns) if columns else {}


def training(mine: Sequence[Trained]) -> dict:
    """The loss terms of the newest date's models, and what went into them."""
    newest = max(each.day for each in mine)
    models = [each for each in mine if each.day == newest]
    rows = []
    for each in models:
        terms = history(each, mine)
        epochs = max(map(len, terms.values()), default=0)
        for number, (term, values) in enumerate(terms.items()):
            about = {"variant": each.variant, "seed": each.seed, "epochs": epochs} if number == 0 else None
            rows.append({"about": about, "term": term.removeprefix(LOSS), "first": values[0], "last": values[-1]})
    return {"day": newest, "rows": rows, "seed": min(each.seed for each in models), "chart": loss_chart(models, mine)}


def loss_chart(models: Sequence[Trained], mine: Sequence[Trained]) -> str | None:
    """Each loss term as a share of what it was after the first epoch, of each variant's lowest seed."""
    lines, seen = [], set()
    for each in sorted(models, key=lambda each: (each.variant, each.seed)):
        if each.variant in seen:
            continue
        seen.add(each.variant)
        for term, values in history(each, mine).items():
            if term.startswith(LOSS) and len(values) > 1 and values[0] > 0:
                name = f"{each.variant} {term.removeprefix(LOSS)}"
                points = tuple(
                    Point(n, value / values[0], note=f"{name}, epoch {n}: {value:.4f}")
                    for n, value in enumerate(values, 1)
                )
                lines.append(Line(name, points, len(seen) - 1))
    return line_chart(lines, "Loss terms after each epoch", "epoch", from_zero=False) if lines else None


def support(scored: Scores, metric: str) -> str:
    found = scored.support(metric)
    if found is None:
        return numbers.NOTHING
    low, high = found
    return numbers.count(low) if low == high else f"{numbers.count(low)} to {numbers.count(high)}"


def _numbered(scored: Scores) -> list[tuple[str, int, bool]]:
    """Variants with the number of their colour or dashes, the same in every picture of the model."""
    trained = sorted(name for name in scored.variants if not scored.untrained(name))
    plain = sorted(name for name in scored.variants if scored.untrained(name))
    return [(name, n, False) for n, name in enumerate(trained)] + [(name, n, True) for n, name in enumerate(plain)]


def _table(scored: Scores, columns: list[tuple[str, str, int, str]]) -> dict:
    """A row a variant; the best of each column is marked."""
    rows = []
    for variant in scored.variants:
        measures = [scored.get(variant, metric, k, segment) for metric, segment, k, _ in columns]
        if any(each and each.value is not None for each in measures):
            rows.append((variant, measures))
    best = [_best(metric, [measures[n] for _, measures in rows]) for n, (metric, *_) in enumerate(columns)]
    return {
        "columns": [name for *_, name in columns],
        "rows": [
            {
                "variant": variant,
                "untrained": scored.untrained(variant),
                "seeds": len(scored.seeds(variant)),
                "cells": [
                    {
                        "text": scores.written(metric, each),
                        "best": bool(each and each.value is not None and each.value == best[n]),
                    }
                    for n, ((metric, *_), each) in enumerate(zip(columns, measures, strict=True))
                ],
            }
            for variant, measures in rows
        ],
    }


def _best(metric: str, measures: list) -> float | None:
    """The value to mark: the highest, the lowest of a cost; none where high is neither good nor bad."""
    known = [each.value for each in measures if each and each.value is not None]
    if metric == "overlap" or len(known) < 2:
        return None
    return min(known) if metric.startswith("milliseconds") else max(known)
