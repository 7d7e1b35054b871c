"""The Delta log: commits of others among ours, and a table whose birth was cut short."""

import pytest
from deltalake import CommitProperties, DeltaTable

from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.table import MissingDataError
from schemas.tables.logs import conversions
from tests.support import tiny_root

EVENT = ("e1", 1, 2, "click", tiny_root.example.at("10:05"), "homepage", None, tiny_root.example.at("10:06"))


@pytest.mark.parametrize("note", ["fixed by hand", "5", "[1]", '{"ticket": 7}', '{"date": 7, "settings": {}}', "null"])
def test_a_commit_with_anybodys_note_stops_nothing(tmp_path, note):
    tiny_root.put_delta(tmp_path, "conversions", tiny_root.DAY, [EVENT])
    before = delta_log.newest(Root.of(str(tmp_path)), conversions)
    table = DeltaTable(str(tmp_path / "logs" / "conversions"))
    table.delete("event_id = 'none'", commit_properties=CommitProperties(custom_metadata={"userMetadata": note}))
    table.optimize.compact(commit_properties=CommitProperties(custom_metadata={"userMetadata": note}))
    assert delta_log.newest(Root.of(str(tmp_path)), conversions) == before


def test_a_folder_without_a_version_is_no_table(tmp_path):
    (tmp_path / "logs" / "conversions" / "_delta_log").mkdir(parents=True)
    root = Root.of(str(tmp_path))
    assert delta_log.newest(root, conversions) == {}
    assert arrow.dates(str(tmp_path), conversions) == []
    with pytest.raises(MissingDataError, match="there is no logs/conversions"):
        arrow.delta(str(tmp_path), conversions)
    tiny_root.put_delta(tmp_path, "conversions", tiny_root.DAY, [EVENT])
    assert arrow.dates(str(tmp_path), conversions) == [tiny_root.DAY]
