"""The browser of a root: tables, a table's dates, a date's story, its requests, a request's story."""

import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import ClassVar

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError
from rich.console import Console
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.screen import Screen as Page
from textual.widgets import DataTable, Footer, Header, Input, Static

from jobs.command.cli import WorkFailedError
from jobs.report import details, inventory, numbers
from jobs.report.id_texts import IdTexts
from jobs.report.inventory import Holding
from jobs.report.stories import request, view
from schemas.table import ContractError, MissingDataError
from schemas.tables.logs import requests

_WIDTH = 76  # of 80: a scroll bar and a margin
_MOST = 1000  # requests of a date that are listed; any other is found by its id
_FAULTS = (MissingDataError, ContractError, WorkFailedError, OSError, pa.ArrowException, duckdb.Error, DeltaError)


class Browser(App):
    """Browse a root; every page below is reached by Enter and left by Escape."""

    CSS = "DataTable { height: 1fr; } #words { padding: 0 1; } Find { align: center middle; } Find Input { width: 60; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("q", "quit", "Quit"),
        Binding("escape", "back", "Back"),
        Binding("slash", "find", "Find a request"),
    ]

    def __init__(self, root: str):
        super().__init__()
        self.root, self.title = root, "headrace"
        self.sub_title = root

    def on_mount(self) -> None:
        self.push_screen(Tables(self.root))

    def action_back(self) -> None:
        if len(self.screen_stack) > 2:
            self.pop_screen()

    def action_find(self) -> None:
        self.push_screen(Find(), self._tell)

    def _tell(self, name: str | None) -> None:
        if name:
            self.push_screen(Words(f"request {name}", lambda console: tell_request(console, self.root, name)))


class Rows(DataTable):
    BINDINGS: ClassVar = [Binding("enter", "select_cursor", "Open")]


class Listing(Page):
    """Rows to choose from; Enter opens one."""

    COLUMNS: ClassVar[Sequence[str]] = ()

    def __init__(self, root: str):
        super().__init__()
        self.root = root

    def compose(self) -> ComposeResult:
        yield Header()
        yield Rows(cursor_type="row")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns(*self.COLUMNS)
        table.loading = True
        self.fill()

    @work(thread=True, exit_on_error=False)
    def fill(self) -> None:
        """Read the rows beside the interface, which stays alive meanwhile."""
        try:
            rows = list(self.rows())
        except _FAULTS as fault:
            self.app.call_from_thread(self.fail, str(fault))
        else:
            self.app.call_from_thread(self.put, rows)

    def put(self, rows: list[tuple[str, tuple[str, ...]]]) -> None:
        table = self.query_one(DataTable)
        table.loading = False
        table.focus()
        for key, cells in rows:
            table.add_row(*(Text(cell) for cell in cells), key=key)

    def fail(self, message: str) -> None:
        self.query_one(DataTable).loading = False
        self.notify(message, severity="error", markup=False, timeout=30)

    def rows(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """(key, cells) of each row."""
        raise NotImplementedError

    def page(self, key: str) -> Page:
        """The page that a row opens."""
        raise NotImplementedError

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self.app.push_screen(self.page(event.row_key.value))


class Tables(Listing):
    COLUMNS = ("table", "dates", "first", "last", "rows", "size")

    def rows(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        for held in inventory.holdings(self.root):
            rows = [part.rows for part in held.parts.values()]
            total = "unreadable" if None in rows else numbers.count(sum(rows))
            size = numbers.size(sum(part.bytes for part in held.parts.values()))
            yield held.path, (held.path, str(len(held.days)), str(held.days[0]), str(held.days[-1]), total, size)

    def page(self, key: str) -> Page:
        return Dates(self.root, key)


class Dates(Listing):
    COLUMNS = ("date", "rows", "size")

    def __init__(self, root: str, path: str):
        super().__init__(root)
        self.path, self.sub_title = path, path

    def rows(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        held = inventory.holding(self.root, self.path)
        for day in reversed(held.days):
            part = held.parts[day]
            rows = "unreadable" if part.rows is None else numbers.count(part.rows)
            yield str(day), (str(day), rows, numbers.size(part.bytes))

    def page(self, key: str) -> Page:
        return DateStory(self.root, self.path, date.fromisoformat(key))


class Words(Page):
    """What a view of `inspect_table` prints, to scroll through."""

    def __init__(self, title: str, written: Callable[[Console], None]):
        super().__init__()
        self.written, self.sub_title = written, title

    def compose(self) -> ComposeResult:
        yield Header()
        with VerticalScroll() as scroll:
            scroll.can_focus = True
            yield Static(id="words")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).loading = True
        self.query_one(VerticalScroll).focus()
        self.read()

    @work(thread=True, exit_on_error=False)
    def read(self) -> None:
        held = io.StringIO()
        try:
            self.written(
                Console(file=held, width=_WIDTH, force_terminal=True, color_system="standard", highlight=False)
            )
            text = held.getvalue()
        except _FAULTS as fault:
            text = str(fault)
        self.app.call_from_thread(self.put, Text.from_ansi(text))

    def put(self, text: Text) -> None:
        self.query_one("#words", Static).update(text)
        self.query_one(VerticalScroll).loading = False


class DateStory(Words):
    """A table's date as `inspect_table TABLE --date` tells it."""

    BINDINGS: ClassVar = [Binding("r", "requests", "Requests of the date")]

    def __init__(self, root: str, path: str, day: date):
        super().__init__(f"{path} {day}", self.tell)
        self.root, self.path, self.day = root, path, day

    def tell(self, console: Console) -> None:
        held: Holding = inventory.holding(self.root, self.path)
        details.show(console, self.root, held, [self.day], details.describe(self.root, held, [self.day], 3), 3)

    def action_requests(self) -> None:
        self.app.push_screen(Requests(self.root, self.day))


class Requests(Listing):
    COLUMNS = ("request", "time", "user", "scenario")

    def __init__(self, root: str, day: date):
        super().__init__(root)
        self.day, self.sub_title = day, f"requests of {day}, at most {numbers.count(_MOST)}; / finds any other"

    def rows(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        held = inventory.holding(self.root, requests.path)
        if self.day not in held.parts:
            raise MissingDataError(f"{requests.path} has no {self.day}")
        listed = inventory.head(self.root, held, self.day, _MOST).to_pylist()
        texts = IdTexts(self.root)
        texts.learn("user_id", [row["user_id"] for row in listed])
        for row in sorted(listed, key=lambda row: (row["request_time"], row["request_id"])):
            user = texts.name("user_id", row["user_id"])
            yield row["request_id"], (row["request_id"], view.moment(row["request_time"]), user, row["scenario"])

    def page(self, key: str) -> Page:
        return Words(f"request {key}", lambda console: tell_request(console, self.root, key, [self.day]))


class Find(ModalScreen[str | None]):
    """Ask for a request's id."""

    BINDINGS: ClassVar = [Binding("escape", "cancel", "Back")]

    def compose(self) -> ComposeResult:
        yield Input(placeholder="request id, then Enter")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)

    def action_cancel(self) -> None:
        self.dismiss(None)


def tell_request(console: Console, root: str, name: str, days: Sequence[date] | None = None) -> None:
    view.request(console, request.tell(root, name, days), IdTexts(root))
