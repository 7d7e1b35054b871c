"""Browse a root in the terminal: tables, dates, a date's story, a request's story.

Reads:  any table, landing folder or quarantine, only the columns it needs
Writes: nothing

Arrows and Enter open, Escape goes back, r lists a date's requests, / finds a
request by its id, q quits. It needs no mouse and works over ssh.
"""

import argparse
import sys

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.report import inventory
from jobs.report.browser import Browser


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory or URI that holds every table")
    return parser


def main(arguments: argparse.Namespace) -> None:
    inventory.require(arguments.root)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WorkFailedError("this is no terminal to browse in; jobs.inspect_table prints the same views")
    Browser(arguments.root).run()


if __name__ == "__main__":
    cli.show("browse_root", lambda: main(arg_parser().parse_args()))
