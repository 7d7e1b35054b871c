"""The page's parts about the data: what is below a root, as dicts for the template.

A part that cannot be shown is a Missing, which says what is missing and which job makes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from jobs.quality import drift_bounds
from jobs.report import counts, inventory, numbers
from jobs.report.inventory import Holding
from schemas.storage.root import Root
from schemas.tables.logs import LOGS
from schemas.vocabulary import FUNNEL, HOMEPAGE, Action

_DATES = 7
_MISSED = [*map(str, reversed(Action)), counts.ANY]  # the columns of what no channel found
# The checks that are shares, by how their names begin.
_SHARES = (
    drift_bounds.REFUSED_SHARE,
    drift_bounds.SET_ASIDE,
    drift_bounds.COVERAGE,
    drift_bounds.NULL_SHARE,
    drift_bounds.WITHOUT_RETRIEVALS,
    drift_bounds.UNLABELABLE_SHARE,
)
_SET_ASIDE_FOR = "set aside: "
_SHARES += (drift_bounds.ITG_SHARE,)


@dataclass(frozen=True)
class Missing:
    """A part that is not there: what, and the job that makes it."""

    what: str
    job: str


@dataclass(frozen=True)
class Step:
    """One step of a funnel; `whole` is what its share is of, the step before if None; `part` whether it has a share."""

    name: str
    value: float | None
    whole: float | None = None
    part: bool = True


@dataclass(frozen=True)
class Below:
    """What is below a root, as the sections ask for it: by path, for one date."""

    root: str
    day: date
    held: dict[str, Holding]

    def rows(self, path: str, day: date | None = None) -> int | None:
        return self.held[path].rows(day or self.day) if path in self.held else None

    def has(self, path: str) -> bool:
        return path in self.held and self.day in self.held[path].parts

    def count(self, path: str, wanted: counts.Breakdown, day: date | None = None) -> list[dict]:
        """A breakdown's rows; none where the date does not exist."""
        day = day or self.day
        if path not in self.held or day not in self.held[path].parts:
            return []
        return counts.count(self.root, self.held[path], day, wanted)

    def settings(self, path: str) -> dict:
        if not self.has(path):
            return {}
        return inventory.provenance(self.root, self.held[path], self.day).get("settings") or {}

    def missing(self, path: str, job: str) -> Missing:
        return Missing(f"{path} has no date {self.day}", job)


def shown_dates(below: Below) -> list[date]:
    """The last dates up to the report's that have anything."""
    found = {day for held in below.held.values() for day in held.days if day <= below.day}
    return sorted(found)[-_DATES:]


def source(below: Below) -> dict:
    """What the logs are: a producer's, real events under simulated stages, or a simulated world."""
    settings = below.settings("landing/requests")
    named = settings.get("source")
    # The world lands its truth beside its logs; a replay, whose truth is the real log, does not.
    world = not named and Root.of(below.root).exists("landing/_truth")
    simulated = world or bool(settings.get("simulated"))
    if simulated and named and isinstance(settings["simulated"], list):
        what = " and ".join(settings["simulated"])
        title = f"Simulated {what} before real lists ({named})."
        text = "Requests, impressions, conversions and what re-ranking let through are the real log."
    elif simulated and named:
        title = f"Simulated stages on real events ({named})."
        text = (
            "Requests, retrievals, stages and impressions are simulated; "
            "conversions are the real log, and the only truth here."
        )
    elif simulated:
        title, text = "A simulated world.", "Every log, conversions too, is simulated."
    elif settings:
        title, text = "Producers' logs.", "No manifest calls them simulated."
    else:
        title, text = "Origin not stated.", "No manifest in landing/requests says where these logs are from."
    plain = {name: value for name, value in sorted(settings.items()) if isinstance(value, str | int | float)}
    return {"title": title, "text": text, "simulated": simulated, "settings": plain}


def log_section(below: Below) -> list[dict] | Missing:
    """Per log: landed, valid, refused, set aside, duplicates; a log that is not there is left out."""
    rows, checks = [], below.count("reports/quality", counts.FAILED_FIRST)
    for table in LOGS:
        landed = below.rows(f"landing/{table.name}")
        valid = below.rows(f"logs/{table.name}")
        if landed is None and valid is None:
            continue
        refused = below.rows(f"quarantine/{table.name}") or 0
        known = landed is not None and valid is not None
        counted = {row["check"]: int(row["value"]) for row in checks if row["table"] == table.name}
        aside = sum(count for check, count in counted.items() if check.startswith(_SET_ASIDE_FOR))
        rows.append(
            {
                "log": table.name,
                "landed": landed,
                "refused": refused if valid is not None else None,
                "share": refused / landed if known and landed else None,
                "set_aside": aside if valid is not None else None,
                "duplicates": counted.get("duplicates", landed - valid - refused) if known else None,
                "valid": valid,
                "reasons": below.count(f"quarantine/{table.name}", counts.REASONS),
            }
        )
    return rows or below.missing("landing", "simulate_logs or replay_events")


def row_section(below: Below) -> dict:
    """Rows of every table for the last dates, in the order the data flows."""
    days = shown_dates(below)
    tables = []
    for path, held in below.held.items():
        if not path.startswith("reports/"):
            tables.append({"path": path, "rows": [held.rows(day) if day in held.parts else None for day in days]})
    return {"days": days, "tables": tables}


