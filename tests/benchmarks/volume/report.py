"""All figures of a root as Markdown: what each step cost, and the ratios that matter."""

import json
import statistics
from pathlib import Path

TO_SAMPLES = ("label_target_groups", "build_user_histories", "build_increc_samples", "build_hccp_samples")
TABLES = ("target_groups", "user_histories", "increc_samples", "hccp_samples")
_HEADS = {
    "jobs": "Our jobs, each in a process of its own",
    "warm": "One Spark session",
    "duckdb": "DuckDB, inside its process",
    "polars": "Polars, inside its process",
    "process": "Whole processes",
    "first": "Ingest of each date for the first time",
}


def page(root: Path) -> str:
    """The tables and ratios of ROOT/measured.jsonl, ROOT/equality.json and of the sizes below ROOT/growth-*."""
    figures = _figures(root)
    parts = [_costs(figures, mode) for mode in _HEADS if any(one["mode"] == mode for one in figures)]
    parts += [_ratios(figures), _hashes(root), _growth(root)]
    return "\n".join(part for part in parts if part)


def seconds(figures: list[dict], mode: str, steps: tuple[str, ...], what: str = "wall") -> float | None:
    """The sum of the steps' medians; None if one was not measured. See `_counted` for a session's first round."""
    total = 0.0
    for step in steps:
        values = [one[what] for one in _counted(figures, mode) if one["step"] == step]
        if not values:
            return None
        total += statistics.median(values)
    return total


def _figures(root: Path) -> list[dict]:
    path = root / "measured.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _counted(figures: list[dict], mode: str) -> list[dict]:
    """A mode's figures; a step's first round in a session compiles it, and counts only where there is no other."""
    rows = [one for one in figures if one["mode"] == mode]
    again = {one["step"] for one in rows if one.get("round", 1) > 0}
    return [one for one in rows if one.get("round", 1) > 0 or one["step"] not in again]


def _costs(figures: list[dict], mode: str) -> str:
    rows = _counted(figures, mode)
    lines = [f"## {_HEADS[mode]}", "", "| step | times | wall s, each | CPU s | peak GB | written MB |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for step in dict.fromkeys(one["step"] for one in rows):
        those = [one for one in rows if one["step"] == step]
        cells = (_middle(those, "cpu", 1), _middle(those, "peak", 1e9), _middle(those, "written", 1e6))
        walls = ", ".join(f"{one['wall']:.1f}" for one in those)
        lines.append(f"| {step} | {len(those)} | {walls} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _middle(rows: list[dict], what: str, unit: float) -> str:
    values = [one[what] / unit for one in rows if what in one]
    return f"{statistics.median(values):.1f}" if values else ""


def _ratios(figures: list[dict]) -> str:
    label, scan, plain = (("label_target_groups",), ("scan",), ("plain_labels",))
    wanted = (
        ("labels / Spark's scan of the same columns, one session", "<= 2", ("warm", label), ("warm", scan)),
        ("plain Spark / labels, one session", ">= 12", ("warm", plain), ("warm", label)),
        ("logs to both samples / DuckDB, one session", "<= 1.5", ("warm", TO_SAMPLES), ("duckdb", TABLES)),
        ("logs to both samples / DuckDB, a process each", "<= 1.5", ("jobs", TO_SAMPLES), ("process", ("duckdb",))),
        ("logs to both samples / Polars, one session", "", ("warm", TO_SAMPLES), ("polars", TABLES)),
        ("labels / DuckDB, one session", "", ("warm", label), ("duckdb", ("target_groups",))),
        ("labels / Polars, one session", "", ("warm", label), ("polars", ("target_groups",))),
        ("Spark's scan / DuckDB's", "", ("warm", scan), ("duckdb", scan)),
    )
    lines = ["## Ratios of medians", "", "| | goal | wall | CPU |", "|---|---|---|---|"]
    for name, goal, above, below in wanted:
        cells = []
        for what in ("wall", "cpu"):
            try:
                parts = seconds(figures, *above, what), seconds(figures, *below, what)
            except KeyError:  # a step inside another process has no CPU seconds of its own
                parts = None, None
            known = None not in parts
            cells.append(f"{parts[0]:.1f} / {parts[1]:.1f} s = **{parts[0] / parts[1]:.2f}**" if known else "")
        if any(cells):
            lines.append(f"| {name} | {goal} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""]) if len(lines) > 4 else ""


def _hashes(root: Path) -> str:
    path = root / "equality.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text())
    lines = ["## Rows", "", "| table | engine | rows | hash of them |", "|---|---|---|---|"]
    lines += [f"| {table} | {engine} | {rows:,} | {digest} |" for table, engine, rows, digest in found["hashes"]]
    return "\n".join([*lines, "", *(found["faults"] or ["All are equal."]), ""])


def _growth(root: Path) -> str:
    """Ingest and our jobs at each size: one time is the root itself."""
    places = {1.0: root} | {float(place.name.removeprefix("growth-")): place for place in root.glob("growth-*")}
    measured = {
        f"{size:g}": [one for one in _figures(places[size]) if one["mode"] in ("first", "jobs")]
        for size in sorted(places)
    }
    if len(measured) < 2:
        return ""
    lines = ["## Growth", "", f"| step | {' | '.join(f'{size}x: s, CPU s, GB' for size in measured)} |",
             f"|{'---|' * (1 + len(measured))}"]  # fmt: skip
    for step in dict.fromkeys(one["step"] for figures in measured.values() for one in figures):
        cells = []
        for figures in measured.values():
            those = [one for one in figures if one["step"] == step]
            cells.append(", ".join((_middle(those, "wall", 1), _middle(those, "cpu", 1), _middle(those, "peak", 1e9))))
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
