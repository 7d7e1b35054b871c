"""jobs/ingestion/producer_language.py: rows of `retrievals` as a root's settings.toml has a producer write them."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs.ingestion.producer_language import ProducerLanguage
from schemas.storage.root import Root
from schemas.table import SettingsError
from schemas.tables.logs import retrievals
from tests.support.tiny_root import rows

ROWS = rows("retrievals", [("r1", "increc", [7, 5], [0.5, 0.25]), ("r2", "increc", [], [])])
IDS, TEXTS = np.array([5, 6, 7]), pa.array(["five", "six", "seven"])


def language(root, text):
    (root / "settings.toml").write_text(text)
    return ProducerLanguage.of(str(root), "increc")


def test_without_settings_rows_are_the_contracts(tmp_path):
    spoken = ProducerLanguage.of(str(tmp_path), "increc")
    assert (spoken.folder, spoken.channel, spoken.table) == ("", "increc", retrievals)
    assert spoken.spoken(ROWS, IDS, None).to_pylist() == ROWS.to_pylist()


def test_text_ids_and_renamed_columns(tmp_path):
    spoken = language(
        tmp_path,
        """
[ids]
item_id = "text"
[logs.retrievals]
columns = { request_id = "rid", item_ids = "skus", channel = "source" }
values = { channel = { "deep channel" = "increc" } }
""",
    )
    assert spoken.folder == ""
    assert spoken.spoken(ROWS, IDS, TEXTS).to_pylist() == [
        {"rid": "r1", "source": "deep channel", "skus": ["seven", "five"], "scores": [0.5, 0.25]},
        {"rid": "r2", "source": "deep channel", "skus": [], "scores": []},
    ]
    assert spoken.spoken(ROWS.take([1, 0]).slice(1), IDS, TEXTS)["skus"].to_pylist() == [["seven", "five"]]
    assert spoken.spoken(ROWS.slice(1), IDS, TEXTS)["skus"].to_pylist() == [[]]


def test_a_channel_in_the_path_is_a_folder_and_no_column(tmp_path):
    spoken = language(tmp_path, '[logs.retrievals]\ncolumns = { channel = "path:source" }\n')
    assert spoken.folder == "/source=increc"
    assert spoken.spoken(ROWS, IDS, None).schema.names == ["request_id", "item_ids", "scores"]
    assert spoken.channels_of(Root.of(str(tmp_path)), "x/date=2024-03-01/source=a%20b/part.parquet") == ["a b"]
    assert spoken.channels_of(Root.of(str(tmp_path)), "x/date=2024-03-01/part.parquet") == []


@pytest.mark.parametrize(
    "text", ['constants = { channel = "hot" }', 'values = { channel = { increc = "hot" } }']
)  # fmt: skip
def test_settings_under_which_no_row_can_be_of_the_channel_are_refused(tmp_path, text):
    with pytest.raises(SettingsError, match=r"logs\.retrievals makes no row the channel increc"):
        language(tmp_path, f"[logs.retrievals]\n{text}\n")


def test_the_channels_of_a_file_by_whichever_name_it_has(tmp_path):
    spoken = language(tmp_path, '[logs.retrievals]\ncolumns = { channel = "source" }\n')
    place = Root.of(str(tmp_path))
    for name in ("source", "channel", "other"):
        parquet.write_table(pa.table({name: ["hot", "hot"]}), tmp_path / f"{name}.parquet")
    found = {name: spoken.channels_of(place, str(tmp_path / f"{name}.parquet")) for name in ("source", "channel")}
    assert found == {"source": ["hot"], "channel": ["hot"]}
    assert spoken.channels_of(place, str(tmp_path / "other.parquet")) == []
