"""Attributes of open logs: which types they may have, and how a type changes from date to date."""

from datetime import date

import pyarrow as pa
import pytest

from jobs.ingestion import attributes
from jobs.ingestion.attributes import BOOLEAN, INT, INTS, NUMBER, NUMBERS, TEXT, TEXTS
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import ContractError
from schemas.tables import logs
from tests.support.ingested import DAY, ingest, kept, land, land_empty, refused

REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)
NEXT = date(2024, 3, 2)


def type_of(root, name: str) -> pa.DataType:
    return attributes.recorded(str(root), logs.items)[name]


def column(root, name: str, day: date) -> list:
    rows = arrow.read(str(root), logs.items, day, ["item_id", name]).to_pylist()
    return [row[name] for row in sorted(rows, key=lambda row: row["item_id"])]


def land_items(root, day: date, **columns) -> None:
    land_empty(root, *REQUIRED, day=day)
    land(root, "items", {"item_id": list(range(len(next(iter(columns.values()))))), **columns}, day=day)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ({INT}, INT),
        ({INT, NUMBER}, NUMBER),
        ({NUMBER, TEXT}, TEXT),
        ({BOOLEAN, INT}, TEXT),
        ({INTS, NUMBERS}, NUMBERS),
        ({INTS, TEXTS}, TEXTS),
        ({INT, INTS}, None),
        ({TEXT, TEXTS}, None),
    ],
)
def test_the_narrowest_type_that_holds_both(types, expected):
    assert attributes.joined(types) == expected


def test_landed_types():
    assert attributes.of_landed(["int", "null", "decimal(9,2)"]) == NUMBER
    assert attributes.of_landed(["array<null>", "array<smallint>"]) == INTS
    assert attributes.of_landed(["array<double>"]) == NUMBERS
    assert attributes.of_landed(["date"]) == TEXT
    for none in (
        ["null"],
        ["array<null>"],
        ["timestamp"],
        [None],
        ["array<array<int>>"],
        ["array<boolean>"],
        ["binary"],
    ):
        assert attributes.of_landed(none) is None, none


def test_booleans_dates_and_lists_are_attributes(spark, tmp_path):
    land_items(
        tmp_path,
        DAY,
        new=[True, None, False],
        since=[date(2024, 2, 29), None, date(1969, 12, 31)],
        tags=pa.array([["a", "b"], None, []], pa.list_(pa.string())),
        sizes=pa.array([[1, 2], None, []], pa.list_(pa.uint16())),
        vector=pa.array([[0.5, 1.0], [0.0, 0.25], None], pa.list_(pa.float64())),
        holes=pa.array([["a", None], ["b"], ["c"]], pa.list_(pa.string())),
    )
    ingest(tmp_path, share=0.5)
    assert [str(type_of(tmp_path, name)) for name in ("new", "since", "tags", "sizes", "vector")] == [
        "bool", "string", "list<item: string>", "list<item: int64>", "list<item: float>",
    ]  # fmt: skip
    assert kept(tmp_path, logs.items, "item_id", "new", "since", "tags", "sizes", "vector") == [
        (1, None, None, [], [], [0.0, 0.25]),
        (2, False, "1969-12-31", [], [], []),
    ]
    assert refused(tmp_path, "items", "item_id") == [(0, "holes: null inside the list")]


def test_an_attribute_widens_and_older_dates_stay_readable(spark, tmp_path, capsys):
    land_items(tmp_path, DAY, price=[1, None, 3], stock=[1, 2, 3], kind=[7, 8, 9])
    ingest(tmp_path)
    land_items(tmp_path, NEXT, price=[1.5, 2.0, None], stock=["4", "5", "6"], kind=["new", None, "8"])
    assert ingest(tmp_path, day=NEXT)["tables"]["items"]["quarantined"] == 0
    assert (type_of(tmp_path, "price"), type_of(tmp_path, "stock"), type_of(tmp_path, "kind")) == (NUMBER, INT, TEXT)
    assert column(tmp_path, "price", DAY) == [1.0, None, 3.0]
    assert column(tmp_path, "price", NEXT) == [1.5, 2.0, None]
    assert column(tmp_path, "stock", NEXT) == [4, 5, 6]  # texts that are numbers
    assert (column(tmp_path, "kind", DAY), column(tmp_path, "kind", NEXT)) == (["7", "8", "9"], ["new", None, "8"])
    assert "items: price becomes double; every date of the log is written anew" in capsys.readouterr().err
    # The day before is ingested again: its whole numbers go where numbers are.
    assert ingest(tmp_path)["tables"]["items"]["rows_written"] == 3
    assert column(tmp_path, "price", DAY) == [1.0, None, 3.0]
    assert type_of(tmp_path, "price") == NUMBER


def test_a_type_that_does_not_widen_names_the_flag_that_resets_it(spark, tmp_path):
    land_items(tmp_path, DAY, tags=["a", "b"], size=["1", "x"])
    ingest(tmp_path)
    land_items(tmp_path, NEXT, tags=[["a"], ["b", "c"]], size=[3, 4])
    with pytest.raises(ContractError, match=r"attribute tags is string .* --reset-attribute items\.tags takes"):
        ingest(tmp_path, day=NEXT)
    assert column(tmp_path, "tags", DAY) == ["a", "b"]
    ingest(tmp_path, day=NEXT, reset=("items.tags", "items.size"))
    assert (type_of(tmp_path, "tags"), type_of(tmp_path, "size")) == (TEXTS, INT)
    assert (column(tmp_path, "tags", DAY), column(tmp_path, "tags", NEXT)) == ([None, None], [["a"], ["b", "c"]])
    assert (column(tmp_path, "size", DAY), column(tmp_path, "size", NEXT)) == ([1, None], [3, 4])


def test_a_new_type_is_no_change_of_rows(spark, tmp_path):
    """What looks for late rows by the files of commits finds none."""
    from schemas.storage import delta_log

    land_items(tmp_path, DAY, price=[1, 2])
    ingest(tmp_path)
    version = delta_log.version(Root.of(str(tmp_path)), logs.items)
    land_items(tmp_path, NEXT, price=[1.5, 2.0])
    ingest(tmp_path, day=NEXT)
    changed = delta_log.file_changes(Root.of(str(tmp_path)), logs.items, version)
    assert {change.date for change in changed if change.changes_rows} == {NEXT}
    assert set(delta_log.newest(Root.of(str(tmp_path)), logs.items)) == {DAY, NEXT}
