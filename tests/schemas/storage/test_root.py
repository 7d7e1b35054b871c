"""Which file system and path a root is: the same place for pyarrow as for Spark."""

import pytest
from pyarrow import fs

from schemas.storage.root import Root
from schemas.table import MissingDataError


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_amazons_store_by_hadoops_name_and_by_arrows(scheme, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # else the bucket's region is asked for
    root = Root.of(f"{scheme}://bucket/day")
    assert isinstance(root.filesystem, fs.S3FileSystem)
    assert root.at("logs/requests") == "bucket/day/logs/requests"


@pytest.mark.parametrize(
    ("uri", "kind", "path"),
    [
        ("gs://bucket/day", "GcsFileSystem", "bucket/day"),
        ("abfss://container@account.dfs.core.windows.net/day", "AzureFileSystem", "container/day"),
    ],
)
def test_googles_and_microsofts_stores(uri, kind, path):
    root = Root.of(uri)
    assert (type(root.filesystem).__name__, root.path) == (kind, path)


def test_a_directory_with_and_without_scheme(tmp_path):
    folder = tmp_path / "50%20 of a day"
    for given in (folder, f"{folder}/", f"file://{folder}"):
        root = Root.of(str(given))
        assert isinstance(root.filesystem, fs.LocalFileSystem)
        assert root.path == str(folder)


def test_an_unknown_scheme_is_named():
    with pytest.raises(MissingDataError, match=r"wasbs.*s3a:"):
        Root.of("wasbs://container@account/day")


@pytest.mark.parametrize("name", ["a%20b", "b\\c"])
def test_a_path_that_delta_would_misread_is_refused(tmp_path, name):
    with pytest.raises(MissingDataError, match=r"deltalake takes .* rename the folder"):
        Root.of(str(tmp_path / name)).check_for_delta()


@pytest.mark.parametrize("name", ["50% off #1", "r[1]{a}*?", "a:b", "ü +"])
def test_any_other_path_is_that_very_folder(tmp_path, name):
    root = Root.of(str(tmp_path / name))
    root.check_for_delta()
    assert root.path == str(tmp_path / name)
