"""Render one self-contained HTML page about a date.

Reads:  the dates, sizes and counts of every table up to the date;
        reports/evaluations and reports/quality of the date; the manifests
        below landing/ and models/
Writes: reports/report/date=DATE/index.html

- A part that is missing names the job that makes it.
- The same root gives the same bytes; the page loads nothing.

In detail:

A part that is not there says so and names the job that makes it; the page is written all the same. It loads
nothing: styles and pictures are inside it. The page is a function of what is below the root, so rendering it again
gives the same bytes.
"""

import argparse
from datetime import date

from jobs.command import cli
from jobs.report import scores
from jobs.report.page import page
from jobs.report.page.model_sections import verdict
from jobs.report.scores import Scores
from schemas.storage.root import Root


def arg_parser() -> argparse.ArgumentParser:
    return cli.parser(__doc__)


def place(day: date) -> str:
    """Where the page of a date is, relative to the root."""
    return f"reports/report/date={day}/index.html"


def headline(scored: Scores) -> dict:
    """The model's first metric at its middle cut-off: the best trained variant and the best without training."""
    told = verdict(scored) or {}
    best = {kind: told.get(kind) or {} for kind in ("trained", "untrained")}
    return {"metric": told.get("label")} | {
        kind: f"{each['variant']} {each['text']}" if each else None for kind, each in best.items()
    }


def main(arguments: argparse.Namespace, day: date) -> dict:
    html = page.render(arguments.root, day)
    found = {model: headline(scored) for model, scored in scores.read(arguments.root, day).items()}
    root = Root.of(arguments.root)
    root.write_text(place(day), html)
    return {"rows_written": 0, "report": root.at(place(day)), "headline": found}


if __name__ == "__main__":
    cli.run("render_report", arg_parser().parse_args(), main)
