"""The views of `inspect_table`, made to be read at 80 columns."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime

import pyarrow as pa
from rich.console import Console
from rich.text import Text

from jobs.report import grids, numbers, scores
from jobs.report.inventory import Holding
from jobs.report.scores import Scores

_LIST_ITEMS = 3
_DATES = 14


def overview(console: Console, root: str, found: list[Holding], models: list[dict]) -> None:
    """Everything below a root, one line each."""
    console.print(Text(root, "bold"), soft_wrap=True)
    if not found and not models:
        console.print("  holds nothing yet; simulate_logs or replay_events lands logs, ingest_logs takes them in")
        return
    grid = grids.new("table", ">dates", "first", "last", ">rows", ">size")
    layer = None
    for held in found:
        if layer not in (None, held.layer):
            grid.add_section()
        layer, days = held.layer, held.days
        rows = [part.rows for part in held.parts.values()]
        grids.add(grid, held.path, str(len(days)), str(days[0]), str(days[-1]),
            "unreadable" if None in rows else numbers.count(sum(rows)),
            numbers.size(sum(part.bytes for part in held.parts.values())),
        )  # fmt: skip
    console.print(grid)
    if models:
        console.print()
        grid = grids.new("model", "date", "what is there")
        for each in models:
            grids.add(grid, f"models/{each['model']}", each["date"], ", ".join(each["variants"]))
        console.print(grid)
    console.print()
    console.print(Text("One of them: python -m jobs.inspect_table TABLE --root ROOT [--date DATE]", "dim"))


def contract(console: Console, held: Holding) -> None:
    """The table's path, key, meaning and columns."""
    table = held.table
    kind = "Parquet files as producers drop them," if held.layer == "landing" else f"{table.storage.capitalize()},"
    kind = "rows that ingest_logs refused, whole," if held.layer == "quarantine" else kind
    console.print(Text.assemble((held.path, "bold"), f"  {kind} key {', '.join(table.key)}"))
    console.print(table.doc)
    console.print()
    grid = grids.new("column", "type", "what it holds")
    for column in table.columns:
        grids.add(grid, column.name, _type(column.type) + ("?" if column.nullable else ""), column.doc)
    if held.layer == "quarantine":
        grids.add(grid, "reason", "string", "Why ingest_logs refused it.")
    if table.open:
        grids.add(grid, "…", "", "any further string or number attributes")
    console.print(grid)
    if any(column.nullable for column in table.columns):
        console.print(Text("? may be null", "dim"))


def per_date(console: Console, held: Holding, shown: Sequence[date]) -> None:
    """Rows and size of each date; the newest ones where there are many."""
    grid = grids.new("date", ">rows", ">size")
    for day in shown[-_DATES:]:
        part = held.parts[day]
        grids.add(
            grid, str(day), "unreadable" if part.rows is None else numbers.count(part.rows), numbers.size(part.bytes)
        )
    grids.show(console, "Dates", grid)
    if len(shown) > _DATES:
        console.print(Text(f"… and {len(shown) - _DATES} earlier ones, from {shown[0]}", "dim"))


def made_from(console: Console, day: date, recorded: dict) -> None:
    """What the rows of a date were made from, with which settings."""
    if not recorded:
        return
    grid = grids.new("", "", head=False)
    if recorded.get("version") is not None:
        grids.add(grid, "version", str(recorded["version"]))
    settings = recorded.get("settings") or {}
    for what, source in _sources(recorded.get("made_from") or {}, [*settings]):
        grids.add(grid, what, source)
    for name, value in sorted(settings.items()):
        grids.add(grid, name, value if isinstance(value, str) else json.dumps(value))
    if recorded.get("contract"):
        grids.add(grid, "contract", recorded["contract"])
    if grid.row_count:
        grids.show(console, f"How {day} was made", grid)


