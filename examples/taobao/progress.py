"""Follows a command that takes minutes: its output goes to a log file, a progress line to standard error."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


def follow(title, command, log, prefix="", folder=None):
    """Run a command with its output in a log file and return its exit status.

    Args:
        prefix: the progress line ends in the last line of output that starts with this.
        folder: where the command runs; by default here.
    """
    live, started, last_line = sys.stderr.isatty(), time.monotonic(), 0.0
    if not live:
        say(title)
    with open(str(log), "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                seconds = time.monotonic() - started
                text = f"{title}, {seconds:.0f} s  {_latest(log, prefix)}"
                if live:
                    show(text)
                elif seconds - last_line >= 30:
                    last_line = seconds
                    say(text[:120])
        except BaseException:
            process.terminate()
            process.wait()
            raise
    say(f"{title}: {'failed after' if process.returncode else 'done in'} {time.monotonic() - started:.0f} s")
    return process.returncode


def last_error(log):
    """Return the last line of a log that mentions an error, else its last line."""
    lines = [line.strip() for line in Path(str(log)).read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|exception|fail", line, re.IGNORECASE)]
    return (errors or lines or ["it printed nothing"])[-1][:300]


def say(message):
    """Print one line on standard error, in place of the line that `show` left there."""
    sys.stderr.write(f"{erase()}{message}\n")
    sys.stderr.flush()


def show(message):
    """Print a line on a terminal that the next line replaces."""
    sys.stderr.write(erase() + message[: shutil.get_terminal_size().columns - 1])
    sys.stderr.flush()


def erase():
    return "\r\033[K" if sys.stderr.isatty() else ""


def _latest(log, prefix):
    with open(str(log), "rb") as output:
        output.seek(max(0, os.path.getsize(str(log)) - 8000))
        lines = output.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip() and line.startswith(prefix)), "")
