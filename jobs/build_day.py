"""Build landed dates up to their samples in one session; skip what is up to date.

Reads:  landing, settings.toml, and what is recorded of earlier runs
Writes: logs, quarantine, reports/quality, labels/target_groups,
        features/item_stats, features/user_histories, samples/increc_samples,
        samples/hccp_samples

- Of FIRST..LAST each job does all dates before the next job begins.
- A job that fails ends the run; what is done stays, and a second run goes on.
- The JSON line says by job which dates were `done` and `skipped`; `left_out`
  are those without logged stages, which have no hccp_samples.

In detail:

The jobs are ingest_logs, label_target_groups, build_user_histories, build_item_stats, build_increc_samples and
build_hccp_samples, each with its own parser and rules (jobs/batch/steps.py). A date is skipped where its manifest or
commit names these settings, and no row of its inputs has changed since within their reach (jobs/batch/progress.py).
Labels made before the next date was ingested are made again once it is.
"""

import argparse
from datetime import date

from jobs.batch.progress import is_ingested, is_made, lacks
from jobs.batch.steps import STEPS, Step
from jobs.command import cli
from schemas.vocabulary import Attribution


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument("--window-hours", type=cli.at_least(1), help="attribution window")
    parser.add_argument("--attribution", choices=[*map(str, Attribution)], help="whose a conversion is")
    parser.add_argument("--scenario", action="append", help="target scenario, repeatable")
    parser.add_argument("--seed", type=cli.at_least(0), help="of the draws of hccp_samples")
    return parser


def main(arguments: argparse.Namespace) -> dict:
    cli.choose_engine(arguments)
    days = arguments.date
    jobs = {step.job: {"rows_written": 0, "done": [], "skipped": [], "left_out": []} for step in STEPS}
    for step in STEPS:
        for day in days:
            outcome, rows = work(step, arguments, day)
            jobs[step.job][outcome].append(str(day))
            jobs[step.job]["rows_written"] += rows
    return {
        "date": str(days[0]) if len(days) == 1 else f"{days[0]}..{days[-1]}",
        "rows_written": sum(counts["rows_written"] for counts in jobs.values()),
        "jobs": jobs,
    }


def work(step: Step, batch: argparse.Namespace, day: date) -> tuple[str, int]:
    """Run a job for a date unless it is up to date; returns what became of it, and the rows written."""
    if lacks(batch.root, step, day):
        cli.log(f"{step.job} {day}: left out, no {step.needs.name} are logged")
        return "left_out", 0
    arguments = step.arguments(batch, day)
    if is_made(batch.root, step, day, arguments) if step.table else is_ingested(batch.root, step, day):
        cli.log(f"{step.job} {day}: up to date")
        return "skipped", 0
    cli.log(f"{step.job} {day}")
    return "done", step.module.main(arguments, day)["rows_written"]


if __name__ == "__main__":
    ARGUMENTS = arg_parser().parse_args()
    cli.run_once("build_day", lambda: main(ARGUMENTS))