def _sources(found: dict, models: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A line a source; the sources of `evaluations` are each model's own."""
    for source, version in sorted(found.items()):
        if source in models:
            yield from ((f"{source} from", line) for _, line in _sources(version, ()))
        else:
            yield "from", f"{source} @ {version}"


def breakdown(console: Console, title: str, day: date, rows: list[dict]) -> None:
    """One breakdown's rows: shares as per cent, counts with separators."""
    if not rows:
        console.print(f"\n{title}, {day}: no rows")
        return
    names = list(rows[0])
    grid = grids.new(*(name if _wordy(rows, name) else f">{name}" for name in names))
    for row in rows:
        style = "bold red" if row.get("passed") is False else None
        grids.add(grid, *(_cell(name, row[name]) for name in names), style=style)
    grids.show(console, f"{title}, {day}", grid)


def headline(console: Console, found: dict[str, Scores], day: date) -> None:
    """Each model's headline metrics, trained variants first."""
    for model, scored in found.items():
        for metric in (*scores.HEADLINES.get(model, ()), "auc"):
            cuts = scores.few(scored.cuts(metric))
            if not cuts:
                continue
            grid = grids.new("variant", ">seeds", *(f">{scores.label(metric, k)}" for k in cuts), ">support")
            for variant in scored.variants:
                measures = [scored.get(variant, metric, k) for k in cuts]
                known = [each for each in measures if each]
                if not known:
                    continue
                plain = scored.untrained(variant)
                texts = [scores.written(metric, each) for each in measures]
                seeds, support = "" if plain else str(len(known[0].seeds)), numbers.count(known[0].support)
                grids.add(grid, variant, seeds, *texts, support, style="dim" if plain else None)
            grids.show(console, f"{model}: {scores.label(metric)}, {day}", grid)
    console.print()
    console.print(Text("Dim rows need no training. ± is the standard deviation over seeds.", "dim"))


def sample(console: Console, day: date, rows: list[dict]) -> None:
    """A few rows of a table."""
    if rows:
        _rows(console, rows, f"First rows of {day}")
    else:
        console.print(f"\n{day} has no rows")


def answer(console: Console, columns: Sequence[str], rows: list[dict], more: bool) -> None:
    """The rows that a query gave."""
    if not rows:
        console.print(f"no rows; columns {', '.join(columns)}", markup=False)
        return
    _rows(console, rows, f"{numbers.count(len(rows))} row{'' if len(rows) == 1 else 's'}")
    if more:
        console.print(Text("… and more: --rows N shows them, --export FILE writes all", "dim"))


def _rows(console: Console, rows: list[dict], title: str) -> None:
    """Rows side by side where they fit, otherwise one below the other."""
    shown = [{name: shorten(value) for name, value in row.items()} for row in rows]
    names = list(shown[0])
    widths = [max(len(name), *(len(row[name]) for row in shown)) for name in names]
    if sum(widths) + 2 * len(names) <= console.width:
        grid = grids.new(*names)
        for row in shown:
            grids.add(grid, *row.values())
        grids.show(console, title, grid)
        return
    sides = [max(len(text) for text in row.values()) for row in shown]
    if max(map(len, names)) + sum(width + 2 for width in sides) <= console.width:
        blocks = [shown]
    else:
        blocks = [[row] for row in shown]
    for number, block in enumerate(blocks, 1):
        grid = grids.new(*[""] * (1 + len(block)), head=False)
        for name in names:
            grids.add(grid, name, *(row[name] for row in block))
        grids.show(console, title if len(blocks) == 1 else f"{title}: {number}", grid)


def shorten(value: object) -> str:
    """A value in few characters: times without zone, a list by its first items and its length."""
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        inside = ", ".join(shorten(each) or "''" for each in value[:_LIST_ITEMS])
        return f"[{inside}, …] {len(value):,} in all" if len(value) > _LIST_ITEMS else f"[{inside}]"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _wordy(rows: Iterable[dict], name: str) -> bool:
    return any(isinstance(row[name], str | bool) for row in rows)


def _cell(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if value is None:
        return numbers.NOTHING
    if "share" in name:
        return numbers.percent(value)
    if isinstance(value, float):
        return numbers.decimal(value)
    return numbers.count(value) if isinstance(value, int) else str(value)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list<{_type(kind.value_type)}>"
    return "timestamp" if pa.types.is_timestamp(kind) else str(kind)
