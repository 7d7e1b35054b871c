"""jobs/command/progress: a line a minute with the pace and the time left, by a clock that the test turns."""

import subprocess
import sys

from jobs.command.progress import Progress
from tests.support.project import PROJECT


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_minute(capsys):
    clock = Clock()
    with Progress(20, clock) as progress:
        for _ in range(4):
            clock.now += 30
            progress.step(60, lambda: "loss 0.5")
    # after 60 s 2 steps of 20 are done: 18 x 30 s left; after 120 s 16 x 30 s
    assert capsys.readouterr().err.splitlines() == [
        "  step 2 of 20: loss 0.5; 2 examples/s, 9 minutes left",
        "  step 4 of 20: loss 0.5; 2 examples/s, 8 minutes left",
    ]


def test_the_time_left_in_words():
    clock = Clock()
    progress = Progress(100, clock)
    clock.now = 300.0
    progress.step(1, str)
    assert progress.left() == "8 hours left"  # 99 x 5 minutes
    for _ in range(98):
        progress.step(1, str)
    assert progress.left() == "under a minute left"  # 1 x 3 s


def test_the_state_is_asked_for_only_when_it_is_told(capsys):
    def never() -> str:
        raise AssertionError

    clock = Clock()
    with Progress(3, clock) as progress:
        for _ in range(3):
            clock.now += 1
            progress.step(1, never)
        progress.line("done")
    assert capsys.readouterr().err == "done\n"


def test_a_terminal_gets_a_bar():
    code = (
        "import sys; from jobs.command.progress import Progress\n"
        "sys.stderr.isatty = lambda: True\n"
        "with Progress(2) as p:\n  p.step(1, str); p.line('[epoch] 1'); p.step(1, str)\n"
        "assert p._bar.finished"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[epoch] 1" in done.stderr
