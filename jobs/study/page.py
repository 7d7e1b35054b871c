"""A study's page: averages, spread over seeds, differences from the reference with intervals, curves and bars."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date

from jobs.evaluation import segments as scenarios
from jobs.report import inventory, numbers, scores
from jobs.report.page import model_sections, page, sections
from jobs.report.page.charts import Bar, Line, Point, bar_chart, line_chart
from jobs.report.scores import Scores
from jobs.study import vector_section, world_section
from jobs.study.comparison import GROUPS, Comparison
from jobs.study.definitions import Study, Sweep
from jobs.study.pictures import Picture
from models.evaluation.bootstrap import Interval


def place(name: str) -> str:
    """Where a study's page is, relative to the root."""
    return f"reports/studies/{name}/study.html"


@dataclass(frozen=True)
class Finished:
    """A study that is done.

    name: of its place. about: what it asks. learned: the dates learned from. judged: those measured on. judging: the
    settings it was judged with. picture: of item vectors, where the model has them to show.
    """

    name: str
    study: Study
    about: str
    learned: Sequence[date]
    judged: Sequence[date]
    judging: Mapping[str, object]
    compared: Comparison
    picture: Picture | None = None


def render(root: str, finished: Finished) -> str:
    """The page, complete in one string of HTML."""
    study, compared = finished.study, finished.compared
    last = finished.judged[-1]
    below = sections.Below(root, last, {held.path: held for held in inventory.holdings(root)})
    scored = scores.gather({"model": study.model, **row} for row in compared.rows)[study.model]
    headlines = there(scored, scores.HEADLINES[study.model])
    context = {
        "name": finished.name,
        "about": finished.about,
        "study": study,
        "source": sections.source(below),
        "learned": numbers.span(finished.learned),
        "judged": numbers.span(finished.judged),
        "last": last,
        "seeds": study.seeds,
        "groups": [group_table(scored, compared, metrics) for metrics in GROUPS[study.model] if there(scored, metrics)],
        "bars": bars(scored, compared),
        "sweeps": [sweep_section(scored, study, sweep) for sweep in study.sweeps],
        "segments": [segment_table(scored, compared, metric) for metric in headlines],
        "judging": finished.judging,
        "most_scenarios": scenarios.MOST,
        "costs": cost_table(scored),
        "world": world_section.read(below),
        "best": world_section.BEST,
        "vectors": vector_section.section(finished.picture) if finished.picture else None,
        "meanings": model_sections.meanings(scored),
        "pairs": model_sections.curves(scored),
        "settings": {each.name: settings_apart(study, each) for each in study.variants},
    }
    return page.template("study.html").render(**context)


