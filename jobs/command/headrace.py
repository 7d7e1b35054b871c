"""The console command `headrace`: each job as a sub-command, and `headrace doctor`.

A job is imported when it is called, so a machine without Spark or TensorFlow runs what needs neither.
"""

import ast
import runpy
import sys
import textwrap
from pathlib import Path

from jobs.command import cli, machine, streams

_FOLDER = Path(__file__).parents[1]
_DOCTOR = "doctor"


def summaries() -> dict[str, str]:
    """Each job's first line, without importing it."""
    found = {}
    for path in sorted(_FOLDER.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if path.stem != "__init__" and text:
            found[path.stem] = text.splitlines()[0]
    return found


def usage() -> str:
    """The jobs, one line each, no line wider than 80 columns."""
    known = {**summaries(), _DOCTOR: "Tell what this machine can run, and what is missing for the rest."}
    longest = max(map(len, known))
    indent = " " * (longest + 4)
    lines = [textwrap.fill(f"  {name:{longest}}  {text}", 80, subsequent_indent=indent) for name, text in known.items()]
    return "\n".join(["usage: headrace JOB [arguments]; headrace JOB --help tells of one job", "", *lines])


def doctor() -> bool:
    """Print what each kind of work needs and whether it is there; True if all can run."""
    uses = machine.uses()
    parts = {part.name: part for use in uses for part in use.parts}
    lines = [f"  {name:24} {part.state}" for name, part in parts.items()]
    lines.append("")
    for use in uses:
        lines.append(f"  {'can run' if not use.faults else 'CANNOT '}  {use.name} ({use.jobs})")
        lines += [f"             {fault}" for fault in dict.fromkeys(use.faults)]
    streams.write("\n".join(lines), sys.stdout)
    return not any(use.faults for use in uses)


def main() -> None:
    """The entry point of `setup.py`."""
    with cli.stoppable("headrace"):
        words = sys.argv[1:]
        if not words or words[0] in ("-h", "--help"):
            streams.write(usage(), sys.stdout)
            sys.exit(cli.DONE if words else cli.BAD_ARGUMENTS)
        if words[0] == _DOCTOR:
            sys.exit(cli.DONE if doctor() else cli.FAILED)
        _run(words[0], words[1:])


def _run(job: str, arguments: list[str]) -> None:
    """Run a job as `python -m jobs.JOB` does."""
    if job not in summaries():
        near = ", ".join(summaries())
        cli.log(f"headrace: there is no job {job!r}; the jobs are {near} and {_DOCTOR}")
        sys.exit(cli.BAD_ARGUMENTS)
    sys.argv = [f"headrace {job}", *arguments]
    try:
        runpy.run_module(f"jobs.{job}", run_name="__main__")
    except ModuleNotFoundError as fault:
        if (fault.name or "").split(".")[0] in ("jobs", "models", "schemas"):
            raise
        cli.log(f"headrace {job}: {fault}; `headrace {_DOCTOR}` tells what to install")
        sys.exit(cli.FAILED)
