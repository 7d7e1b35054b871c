"""The text of every id, where `settings.toml` says that a producer's ids are text."""

import pyarrow as pa

from schemas.table import ID, Column, Table


def _ids(name: str, what: str) -> Table:
    return Table(
        name=name,
        layer="ids",
        storage="delta",
        dated=False,
        doc=f"The text of each {what}'s id that the logs ever had.",
        key=("id",),
        columns=(
            Column("id", ID, "xxhash64 of the text's UTF-8 bytes with seed 42; what every other table holds."),
            Column("text", pa.string(), "The id as the producer writes it."),
            Column("first_date", pa.date32(), "The earliest date whose logs have it."),
        ),
    )


user_id = _ids("user_id", "user")
item_id = _ids("item_id", "item")

IDS = {table.name: table for table in (user_id, item_id)}
