"""Finished studies of one or more roots as a page of Markdown: what run_study left in each root, nothing trained anew.

    python tests/benchmarks/scripts/summarise_studies.py ROOT... --written 2026-11-30 --hardware "2 cores" > page.md

A section a study: of one root a table with a column a metric, of several a table a metric with a column a root. A
root's name is its folder's; NAME=ROOT gives it another. `--study NAME` keeps to these; it may be given more than once.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from pyarrow import fs

from jobs.report import inventory, numbers, scores
from jobs.report.page import sections
from jobs.report.scores import Scores
from jobs.study import page
from jobs.study.comparison import Comparison, compare
from jobs.study.definitions import STUDIES, Study
from jobs.study.trials import UNTRAINED, Cell
from models.evaluation.per_request import Key
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root

_STUDIES = "reports/studies"
# A cell's settings that are its own; the others are alike in all cells that were made for one comparison.
_OWN = ("seed", "training")
# Metric and segment of each table.
_TABLES = {
    "increc": (("inc_filtered", "all"), ("inc", "all"), ("inc_filtered", "tail")),
    "hccp": (("ish", "all"), ("ash", "all"), ("asph", "all"), ("ranker_recall_10", "all"), ("ash", "tail")),
}
_HOW_TO_READ = (
    "Each figure is the mean over seeds ± their standard deviation; after it, in points, the difference from the "
    "study's reference on the same requests with the 95 % interval of a paired bootstrap over requests, bold where "
    "it leaves out 0. The interval says how far the measured requests carry, the spread what another training would "
    "give; no allowance is made for looking at many rows at once."
)


@dataclass(frozen=True)
class Found:
    """A study as one root has it."""

    root: str
    label: str
    name: str
    study: Study
    cells: list[Cell]
    settings: dict

    @property
    def day(self) -> date:
        return self.cells[0].day

    @property
    def seeds(self) -> int:
        return len({cell.seed for cell in self.cells if cell.variant != UNTRAINED})

    @property
    def size(self) -> str:
        return self.name.partition("-")[2] or self.study.size

    @cached_property
    def source(self) -> dict:
        """What the root's logs are, as the pages say it."""
        held = {each.path: each for each in inventory.holdings(self.root)}
        return sections.source(sections.Below(self.root, self.day, held))

    @property
    def title(self) -> str:
        return f"{self.label} (simulated)" if self.source["simulated"] else self.label

    @property
    def missing(self) -> list[str]:
        """Variants and seeds that have no cell."""
        there = {(cell.variant, cell.seed) for cell in self.cells}
        wanted = [(each.name, seed) for seed in range(1, self.seeds + 1) for each in self.study.variants]
        return [f"{variant}-seed{seed}" for variant, seed in wanted if (variant, seed) not in there]


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("roots", nargs="+", metavar="[NAME=]ROOT")
    parser.add_argument("--written", type=date.fromisoformat, required=True, help="the page's date", metavar="DATE")
    parser.add_argument("--hardware", required=True, help="what the studies ran on, in words", metavar="TEXT")
    parser.add_argument("--study", action="append", default=[], help="this one; default: all", metavar="NAME")
    return parser


def studies_of(given: str, wanted: Sequence[str]) -> list[Found]:
    """The studies below one root that have cells, by name; what was tried to tune one is none.

    Raises:
        ValueError: cells of one study were made from different inputs, dates or settings.
    """
    name, _, path = given.rpartition("=")
    place = Root.of(path)
    label = name or place.path.rstrip("/").rpartition("/")[2]
    selector = fs.FileSelector(place.at(_STUDIES), allow_not_found=True)
    names = sorted(info.base_name for info in place.filesystem.get_file_info(selector))
    reported = [each for each in names if each.partition("-")[0] in STUDIES and not each.endswith("-tuning")]
    made = [_study(path, label, each) for each in reported]
    return [each for each in made if each.cells and (not wanted or each.name in wanted)]


def _study(root: str, label: str, name: str) -> Found:
    place, folder = Root.of(root), f"{_STUDIES}/{name}/cells"
    selector = fs.FileSelector(place.at(folder), allow_not_found=True)
    cells, alike = [], {}
    for info in sorted(place.filesystem.get_file_info(selector), key=lambda info: info.base_name):
        at = f"{folder}/{info.base_name}/{MANIFEST}"
        if not place.exists(at):
            continue
        said = json.loads(place.read_text(at))
        variant, _, seed = info.base_name.rpartition("-seed")
        made_from, settings = said["made_from"], said["settings"]
        cells.append(Cell(root, name, date.fromisoformat(said["date"]), variant, int(seed), made_from, settings))
        shared = {key: value for key, value in settings.items() if key not in _OWN}
        alike.setdefault(json.dumps([said["date"], made_from, shared], sort_keys=True), []).append(info.base_name)
    if len(alike) > 1:
        kinds = "; ".join(", ".join(names) for names in alike.values())
        raise ValueError(f"{folder} below {root} has cells of different inputs, dates or settings: {kinds}")
    return Found(root, label, name, STUDIES[name.partition("-")[0]](), cells, cells[0].settings if cells else {})


