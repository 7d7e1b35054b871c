"""What is said of a landing file that nobody can read: its path and the innermost cause."""

import base64
import gzip
import re

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyarrow.parquet import encryption

from schemas.table import ContractError
from schemas.tables import logs
from tests.support.ingested import DAY, at, ingest, land_empty

TABLE = pa.table({"request_id": ["r1"], "user_id": [1], "scenario": ["homepage"], "request_time": [at("10:00")]})
REQUIRED = (logs.requests, logs.retrievals, logs.impressions, logs.conversions)


class _Kms(encryption.KmsClient):
    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


def encrypted(path, plaintext_footer: bool) -> None:
    wanted = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["user_id"]}, plaintext_footer=plaintext_footer
    )
    factory = encryption.CryptoFactory(_Kms)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), wanted)
    with parquet.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)


def encrypted_footer(path) -> None:
    encrypted(path, plaintext_footer=False)


def encrypted_column(path) -> None:
    encrypted(path, plaintext_footer=True)


def empty(path) -> None:
    path.write_bytes(b"")


def compressed(path) -> None:
    path.write_bytes(gzip.compress(b"request_id\nr1\n"))


def lines(path) -> None:
    path.write_text('{"request_id": "r1"}\n')


def broken_page(path) -> None:
    """Told by pyarrow before Spark starts, since Spark lacks the codec."""
    parquet.write_table(TABLE, path, compression="brotli")
    pages = bytearray(path.read_bytes())
    start = parquet.read_metadata(path).row_group(0).column(1).dictionary_page_offset
    pages[start : start + 30] = b"x" * 30
    path.write_bytes(pages)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (encrypted_footer, "encrypted"),
        (encrypted_column, "encrypt|decrypt"),
        (empty, "it is empty"),
        (compressed, "it is gzip; land Parquet"),
        (lines, "it is JSON; land Parquet"),
        (broken_page, "the codec BROTLI"),
    ],
)
def test_the_file_and_the_cause_are_told(spark, tmp_path, spoil, cause):
    land_empty(tmp_path, *REQUIRED)
    path = tmp_path / "landing" / "requests" / f"date={DAY}" / "x"
    spoil(path)
    with pytest.raises(ContractError) as fault:
        ingest(tmp_path)
    line = str(fault.value)
    assert line.startswith(f"{path} cannot be read"), line
    assert "\n" not in line
    assert re.search(cause, line), line
    assert not list((tmp_path / "_staging").glob("*/*.parquet"))


def test_a_cause_from_sparks_own_trace():
    from jobs.ingestion import parquet_files

    text = (
        "An error occurred while calling o1.collect.\n: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] "
        "Encountered error while reading file file:///r/a b.parquet.  SQLSTATE: KD001\n\tat org.apache.X\n"
        "Caused by: java.lang.RuntimeException: outer\n\tat x\nCaused by: org.x.Y$Z: Class BrotliCodec was not found\n"
    )
    told = "file:///r/a b.parquet cannot be read: Class BrotliCodec was not found"
    assert parquet_files.told_by_engine(text) == told
