"""Who is erased: the user's id in the tables, in the producer's files, and the requests."""

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from jobs.command.cli import WorkFailedError
from schemas.storage import delta_log
from schemas.storage.arrow import delta
from schemas.storage.root import Root
from schemas.storage.settings import RootSettings
from schemas.tables import ids


@dataclass(frozen=True)
class User:
    """A user of a root.

    text: the id as the producer writes it. id: the id inside the tables; None if the text has none there.
    is_text: whether the producer's ids are text. requests: date -> request_id of the user's requests, in the tables;
    landed: the same in the landing files, under every date that a row of the folder may be of.
    """

    text: str
    id: int | None
    is_text: bool
    requests: dict[date, set[str]] = field(default_factory=lambda: defaultdict(set))
    landed: dict[date, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, root: str, text: str) -> "User":
        """The user with an id.

        Raises:
            WorkFailedError: the root's user ids are int64 and the text is none.
        """
        if RootSettings.of(root).is_text("user_id"):
            return cls(text, _number(root, text), is_text=True)
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not -(2**63) <= number < 2**63:
            raise WorkFailedError(
                f"--user-id {text!r} is no int64, as this root's user ids are; text ids need user_id = "
                '"text" in [ids] of settings.toml'
            )
        return cls(str(number), number, is_text=False)

    def requested(self, days: Iterable[date], *, landed: bool) -> set[str]:
        """request_id of the user's requests of some dates.

        Args:
            landed: those of the landing files too. A request_id is unique within a date alone, and of a landed one the
                date is not certain: where rows are known by their date, it does not count.
        """
        days = list(days)
        ids = set().union(*(self.requests.get(day, ()) for day in days))
        return ids.union(*(self.landed.get(day, ()) for day in days)) if landed else ids

    def is_in(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether each value, of whatever type, is the user's id; never null."""
        if pa.types.is_integer(values.type) and not self.is_text:
            within = values.cast(pa.int64(), safe=False)  # above an int64 it is nobody's
            return pc.fill_null(pc.equal(within, pa.scalar(self.id)), False)
        held, equal = texts(values), None
        if self.is_text:
            equal = pc.equal(held, self.text)
            if pa.types.is_int64(values.type) and self.id is not None:
                equal = pc.or_kleene(equal, pc.equal(values, self.id))
        elif pa.types.is_floating(values.type):
            equal = pc.equal(values, pa.scalar(float(self.id), values.type))
        else:
            sign, digits = ("-", self.text[1:]) if self.text.startswith("-") else (r"\+?", self.text)
            equal = pc.match_substring_regex(held, rf"^\s*{sign}0*{re.escape(digits)}(\.0*)?\s*$")
        return pc.fill_null(equal, False)


def texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value as the text that `ingest_logs` makes of an id: a UUID is its 36 characters, a number its digits."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        values, kind = (
            pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type),
            kind.storage_type,
        )
    if pa.types.is_dictionary(kind):
        return texts(values.cast(kind.value_type))
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        named = [value and str(uuid.UUID(bytes=value)) for value in values.to_pylist()]
        return pa.chunked_array([pa.array(named, pa.string())])
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        decoded = [value and value.decode(errors="replace") for value in values.to_pylist()]
        return pa.chunked_array([pa.array(decoded, pa.string())])
    return values.cast(pa.string())


def _number(root: str, text: str) -> int | None:
    """The id that `ids/user_id` has for a text."""
    if not delta_log.exists(Root.of(root), ids.user_id):
        return None
    rows = delta(root, ids.user_id).to_pyarrow_dataset().to_table(columns=["id"], filter=pc.field("text") == text)
    return rows["id"][0].as_py() if rows.num_rows else None
