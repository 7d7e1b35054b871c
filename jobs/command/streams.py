"""A job's standard output and error: neither a closed pipe nor a terminal without Unicode ends a job."""

import codecs
import os
import sys
from typing import TextIO

_PLAIN = "headrace.plain"
_ASCII = {"…": "...", "±": "+-", "·": ".", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "─": "-", "━": "-", "│": "|"}


def _plain(fault: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: marks by ASCII that reads alike, other characters by their escape."""
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    lacking = fault.object[fault.start : fault.end]
    return "".join(_ASCII.get(mark) or ascii(mark)[1:-1] for mark in lacking), fault.end


codecs.register_error(_PLAIN, _plain)


def prepare() -> None:
    """Let standard output and error write any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_PLAIN)


def write(text: str, stream: TextIO) -> bool:
    """Write a line at once; False, and nothing from then on, where the reader has closed the pipe."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)
        return False
    return True


def silence(stream: TextIO) -> None:
    """Send what a closed pipe no longer takes nowhere, what Python flushes at its end included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
