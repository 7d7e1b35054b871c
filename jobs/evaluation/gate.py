"""The gate: whether a published model replaces the one that serves.

Without one the best published model serves: each stands above random already. Otherwise the models of D are compared
with it on the requests of D + 1, which none of them has learned from, by a paired bootstrap of the metric that
decides. A model whose 95 % interval of the difference lies below 0 is worse. Of those that are not, the best serves.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from jobs.evaluation import request_scores
from models.checkpoint import ModelDirectory
from models.evaluation.bootstrap import Interval, Sums, differences
from schemas import serving
from schemas.serving import Serving


@dataclass(frozen=True)
class Verdict:
    """Whether a model stands above random: on which date, by which value of the metric, and all of it in words."""

    passed: bool
    why: str
    evaluated: date | None = None
    value: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What serves from here on, None for nothing; `changed`: whether it did not before; `line`: all in words."""

    serving: Serving | None
    changed: bool
    line: str


def decide(root: str, model: str, day: date, published: Mapping[ModelDirectory, Verdict]) -> Decision:
    """What is to serve after the models of a date were published; writes nothing."""
    held = serving.read(root, model)
    fused = {each for each in published if each.manifest().get("settings", {}).get("item_cf_share")}
    challengers = [each for each in published if each not in fused]
    if not challengers:
        return Decision(held, False, f"no model of {day} can serve; {_stays(held)}")
    if held is None or not _is_published(root, held.place):
        return _first({each: published[each] for each in challengers}, held)
    if ModelDirectory.at(root, held.place).day > day:
        return Decision(held, False, f"what serves is of a later date than {day}; {_stays(held)}")
    return _judged(model, day, challengers, held, request_scores.read(root, day + timedelta(1), model))


def put(root: str, model: str, decision: Decision) -> None:
    """Write what serves, where it changed."""
    if decision.changed:
        serving.write(root, model, decision.serving)


def _is_published(root: str, place: str) -> bool:
    directory = ModelDirectory.at(root, place)
    return directory.exists and "exported" in directory.manifest()


def _first(challengers: Mapping[ModelDirectory, Verdict], held: Serving | None) -> Decision:
    best = min(challengers, key=lambda each: (-challengers[each].value, each.place))
    replaced = held.place if held else None
    why = f"{replaced}, which served, is not published any more" if replaced else "nothing served before"
    verdict = f"{why}; {challengers[best].why}"
    serves = Serving(best.place, str(challengers[best].evaluated), verdict, replaced)
    return Decision(serves, True, f"{best.place} serves now: {verdict}")


def _judged(
    model: str, day: date, challengers: Collection[ModelDirectory], held: Serving, scores: Mapping[str, Sums]
) -> Decision:
    after, metric = day + timedelta(1), request_scores.METRICS[model]
    names = sorted(each.place for each in challengers if each.place in scores and each.place != held.place)
    if not names and held.place not in {each.place for each in challengers}:
        why = f"no model of {day} is judged yet: evaluate_{model} for {after}, then export_models for {day}, judge it"
        return Decision(held, False, f"{why}; {_stays(held)}")
    if names and held.place not in scores:
        why = f"the evaluation of {after} did not measure it: evaluate_{model} for {after}, then export_models for "
        return Decision(held, False, f"{_stays(held)}: {why}{day}, judge the models of {day}")
    found = differences({name: scores[name] for name in (*names, held.place)}, held.place) if names else {}
    able = {name: each for name, each in found.items() if name != held.place and not worse(each)}
    best = min(able, key=lambda name: (-able[name].value, name), default=None)
    told = "; ".join(f"{name} {_words(metric, found[name], after)}" for name in names)
    if best is None or (able[best].value <= 0 and held.place in {each.place for each in challengers}):
        return Decision(held, False, f"{told}{'; ' if told else ''}{_stays(held)}")
    verdict = f"{_words(metric, able[best], after)} than {held.place}"
    return Decision(
        Serving(best, str(after), verdict, held.place), True, f"{told}; {best} serves now, in place of {held.place}"
    )


def worse(difference: Interval) -> bool:
    """Whether the whole interval lies below 0; not where nothing could be compared."""
    return difference.high < 0


def _words(metric: str, apart: Interval, after: date) -> str:
    how = "is worse" if worse(apart) else "is better" if apart.low > 0 else "is not significantly worse"
    return f"{how} on {after}: {metric} {apart.value:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"


def _stays(held: Serving | None) -> str:
    return f"{held.place} stays" if held else "nothing serves"
