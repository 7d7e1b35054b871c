"""What every job's command line has in common: --root, --date, exit statuses, the closing JSON line."""

import argparse
import errno
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from types import TracebackType

from jobs.command import streams
from schemas.storage import engines
from schemas.storage.days import dates_between
from schemas.storage.engines import ENGINE, ENGINES, SPARK
from schemas.table import ConflictError, ContractError, MissingDataError

DONE, FAILED, BAD_ARGUMENTS, STOPPED, PIPE_CLOSED = 0, 1, 2, 130, 141
DETAIL = "\nIn detail:\n"  # what follows it in a job's docstring is for those who read the code
STOPPED_LINE = "stopped; run it again"
_BY_TABLE = "tables"  # what a job counts by table; other dicts say something of the whole run

# What a storage that does not work says, in the system's words, which the JVM repeats.
_MENDS = {
    **{os.strerror(code): "make room" for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)},
    **{os.strerror(code): "see who may write there" for code in (errno.EACCES, errno.EPERM, errno.EROFS)},
    **{os.strerror(code): "move away what is in the way" for code in (errno.ENOTDIR, errno.EEXIST)},
}


class WorkFailedError(RuntimeError):
    """The job's input or work is not as it has to be; the message says what, where and what would be right."""


_KNOWN = (MissingDataError, ContractError, ConflictError, WorkFailedError)


