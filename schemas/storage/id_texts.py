"""The producer's text of ids, where `settings.toml` says that ids are text: `ids/user_id` and `ids/item_id`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.storage import arrow
from schemas.storage.settings import RootSettings
from schemas.table import ID, ContractError
from schemas.tables.ids import IDS as ID_TABLES


def texts(root: str, column: str, ids: np.ndarray) -> pa.Array | None:
    """The text of each id, string [N]; None where the ids of this root are numbers.

    Args:
        column: `user_id` or `item_id`.

    Raises:
        MissingDataError: `ids/<column>` does not exist.
        ContractError: it lacks an id.
    """
    if not RootSettings.of(root).is_text(column):
        return None
    table = ID_TABLES[column]
    held = arrow.delta(root, table).to_pyarrow_dataset().to_table(columns=["id", "text"])
    places = pc.index_in(pa.array(ids, ID), value_set=held["id"].combine_chunks())
    if places.null_count:
        number = int(ids[pc.is_null(places).to_numpy(zero_copy_only=False).argmax()])
        raise ContractError(
            f"{table.path} lacks the text of {places.null_count} ids, such as {number}; ingest writes it"
        )
    return held["text"].combine_chunks().take(places)
