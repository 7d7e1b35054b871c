"""schemas/storage/id_texts.py: the producer's text of ids."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from schemas.storage import id_texts
from schemas.table import ContractError


def put_texts(root, texts):
    rows = {"id": pa.array(texts, pa.int64()), "text": list(texts.values())}
    write_deltalake(f"{root}/ids/item_id", pa.table(rows | {"first_date": [date(2024, 3, 1)] * len(texts)}))
    (root / "settings.toml").write_text('[ids]\nitem_id = "text"\n')


def test_texts_come_in_the_order_of_the_ids(tmp_path):
    put_texts(tmp_path, {5: "five", -7: "minus seven"})
    found = id_texts.texts(str(tmp_path), "item_id", np.array([-7, 5, -7]))
    assert found.to_pylist() == ["minus seven", "five", "minus seven"]
    assert id_texts.texts(str(tmp_path), "user_id", np.array([1])) is None


def test_without_the_setting_there_are_none(tmp_path):
    assert id_texts.texts(str(tmp_path), "item_id", np.array([1])) is None


def test_an_id_without_a_text_is_named(tmp_path):
    put_texts(tmp_path, {5: "five"})
    with pytest.raises(ContractError, match="ids/item_id lacks the text of 2 ids, such as 9"):
        id_texts.texts(str(tmp_path), "item_id", np.array([5, 9, 10]))