def parser(description: str, dated: bool = True) -> argparse.ArgumentParser:
    """A job's parser with --root and --date; the description is the job's docstring up to `In detail:`.

    Args:
        dated: whether the job is of a date.
    """
    made = argparse.ArgumentParser(
        usage=f"%(prog)s --root ROOT {'--date DATE[..LAST] ' if dated else ''}[options]",
        description=description.split(DETAIL)[0],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--root", required=True, help="directory or URI that holds every table")
    if dated:
        text = "YYYY-MM-DD, or FIRST..LAST, both included"
        made.add_argument("--date", required=True, type=dates, metavar="DATE", help=text)
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
    return dates_between(start, end)


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


def share(text: str) -> float:
    """An argument type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write a number from 0 to 1")
    return value


def log(message: str) -> None:
    """One progress line on standard error; standard output belongs to the JSON line."""
    streams.write(message, sys.stderr)


def tell(line: dict) -> None:
    """One JSON line on standard output; a reader that closed the pipe misses it, the work goes on."""
    streams.write(json.dumps(line, default=str), sys.stdout)


def _in_one_line(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        log(STOPPED_LINE)
    else:
        sys.__excepthook__(kind, fault, trace)


sys.excepthook = _in_one_line  # for Ctrl-C while TensorFlow or Spark are still being imported


@contextmanager
def stoppable(job: str) -> Iterator[None]:
    """Let Ctrl-C end the block, and the process, with one line."""
    streams.prepare()
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not interrupt the tidying up
        log(f"{job}: {STOPPED_LINE}")
        sys.exit(STOPPED)


def spark_parser(description: str) -> argparse.ArgumentParser:
    """The parser of a job that a Spark engine runs: `parser`, with --engine."""
    made = parser(description)
    made.add_argument(
        "--engine", choices=ENGINES, metavar="ENGINE", help=f"{' or '.join(ENGINES)}; default ${ENGINE}, else {SPARK}"
    )
    return made


def choose_engine(arguments: argparse.Namespace) -> None:
    """Let the sessions of this process be of the engine that --engine names, if it is given."""
    if getattr(arguments, "engine", None):
        os.environ[ENGINE] = arguments.engine


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
    added, lists joined. A date that fails ends the run; the dates before it stay done. With --stale the dates do not
    wait for one another: the run goes on, names those that failed at its end, and the last line has `failed_dates`.
    Ctrl-C ends the run with one line and status 130.

    Args:
        stale: of a root and dates, those that --stale keeps.
    """
    with stoppable(job):
        _run(job, arguments, work, stale)


def run_once(job: str, work: Callable[[], dict]) -> None:
    """Do work that is of no date, print its JSON line and exit; with `failed_files` in the line, as failed."""
    with stoppable(job):
        started = time.monotonic()
        try:
            line = work()
        except Exception as fault:
            _tell(job, None, fault)
            sys.exit(FAILED)
        tell({"job": job, **line, "seconds": round(time.monotonic() - started, 1)})
    sys.exit(FAILED if line.get("failed_files") else DONE)


def show(job: str, work: Callable[[], None], unreadable: tuple[type[Exception], ...] = ()) -> None:
    """Do work that only reads and shows, and exit.

    Args:
        unreadable: what a library raises where a file is damaged.
    """
    with stoppable(job):
        try:
            work()
        except _KNOWN as fault:
            log(f"{job}: {fault}")
            sys.exit(FAILED)
        except (OSError, *unreadable) as fault:
            log(f"{job}: a file of it cannot be read: {' '.join(str(fault).split())}")
            sys.exit(FAILED)
    sys.exit(DONE)


def _run(job: str, arguments: argparse.Namespace, work: Callable, stale: Callable | None) -> None:
    started, counted, failed = time.monotonic(), [], []
    choose_engine(arguments)
    first, last = arguments.date[0], arguments.date[-1]
    only_stale = stale is not None and arguments.stale
    try:
        todo = stale(arguments.root, arguments.date) if only_stale else arguments.date
    except Exception as fault:
        _tell(job, first, fault)
        sys.exit(FAILED)
    for day in todo:
        log(f"{job} {day}")
        try:
            counted.append(work(arguments, day))
        except Exception as fault:
            _tell(job, day, fault)
            if not only_stale:
                sys.exit(FAILED)
            failed.append(str(day))
            continue
        if len(todo) > 1:
            tell({"job": job, "date": str(day), **counted[-1]})
    line = {
        "job": job,
        "date": str(first) if first == last else f"{first}..{last}",
        **_summed(counted),
        **({"failed_dates": failed} if failed else {}),
        **({"engine": engine} if (engine := engines.running()) else {}),
        "seconds": round(time.monotonic() - started, 1),
    }
    tell(line)
    if failed:
        log(f"{job}: failed for {', '.join(failed)}; the other dates are done")
    sys.exit(FAILED if failed else DONE)


def _tell(job: str, day: date | None, fault: Exception) -> None:
    """Log why a date failed: in one line where it is known what is to be done, else with a traceback before it."""
    job = f"{job} {day}" if day else job
    if isinstance(fault, _KNOWN):
        log(f"{job}: {fault}")
        return
    mend = next((mend for words, mend in _MENDS.items() if words in str(fault)), None)
    if mend is None or not isinstance(fault, OSError):
        traceback.print_exception(fault)
    what = fault if isinstance(fault, OSError) else "failed; the lines above say where"
    log(f"{job}: {what}" + (f"; no date is half replaced: {mend} and run this again" if mend else ""))


def _summed(counted: list[dict]) -> dict:
    """One dict of all dates' counts: numbers added, `tables` table by table, lists joined, nothing twice; true if true
    of all; else the last.
    """
    total = {"rows_written": 0} if not counted else dict(counted[0])
    for counts in counted[1:]:
        for name, value in counts.items():
            if isinstance(value, bool):
                total[name] = total.get(name, True) and value
            elif isinstance(value, list):
                total[name] = [*total.get(name, []), *(one for one in value if one not in total.get(name, []))]
            elif name in total and (name == _BY_TABLE or isinstance(value, int | float)):
                total[name] = _added(total[name], value)
            else:
                total[name] = value
    return total


def _added(one: float | dict, other: float | dict) -> float | dict:
    """Two numbers' sum, or two dicts' key by key."""
    if not isinstance(other, dict):
        return one + other
    return one | {key: _added(one[key], value) if key in one else value for key, value in other.items()}
