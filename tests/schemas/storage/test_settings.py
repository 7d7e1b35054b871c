"""What settings.toml may say, and the one line that a wrong word gets."""

import re

import pytest

from schemas.storage.settings import LogSettings, RootSettings
from schemas.table import ContractError
from schemas.tables.logs import conversions, requests

CONTRACT = """
time_zone = "Asia/Shanghai"
arrives_within_days = 1
scenarios = ["homepage", "feed"]

[ids]
user_id = "text"
item_id = "text"

[logs.conversions]
columns = { user_id = "uid", item_id = "sku", event_time = "ts" }
units = { event_time = "milliseconds" }
constants = { scenario = "homepage" }
values = { action = { view = "click", buy = "purchase", share = "" } }
"""


def test_without_a_file_each_setting_has_its_default(tmp_path):
    settings = RootSettings.of(str(tmp_path))
    assert (settings.time_zone, settings.arrives_within_days, settings.scenarios) == ("UTC", 0, ("homepage",))
    assert settings.ids == {"user_id": "int64", "item_id": "int64"}
    assert settings.log(conversions) == LogSettings()
    assert settings.log(conversions).recorded == {}


def test_the_example_of_the_contract(tmp_path):
    (tmp_path / "settings.toml").write_text(CONTRACT)
    settings = RootSettings.of(str(tmp_path))
    assert settings.time_zone == "Asia/Shanghai"
    assert settings.arrives_within_days == 1
    assert settings.scenarios == ("homepage", "feed")
    assert all(settings.is_text(name) for name in ("user_id", "item_id", "item_ids"))
    log = settings.log(conversions)
    assert log.columns == {"user_id": "uid", "item_id": "sku", "event_time": "ts"}
    assert log.units == {"event_time": "milliseconds"}
    assert log.constants == {"scenario": "homepage"}
    assert log.values == {"action": {"view": "click", "buy": "purchase", "share": ""}}
    assert settings.log(requests) == LogSettings()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('time_zon = "UTC"', "time_zon is no setting (did you mean time_zone?)"),
        (
            'time_zone = "Asia/Shangai"',
            "time_zone is 'Asia/Shangai', should be an IANA time zone (did you mean Asia/Shanghai?)",
        ),
        ("time_zone = [1]", "time_zone is [1], should be"),
        ("arrives_within_days = -1", "arrives_within_days is -1, should be a whole number from 0"),
        ("arrives_within_days = true", "arrives_within_days is True, should be"),
        ("arrives_within_days = 1.5", "arrives_within_days is 1.5, should be"),
        ('scenarios = "homepage"', "scenarios is 'homepage', should be a list of texts"),
        ("scenarios = []", "scenarios is [], should be"),
        ('[ids]\nuser = "text"', "ids.user is no setting (did you mean user_id?)"),
        ('[ids]\nuser_id = "string"', "ids.user_id is 'string', should be one of int64, text"),
        ("ids = 1", "ids is 1, should be a table: [ids]"),
        ("[logs.conversion]", "logs.conversion is no setting (did you mean conversions?)"),
        (
            '[logs.conversions]\ncolumn = { user_id = "u" }',
            "logs.conversions.column is no setting (did you mean columns?)",
        ),
        (
            '[logs.conversions]\ncolumns = { userid = "u" }',
            "logs.conversions.columns.userid is no setting (did you mean user_id?)",
        ),
        ("[logs.conversions]\ncolumns = { user_id = 1 }", "logs.conversions.columns.user_id is 1, should be a column"),
        ('[logs.retrievals]\ncolumns = { channel = "path:" }', "logs.retrievals.columns.channel is 'path:', should be"),
        (
            '[logs.conversions]\nunits = { event_time = "ms" }',
            "logs.conversions.units.event_time is 'ms', should be one of",
        ),
        ('[logs.conversions]\nunits = { user_id = "seconds" }', "logs.conversions.units.user_id is no setting"),
        (
            '[logs.conversions]\nvalues = { action = { buy = "bought" } }',
            "logs.conversions.values.action.buy is 'bought', should be",
        ),
        (
            "[logs.conversions]\nvalues = { action = { buy = 1 } }",
            "logs.conversions.values.action.buy is 1, should be a text",
        ),
        ('[logs.conversions]\nvalues = { item_id = { a = "b" } }', "logs.conversions.values.item_id is no setting"),
        ("[logs.conversions]\nconstants = { scenario = [] }", "logs.conversions.constants.scenario is [], should be"),
        ('[logs.conversions]\nconstants = { event_id = "e" }', "logs.conversions.constants.event_id: it is the key"),
        (
            '[logs.conversions]\nconstants = { scenario = "s" }\ncolumns = { scenario = "page" }',
            "scenario is in columns and in constants, should be in one of them",
        ),
        ("time_zone = ", "this is no TOML: "),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_what_is_right(tmp_path, text, line):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ContractError, match=re.escape(line)) as fault:
        RootSettings.of(str(tmp_path))
    assert str(fault.value).startswith(str(tmp_path / "settings.toml"))
    assert "\n" not in str(fault.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "settings.toml").write_bytes(b"time_zone = '\xff'")
    with pytest.raises(ContractError, match="is no UTF-8"):
        RootSettings.of(str(tmp_path))


def test_an_open_log_may_have_attributes_of_any_name(tmp_path):
    (tmp_path / "settings.toml").write_text('[logs.users]\ncolumns = { age = "AGE_YEARS" }')
    assert RootSettings.of(str(tmp_path)).logs["users"].columns == {"age": "AGE_YEARS"}
