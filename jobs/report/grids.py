"""Grids without frames, and the screen that they are printed on."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from jobs.command import cli, streams


class Screen(Console):
    """A terminal of any width and encoding, or a pipe: that is read as 80 columns unless COLUMNS says otherwise."""

    def __init__(self, **options):
        super().__init__(highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Whoever read the pipe has seen enough."""
        self.quiet = True
        streams.silence(sys.stdout)
        raise SystemExit(cli.PIPE_CLOSED)


def new(*columns: str, head: bool = True) -> Grid:
    """A grid without frame; a leading `>` aligns a column of numbers to the right."""
    grid = Grid(
        box=box.SIMPLE_HEAD if head else None,
        show_header=head,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1 if head else 2, 0, 0),
    )
    for number, name in enumerate(columns):
        right = name.startswith(">")
        grid.add_column(
            Text(name.removeprefix(">").replace("_", " ")) if right else Text(name),
            justify="right" if right else "left",
            no_wrap=right or number == 0,
            overflow="fold",
            style="cyan" if number == 0 else None,
        )
    return grid


def add(grid: Grid, *cells: str, style: str | None = None) -> None:
    """Add cells as plain text: a bracket in a row's data is no markup."""
    grid.add_row(*(Text(cell) for cell in cells), style=style)


def show(console: Console, title: str, grid: Grid) -> None:
    console.print()
    console.print(Text(title, "bold"))
    console.print(grid)