def funnels(below: Below) -> dict:
    """Two funnels of the date: its requests, and the items of a mean request."""
    scenario = below.settings("labels/target_groups").get("scenario", HOMEPAGE)
    asked = {row["scenario"]: row["rows"] for row in below.count("logs/requests", counts.SCENARIOS)}
    groups = {row["group"]: row for row in below.count("labels/target_groups", counts.GROUPS)}
    labelled = below.count("labels/target_groups", counts.LABELLED_REQUESTS)
    retrieved = below.count("logs/retrievals", counts.RETRIEVED_ITEMS)
    any_label = labelled[0]["requests"] if labelled else None
    requests = [
        Step("all requests", sum(asked.values()) if asked else None),
        Step(f"of scenario {scenario}", asked.get(scenario)),
        Step("with retrievals", retrieved[0]["requests"] if retrieved else None),
        Step("with any label", any_label),
        Step("with an RTG or ITG item (increc_samples)", below.rows("samples/increc_samples"), any_label),
        Step("with stages and impressions (hccp_samples)", below.rows("samples/hccp_samples"), any_label),
    ]
    with_retrievals = retrieved[0]["requests"] if retrieved else 0
    items = []
    if with_retrievals:
        items.append(Step("retrieved, all channels", retrieved[0]["items"] / with_retrievals))
        items += [
            Step(f"after {row['stage']}", row["mean"])
            for row in below.count("logs/stages", counts.STAGE_LENGTHS)
            if row["stage"] in FUNNEL
        ]
        acted = [groups[name]["items"] for name in ("RTG", "ITG") if name in groups]
        if "ETG" in groups:
            items.append(Step("exposed (ETG)", groups["ETG"]["items"] / with_retrievals))
        if acted:
            items.append(Step("acted on, shown or not (RTG or ITG)", sum(acted) / with_retrievals, part=False))
    return {"requests": _bars(requests, numbers.count), "mean": _bars(items, numbers.decimal)}


def quality_section(below: Below) -> dict | Missing:
    rows = [_checked(row) for row in below.count("reports/quality", counts.FAILED_FIRST)]
    if not rows:
        return below.missing("reports/quality", "ingest_logs")
    failed = [row for row in rows if not row["passed"]]
    checked = [row for row in rows if row["threshold"] is not None or not row["passed"]]
    return {"rows": rows, "failed": failed, "checks": len(checked)}


def _checked(check: dict) -> dict:
    """A row of `quality` with its value and bound as text, a share as per cent; without a bound it is only counted."""
    written = numbers.percent if check["check"].startswith(_SHARES) else numbers.decimal
    counted = check["threshold"] is None
    verdict = ("" if counted else "yes") if check["passed"] else "no"
    bound = "only counted" if counted else written(check["threshold"])
    return {**check, "value": written(check["value"]), "bound": bound, "verdict": verdict}


def group_section(below: Below) -> dict | Missing:
    """Groups of the last dates, and the date's groups by action and scenario."""
    path = "labels/target_groups"
    if not below.has(path):
        return below.missing(path, "label_target_groups")
    dates = []
    for day in shown_dates(below):
        found = {row["group"]: row["items"] for row in below.count(path, counts.GROUPS, day)}
        if found:
            etg, rtg, itg = (found.get(name, 0) for name in ("ETG", "RTG", "ITG"))
            share = itg / (rtg + itg) if rtg + itg else None
            dates.append({"day": day, "etg": etg, "rtg": rtg, "itg": itg, "share": share})
    return {
        "dates": dates,
        "today": next((each for each in dates if each["day"] == below.day), None),
        "actions": below.count(path, counts.GROUP_ACTIONS),
        "scenarios": below.count(path, counts.GROUP_SCENARIOS),
        "both": below.count("samples/increc_samples", counts.REQUEST_GROUPS),
    }


def channel_section(below: Below) -> dict | Missing:
    """What each channel found of the items that were acted on, together and alone, and what none found."""
    path, labels = "reports/channel_value", "labels/target_groups"
    *channels, nobody = below.count(path, counts.CHANNEL_VALUE) or [None]
    if nobody is None:
        return below.missing(path, "build_channel_value")
    sets = below.count(labels, counts.CHANNEL_SETS)
    missed: dict[str, dict[str, dict]] = {}
    for row in below.count(path, counts.MISSED):
        missed.setdefault(row["scenario"], {}).setdefault(row["action"], row)
    return {
        "channels": channels,
        "widest": max((row["acted"] for row in channels), default=0),
        "acted": missed[counts.EVERYWHERE][counts.ANY]["acted"],
        "itg": nobody["acted"],
        "missed": [
            {"scenario": scenario, "actions": [found.get(action, {"itg": 0, "share": None}) for action in _MISSED]}
            for scenario, found in missed.items()
        ],
        "unlisted": next((row["items"] for row in sets if row["channels"] == counts.NO_LIST), 0),
        "sets": sets[:8],
        "other_sets": {"count": len(sets) - 8, "items": sum(row["items"] for row in sets[8:])},
    }


def level_section(below: Below) -> dict | Missing:
    path = "samples/hccp_samples"
    if not below.has(path):
        return below.missing(path, "build_hccp_samples")
    rows = below.count(path, counts.LEVELS)
    return {"rows": rows, "requests": below.rows(path), "items": sum(row["items"] for row in rows)}


def _bars(steps: list[Step], written: Callable[[float], str]) -> list[dict]:
    """Steps of a funnel with their width as a share of the widest; a step that is not known is left out."""
    known = [step for step in steps if step.value is not None]
    widest = max((step.value for step in known), default=0) or 1
    bars, before = [], None
    for step in known:
        whole = step.whole or before
        bars.append(
            {
                "name": step.name,
                "text": written(step.value),
                "width": 100 * step.value / widest,
                "kept": step.value / whole if whole and step.part else None,
            }
        )
        before = step.value
    return bars
