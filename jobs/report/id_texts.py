"""The producer's own ids, for a root whose `settings.toml` says that they are text."""

from collections.abc import Iterable

import pyarrow.compute as pc

from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.table import MissingDataError
from schemas.tables.ids import IDS

_NOUNS = {"user_id": "user", "item_id": "item"}


class IdTexts:
    """Ids between the text that people know and the number that tables hold; without text ids the number is both."""

    def __init__(self, root: str):
        settings = RootSettings.of(root)
        self._root = root
        self._text = {column: settings.is_text(column) for column in _NOUNS}
        self._known: dict[str, dict[int, str]] = {column: {} for column in _NOUNS}

    def learn(self, column: str, ids: Iterable[int]) -> None:
        """Read the texts of these ids at once.

        Args:
            column: `user_id` or `item_id`.
        """
        missing = sorted(set(ids) - {None} - self._known[column].keys())
        if self._text[column] and missing:
            found = self._read(column, pc.field("id").isin(missing))
            self._known[column] |= {row["id"]: row["text"] for row in found}

    def text(self, column: str, number: int) -> str | None:
        """The text of an id that was learnt; None where ids are numbers or its text is not known."""
        return self._known[column].get(number)

    def name(self, column: str, number: int) -> str:
        """An id for people: `5120 (sku-a)`, `5120` without a text."""
        text = self.text(column, number)
        return str(number) if text is None else f"{number} ({text})"

    def beside(self, rows: list[dict]) -> list[dict]:
        """The rows with a `<column>_text` after each column of text ids; unchanged where ids are numbers."""
        for column in _NOUNS:
            self.learn(
                column, (each for row in rows for name in row if _kind(name) == column for each in _ids(row[name]))
            )
        return [dict(pair for name in row for pair in self._pairs(name, row[name])) for row in rows]

    def _pairs(self, name: str, value: object) -> list[tuple[str, object]]:
        column = _kind(name)
        if column is None or not self._text[column]:
            return [(name, value)]
        texts = [self.text(column, each) for each in _ids(value)]
        return [(name, value), (f"{name}_text", texts if isinstance(value, list) else next(iter(texts), None))]

    def number(self, column: str, given: str) -> int:
        """The id that a person's argument names: its text, or its number.

        Raises:
            MissingDataError: it is neither.
        """
        if self._text[column]:
            found = self._read(column, pc.field("text") == given)
            if found:
                self._known[column][found[0]["id"]] = given
                return found[0]["id"]
        try:
            return int(given)
        except ValueError:
            noun = _NOUNS[column]
            why = f"ids/{column} has no such text" if self._text[column] else f"a {noun}'s id is a whole number here"
            raise MissingDataError(f"there is no {noun} {given!r}: {why}") from None

    def _read(self, column: str, condition: pc.Expression) -> list[dict]:
        table = IDS[column]
        if not delta_log.exists(Root.of(self._root), table):
            return []
        source = arrow.delta(self._root, table).to_pyarrow_dataset()
        return source.to_table(columns=["id", "text"], filter=condition).to_pylist()


def _kind(name: str) -> str | None:
    """`item_id` for `item_id` and for lists such as `etg_item_ids`."""
    return next((column for column in _NOUNS if name == column or name.endswith(f"{column}s")), None)


def _ids(value: object) -> list[int]:
    """The ids in a cell: a list's, one, or none."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, int) else []
