"""How far long work is: a bar where standard error is a terminal, a line a minute where it is not."""

import sys
import time
from collections.abc import Callable
from typing import Any

from jobs.command import cli

_SECONDS_PER_LINE = 60.0
_SECONDS_PER_TEXT = 1.0  # what a bar says beside itself may cost a pass over the model's metrics


class Progress:
    """Counts steps of equal size and tells examples a second and the time left; used as a context.

    Without rich, which training alone does not need, a terminal gets lines too.
    """

    def __init__(self, steps: int, clock: Callable[[], float] = time.monotonic):
        self._steps, self._clock = max(1, steps), clock
        self._started = self._told = clock()
        self._done = self._examples = 0
        self._bar: Any = _bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._steps)
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, examples: int, state: Callable[[], str]) -> None:
        """One step more, of so many examples; `state` says what the work has come to."""
        self._done += 1
        self._examples += examples
        now = self._clock()
        if now - self._told >= (_SECONDS_PER_LINE if self._bar is None else _SECONDS_PER_TEXT):
            self._told = now
            if self._bar is None:
                cli.log(f"  step {self._done:,} of {self._steps:,}: {state()}; {self.rate()}, {self.left()}")
            else:
                self._bar.update(self._task, description=f"{state()}; {self.rate()}")
        if self._bar is not None:
            self._bar.advance(self._task)

    def line(self, text: str) -> None:
        """A line that stays, above the bar if there is one."""
        if self._bar is None:
            cli.log(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def rate(self) -> str:
        """Examples a second since the first step."""
        return f"{self._examples / max(self._clock() - self._started, 1e-9):,.0f} examples/s"

    def left(self) -> str:
        """The time that the steps left will take at the pace so far, in words."""
        elapsed = self._clock() - self._started
        seconds = elapsed * max(0, self._steps - self._done) / max(1, self._done)
        for size, unit in ((3600, "hour"), (60, "minute")):
            if seconds >= (2 * 3600 if size == 3600 else 60):
                number = round(seconds / size)
                return f"{number} {unit}{'' if number == 1 else 's'} left"
        return "under a minute left"


def _bar() -> Any:
    """rich's bar on standard error; None where rich is not installed."""
    try:
        from rich import progress
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    columns = (progress.BarColumn(bar_width=20), progress.TaskProgressColumn(), progress.TimeRemainingColumn(),
               progress.TextColumn("{task.description}", markup=False))  # fmt: skip
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)
