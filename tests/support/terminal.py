"""What `inspect_table` prints, for tests of its views."""

import os

from rich.console import Console

from jobs import inspect_table


def view(root: str, *arguments: str) -> str:
    """What the job prints for these arguments at 80 columns; no line may be longer."""
    console = Console(width=80, record=True, file=open(os.devnull, "w"), highlight=False)  # noqa: SIM115
    inspect_table.main(inspect_table.arg_parser().parse_args([*arguments, "--root", root]), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    return text