def compared(found: Found) -> tuple[Scores, Comparison]:
    made = compare(found.study.model, found.study.reference, found.cells, found.settings["requests"])
    return scores.gather({"model": found.study.model, **row} for row in made.rows)[found.study.model], made


def about(found: Found) -> str:
    """One line on what a root is and what of it was measured."""
    if "judged" not in found.settings:
        raise ValueError(f"{found.name} of {found.label} is of an earlier version: run the study again")
    learned, judged = (
        numbers.span([date.fromisoformat(day) for day in found.settings[which]]) for which in ("days", "judged")
    )
    seeds = ", ".join(str(seed) for seed in range(1, found.seeds + 1))
    line = (
        f"- **{found.label}**: {found.source['title']} Learned from {learned}, judged on {judged}: "
        f"{numbers.count(found.settings['requests'])} requests; seeds {seeds}; size {found.size}."
    )
    return f"{line} Not there: {', '.join(found.missing)}." if found.missing else line


def section(name: str, everywhere: Sequence[Found]) -> list[str]:
    """The lines of one study."""
    study = everywhere[0].study
    known = {found.title: compared(found) for found in everywhere}
    asks = " ".join(STUDIES[name.partition("-")[0]].__doc__.split())
    lines = [f"## {name}", "", f"{asks} Reference: `{study.reference}`.", ""]
    lines += [*map(about, everywhere), ""]
    there = [
        (metric, segment)
        for metric, segment in _TABLES[study.model]
        if any(scored.support(metric, segment) for scored, _ in known.values())
    ]
    for columns in [there] if len(known) == 1 else [[each] for each in there]:
        lines += table(columns, study, known)
    return lines


def table(columns: Sequence[tuple[str, str]], study: Study, known: dict[str, tuple[Scores, Comparison]]) -> list[str]:
    """Metrics in segments, of each root; the study's variants first and in its order, then what needs no training."""
    variants = dict.fromkeys(each.name for each in study.variants)
    variants |= dict.fromkeys(name for scored, _ in known.values() for name in scored.variants)
    heads, keys = [], []
    for metric, segment in columns:
        for label, (scored, made) in known.items():
            k = scores.middle(scored.cuts(metric))
            of = f"{label}, " if len(known) > 1 else ""
            heads.append(f"{of}{scores.label(metric, k)}{'' if segment == 'all' else f', {segment}'}")
            keys.append((scored, made, (metric, segment, k)))
    lines = ["| variant | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for variant in variants:
        cells = [cell(scored, made, variant, key) for scored, made, key in keys]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def cell(scored: Scores, made: Comparison, variant: str, key: Key) -> str:
    """Mean and spread; the difference from the reference with its interval, bold where that leaves out 0."""
    metric, segment, k = key
    text = scores.written(metric, scored.get(variant, metric, k, segment))
    if variant == made.reference:
        return f"{text} (reference)" if text != numbers.NOTHING else text
    difference = page.apart(metric, made.intervals(key).get(variant))
    if difference["apart"] == numbers.NOTHING:
        return text
    mark = "**" if difference["excludes_zero"] else ""
    return f"{text}, {mark}{difference['apart']}{mark}"


def summary(roots: Sequence[str], written: date, hardware: str, wanted: Sequence[str] = ()) -> str:
    """The whole page.

    Raises:
        ValueError: no root has such a study, two roots have one name, or a study's cells do not belong together.
    """
    found = [each for root in roots for each in studies_of(root, wanted)]
    if not found:
        raise ValueError(
            f"none of {', '.join(roots)} has a finished study{' of ' + ', '.join(wanted) if wanted else ''}"
        )
    by_name: dict[str, list[Found]] = {}
    for each in found:
        by_name.setdefault(each.name, []).append(each)
    for name, there in by_name.items():
        if len({each.label for each in there}) < len(there):
            raise ValueError(f"two roots with {name} have one name; give each its own as NAME=ROOT")
    asked = "".join(f" --study {each}" for each in wanted)
    command = (
        f"    python tests/benchmarks/scripts/summarise_studies.py ROOT... --written {written} --hardware TEXT{asked}"
    )
    lines = [f"# Studies, {written}", "", command, "", hardware, "", _HOW_TO_READ, ""]
    for name in sorted(by_name):
        lines += section(name, by_name[name])
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    arguments = arg_parser().parse_args()
    try:
        sys.stdout.write(summary(arguments.roots, arguments.written, arguments.hardware, arguments.study))
    except ValueError as fault:
        sys.exit(f"summarise_studies: {fault}")
