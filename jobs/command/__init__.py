"""What every job's command line has in common: --root, --date, exit statuses, the closing JSON line."""

import argparse
import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import date, timedelta

from schemas.table import ConflictError, ContractError, MissingDataError

DONE, FAILED, BAD_ARGUMENTS = 0, 1, 2

# What a storage that does not work says, in the system's words, which the JVM repeats.
_MENDS = {
    **{os.strerror(code): "make room" for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)},
    **{os.strerror(code): "see who may write there" for code in (errno.EACCES, errno.EPERM, errno.EROFS)},
    **{os.strerror(code): "move away what is in the way" for code in (errno.ENOTDIR, errno.EEXIST)},
}


class WorkFailedError(RuntimeError):
    """The job's input or work is not as it has to be; the message says what, where and what would be right."""


def parser(description: str) -> argparse.ArgumentParser:
    """A job's parser with --root and --date; the description is the job's docstring, shown as it is."""
    made = argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--root", required=True, help="directory or URI that holds every table")
    made.add_argument(
        "--date", required=True, type=dates, metavar="DATE[..LAST]", help="YYYY-MM-DD, or FIRST..LAST, both included"
    )
    return made


def dates(text: str) -> list[date]:
    """The dates of `2017-12-01` or `2017-12-01..2017-12-03`."""
    first, _, last = text.partition("..")
    try:
        start = date.fromisoformat(first)
        end = date.fromisoformat(last) if ".." in text else start
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD or FIRST..LAST") from None
    if end < start:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it starts")
    return [start + timedelta(n) for n in range((end - start).days + 1)]


def at_least(low: int) -> Callable[[str], int]:
    """An argument type: a whole number that is at least `low`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {low}")
        return value

    return number


def log(message: str) -> None:
    """One progress line on standard error; standard output belongs to the JSON line."""
    print(message, file=sys.stderr, flush=True)


def stale_flag(made: argparse.ArgumentParser, source: str) -> None:
    """Add --stale: of the dates only those that are there, and were made from what `source` no longer is."""
    made.add_argument(
        "--stale", action="store_true", help=f"only dates that are there and whose {source} changed since"
    )


def run(
    job: str,
    arguments: argparse.Namespace,
    work: Callable[[argparse.Namespace, date], dict],
    stale: Callable[[str, list[date]], list[date]] | None = None,
) -> None:
    """Do the work for each date in turn, print one JSON line a date and exit.

    `work` returns what it counted, `rows_written` among it. For a range the last line sums up: numbers are
    added, lists joined. A date that fails ends the run; the dates before it stay done.

    Args:
        stale: of a root and dates, those that --stale keeps.
    """
    started, counted = time.monotonic(), []
    first = day = arguments.date[0]
    try:
        todo = stale(arguments.root, arguments.date) if stale and arguments.stale else arguments.date
        for day in todo:
            log(f"{job} {day}")
            counted.append(work(arguments, day))
            if len(todo) > 1:
                print(json.dumps({"job": job, "date": str(day), **counted[-1]}), flush=True)
    except (MissingDataError, ContractError, ConflictError, WorkFailedError) as fault:
        log(f"{job} {day}: {fault}")
        sys.exit(FAILED)
    except Exception as fault:
        mend = next((mend for words, mend in _MENDS.items() if words in str(fault)), None)
        if mend is None or not isinstance(fault, OSError):
            traceback.print_exc()
        what = fault if isinstance(fault, OSError) else "failed; the lines above say where"
        log(f"{job} {day}: {what}" + (f"; no date is half replaced: {mend} and run this again" if mend else ""))
        sys.exit(FAILED)
    last = arguments.date[-1]
    line = {
        "job": job,
        "date": str(first) if first == last else f"{first}..{last}",
        **_summed(counted),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(line), flush=True)
    sys.exit(DONE)


def _summed(counted: list[dict]) -> dict:
    """One dict of all dates' counts: numbers added, lists joined, nothing twice; true if true of all; else the last."""
    total = {"rows_written": 0} if not counted else dict(counted[0])
    for counts in counted[1:]:
        for name, value in counts.items():
            if isinstance(value, bool):
                total[name] = total.get(name, True) and value
            elif isinstance(value, list):
                total[name] = [*total.get(name, []), *(one for one in value if one not in total.get(name, []))]
            elif isinstance(value, int | float) and name in total:
                total[name] = total[name] + value
            else:
                total[name] = value
    return total
