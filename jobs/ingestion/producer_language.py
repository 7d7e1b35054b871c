"""How a producer of `retrievals` would have written a channel's rows: what `ingest_logs` turns into the contract's."""

import posixpath
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from schemas.storage.root import Root
from schemas.storage.settings import PATH, LogSettings, RootSettings
from schemas.table import STRINGS, SettingsError, Table
from schemas.tables.logs import retrievals

_CHANNEL = "channel"


@dataclass(frozen=True)
class ProducerLanguage:
    """One channel's rows as a root's settings.toml says that `retrievals` are landed.

    channel: the producer's word for the channel.
    """

    settings: LogSettings
    channel: str
    text_items: bool

    @classmethod
    def of(cls, root: str, channel: str) -> "ProducerLanguage":
        """
        Raises:
            SettingsError: the settings give every row another channel or leave the channel's rows out.
        """
        whole = RootSettings.of(root)
        settings = whole.log(retrievals)
        constant = settings.constants.get(_CHANNEL, channel)
        words = settings.values.get(_CHANNEL, {})
        word = next((word for word, meaning in words.items() if meaning == channel), channel)
        if constant != channel or words.get(word, channel) != channel:
            raise SettingsError(
                f"settings.toml: logs.retrievals makes no row the channel {channel}, which this job lands; let "
                f"{_CHANNEL} be a column or a folder, and map no other word over {channel}"
            )
        return cls(settings, word, whole.is_text("item_id"))

    @property
    def folder(self) -> str:
        """What comes below the channel's landing folder: `/NAME=channel` where the channel is a folder's name."""
        name = self._name(_CHANNEL)
        return f"/{name.removeprefix(PATH)}={quote(self.channel)}" if name.startswith(PATH) else ""

    @property
    def table(self) -> Table:
        """The contract of the landed rows."""
        columns = [
            replace(column, name=self._name(column.name), type=STRINGS if self._is_text(column.name) else column.type)
            for column in retrievals.columns
            if self._is_landed(column.name)
        ]
        return replace(retrievals, columns=tuple(columns))

    def spoken(self, rows: pa.Table, item_ids: np.ndarray, texts: pa.Array | None) -> pa.Table:
        """Rows of `retrievals` as the producer writes them.

        Args:
            item_ids: int64 [C], all that the rows may hold. texts: of each, string [C]; None where ids are numbers.
        """
        columns = {name: rows[name] for name in retrievals.names if self._is_landed(name)}
        if _CHANNEL in columns:
            columns[_CHANNEL] = pa.array([self.channel] * len(rows), pa.string())
        if self.text_items:
            lists = rows["item_ids"].combine_chunks()
            words = texts.take(pc.index_in(lists.flatten(), value_set=pa.array(item_ids)))
            offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())])
            columns["item_ids"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words)
        return pa.table(list(columns.values()), schema=self.table.schema)

    def channels_of(self, place: Root, path: str) -> list[str]:
        """The producer's words for the channels in one landed file; none where it has no such column or folder."""
        name = self._name(_CHANNEL)
        if name.startswith(PATH):
            parts = dict(part.partition("=")[::2] for part in posixpath.dirname(path).split("/"))
            return [unquote(parts[name.removeprefix(PATH)])] if name.removeprefix(PATH) in parts else []
        source = dataset.dataset(path, filesystem=place.filesystem, format="parquet")
        name = name if name in source.schema.names else _CHANNEL
        if name not in source.schema.names:
            return []
        return [str(word) for word in pc.unique(source.to_table(columns=[name])[name]).to_pylist()]

    def _name(self, column: str) -> str:
        return self.settings.columns.get(column, column)

    def _is_landed(self, column: str) -> bool:
        return column not in self.settings.constants and not self._name(column).startswith(PATH)

    def _is_text(self, column: str) -> bool:
        return self.text_items and column == "item_ids"