def there(scored: Scores, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics that were measured."""
    return [metric for metric in metrics if scored.cuts(metric)]


def group_table(scored: Scores, compared: Comparison, metrics: Sequence[str]) -> dict:
    """A row a variant: of each metric its mean with the spread over seeds, and the difference with its interval."""
    keys = [(metric, "all", scores.middle(scored.cuts(metric))) for metric in there(scored, metrics)]
    columns = [scores.label(metric, k) for metric, _, k in keys]
    return {"columns": columns, "rows": _rows(scored, compared, keys), "supports": None}


def segment_table(scored: Scores, compared: Comparison, metric: str) -> dict:
    """The same of one metric, a column a segment."""
    k = scores.middle(scored.cuts(metric))
    segments = scored.segments(metric)
    columns = [segment.replace("_", " ") for segment in segments]
    rows = _rows(scored, compared, [(metric, segment, k) for segment in segments])
    supports = [numbers.count(scored.support(metric, segment)[1]) for segment in segments]
    return {"label": scores.label(metric, k), "columns": columns, "rows": rows, "supports": supports}


def cost_table(scored: Scores) -> dict | None:
    """A row a variant that was timed, a column for each percentile of each way to score; None where none was."""
    percentiles = [metric for metric in scores.NAMES if metric.startswith("milliseconds") and scored.cuts(metric)]
    ways = ["all", *dict.fromkeys(segment for metric in percentiles for segment in scored.segments(metric))]
    keys = [(metric, way) for way in ways for metric in percentiles]
    rows = []
    for variant in scored.variants:
        measures = [scored.get(variant, metric, 0, way) for metric, way in keys]
        if any(measures):
            texts = [scores.written(metric, each) for (metric, _), each in zip(keys, measures, strict=True)]
            rows.append({"variant": variant, "cells": texts})
    named = {"all": ""} | {way: f", {way.replace('_', ' ')}" for way in ways[1:]}
    return {"columns": [scores.label(metric) + named[way] for metric, way in keys], "rows": rows} if rows else None


def _rows(scored: Scores, compared: Comparison, keys: Sequence[tuple[str, str, int]]) -> list[dict]:
    intervals = [compared.intervals(key) for key in keys]
    return [
        {
            "variant": variant,
            "untrained": scored.untrained(variant),
            "reference": variant == compared.reference,
            "seeds": len(scored.seeds(variant)),
            "cells": [
                {
                    "text": scores.written(metric, scored.get(variant, metric, k, segment)),
                    **apart(metric, None if variant == compared.reference else found.get(variant)),
                }
                for (metric, segment, k), found in zip(keys, intervals, strict=True)
            ],
        }
        for variant in scored.variants
    ]


def apart(metric: str, interval: Interval | None) -> dict:
    """A difference in words and whether its interval leaves out 0; shares in points of a per cent."""
    if interval is None or interval.value != interval.value:  # not a number: nothing was measured
        return {"apart": numbers.NOTHING, "excludes_zero": False}
    scale, digits = (100, 1) if scores.share(metric) else (1, 3)
    value, low, high = (f"{scale * each:+.{digits}f}" for each in (interval.value, interval.low, interval.high))
    return {"apart": f"{value} [{low}, {high}]", "excludes_zero": interval.excludes_zero}


def bars(scored: Scores, compared: Comparison) -> list[dict]:
    """Of each headline metric a bar a trained variant: its difference from the reference."""
    found = []
    for metric in there(scored, scores.HEADLINES[scored.model]):
        k = scores.middle(scored.cuts(metric))
        label, intervals = scores.label(metric, k), compared.intervals((metric, "all", k))
        drawn = [
            Bar(name, each.value, each.low, each.high, f"{name}, {label}: {apart(metric, each)['apart']}")
            for name, each in sorted(intervals.items(), key=lambda one: -one[1].value)
            if name != compared.reference and not scored.untrained(name) and each.value == each.value
        ]
        title = f"{label}, difference from {compared.reference}"
        found += [{"label": label, "chart": bar_chart(drawn, title)}] if drawn else []
    return found


def sweep_section(scored: Scores, study: Study, sweep: Sweep) -> dict:
    """The metrics of the first two tables over the values of one setting."""
    values, lines = study.setting(sweep), []
    for number, metric in enumerate(there(scored, [name for group in GROUPS[study.model][:2] for name in group])):
        k = scores.middle(scored.cuts(metric))
        known = sorted((x, variant, scored.get(variant, metric, k)) for variant, x in values.items())
        points = tuple(
            Point(x, each.value, each.spread, f"{variant}: {scores.written(metric, each)}")
            for x, variant, each in known
            if each and each.value is not None
        )
        lines += [Line(scores.label(metric, k), points, number)] if points else []
    setting = sweep.setting.replace("_", " ")
    chart = line_chart(lines, f"Metrics over {setting}", setting, from_zero=False) if lines else None
    return {"setting": setting, "variants": list(values), "chart": chart}


def settings_apart(study: Study, variant) -> dict:
    """The settings in which a variant differs from the reference."""
    known = {each.name: asdict(study.settings(each)) for each in study.variants}
    reference = known[study.reference]
    return {name: value for name, value in known[variant.name].items() if value != reference[name]}
