"""From published logs to a page of their studies, in one command.

    python tests/benchmarks/scripts/study_logs.py ROOTS LOG=FILE... --study NAME --written DATE --hardware TEXT

Each log is replayed into a root of its own below ROOTS, ingested and labelled, samples of both models are built, the
studies are run, and summarise_studies.py's page is printed. A root that has all its samples is not made again; remove
one that is of another file. Exits with 1, after the page, where a study could not be finished. LOG is one of

    taobao_slice   tests/data/taobao/events.parquet, a day to learn from and one to judge on, as in the first command
    taobao_shadow  the same file with shadow scores of 16 items a request: two days to learn from, one to judge on
    taobao         SSLRec's tmall, whole: dates as taobao_slice
    retailrocket   SSLRec's retail_rocket: 14 days to learn from, 6 to judge on
    movielens      MovieLens 100K: 11 days to learn from, 3 to judge on
    trivago        RecSys Challenge 2019, 7 and 8 November: real lists, a day to learn from and one to judge on

Sources and terms: `python -m jobs.replay_events --help`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from judge_in_world import run
from summarise_studies import summary

from jobs import run_study
from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.replay.settings import ListSettings, Settings
from jobs.replay.sources import SOURCES
from jobs.replay_events import replay
from jobs.study.definitions import STUDIES
from schemas.storage import partitions
from schemas.storage.root import Root
from schemas.tables.samples import hccp_samples, increc_samples

_MADE = ("label_target_groups", "build_user_histories", "build_item_stats", "build_increc_samples",
         "build_hccp_samples")  # fmt: skip


@dataclass(frozen=True)
class Log:
    """One log: whose it is, the dates that are landed, those with samples, and how many of these are judged on.

    Landed are some dates before the samples, for histories, and one after them, whose actions their windows reach;
    Trivago's slice has neither.
    """

    source: str
    landed: tuple[date, date]
    sampled: tuple[date, date]
    judged: int = 1
    shadow_ranked: int = 0

    @property
    def settings(self) -> Settings | ListSettings:
        if SOURCES[self.source].lists:
            return ListSettings(self.source)
        return Settings(self.source, shadow_ranked=self.shadow_ranked)


def days(first: date, last: date) -> list[date]:
    return cli.dates(f"{first}..{last}")


LOGS = {
    "taobao_slice": Log("taobao", (date(2017, 11, 26), date(2017, 11, 30)), (date(2017, 11, 28), date(2017, 11, 29))),
    "taobao_shadow": Log(
        "taobao", (date(2017, 11, 26), date(2017, 12, 1)), (date(2017, 11, 28), date(2017, 11, 30)), shadow_ranked=16
    ),
    "taobao": Log("taobao_subset", (date(2017, 11, 26), date(2017, 11, 30)), (date(2017, 11, 28), date(2017, 11, 29))),
    "retailrocket": Log(
        "retailrocket", (date(2015, 5, 11), date(2015, 6, 7)), (date(2015, 5, 18), date(2015, 6, 6)), judged=6
    ),
    "movielens": Log(
        "movielens", (date(1997, 10, 30), date(1997, 11, 20)), (date(1997, 11, 6), date(1997, 11, 19)), judged=3
    ),
    "trivago": Log("trivago", (date(2018, 11, 7), date(2018, 11, 8)), (date(2018, 11, 7), date(2018, 11, 8))),
}  # fmt: skip


def make(root: str, log: Log, events: str) -> None:
    """Everything up to the samples."""
    there = [{*partitions.dates(Root.of(root), table)} for table in (increc_samples, hccp_samples)]
    if {*days(*log.sampled)} <= set.intersection(*there):
        return
    for day in days(*log.landed):
        replay(root, events, log.settings, day)
    run(root, "ingest_logs", *log.landed, "--accept-changes")  # a small log's dates differ from one another
    for job in _MADE:
        run(root, job, *log.sampled)


def arguments_of(root: str, log: Log, name: str, flags: Sequence[str]) -> argparse.Namespace:
    """run_study's arguments for all the log's dates with samples; stops the program where they make no sense."""
    first, last = log.sampled
    words = ["--root", root, "--date", f"{first}..{last}", "--study", name, "--judged", str(log.judged), *flags]
    return run_study.parsed(words)


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, `logs` as pairs of a name of LOGS and a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("roots", metavar="ROOTS", help="folder of the logs' roots")
    parser.add_argument("logs", nargs="+", metavar="LOG=FILE", help="a log and where it is")
    parser.add_argument("--study", action="append", required=True, choices=STUDIES, metavar="NAME", help="or more")
    parser.add_argument("--seeds", help="of every variant; default: the study's")
    parser.add_argument("--written", type=date.fromisoformat, required=True, help="the page's date", metavar="DATE")
    parser.add_argument("--hardware", required=True, help="what this runs on, in words", metavar="TEXT")
    arguments = parser.parse_args(words)
    arguments.logs = [tuple(each.partition("=")[::2]) for each in arguments.logs]
    if unknown := [name for name, file in arguments.logs if name not in LOGS or not file]:
        parser.error(f"{', '.join(unknown)}: should be LOG=FILE with LOG one of {', '.join(LOGS)}")
    return arguments


def main(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The page, and what could not be finished."""
    flags = ["--seeds", arguments.seeds] if arguments.seeds else []
    roots = {name: f"{arguments.roots}/{name}" for name, _ in arguments.logs}
    asked = {
        name: [arguments_of(root, LOGS[name], each, flags) for each in arguments.study] for name, root in roots.items()
    }
    faults = []
    for name, file in arguments.logs:
        make(roots[name], LOGS[name], file)
        for each in asked[name]:
            try:
                run_study.main(each, *each.date)
            except WorkFailedError as fault:  # the others, and the page, are worth having
                faults.append(f"{name}, {each.study}: {fault}")
    named = [f"{name}={root}" for name, root in roots.items()]
    return summary(named, arguments.written, arguments.hardware, arguments.study), faults


if __name__ == "__main__":
    page, faults = main(parsed())
    sys.stdout.write(page)
    sys.exit("\n".join(faults) or None)
