"""A Delta table loses rows in one commit that rewrites only the files that hold them."""

from jobs.erasure import versioned
from jobs.erasure.user import User
from schemas.storage import arrow, delta_log
from schemas.storage.root import Root
from schemas.tables.logs import retrievals
from tests.support import tiny_root
from tests.support.worked_example import DAY


def test_only_the_files_that_hold_rows_are_rewritten(tmp_path):
    for number in range(4):
        rows = [(f"{name}{number}", "hot", [1], []) for name in "ab"]
        tiny_root.put_delta(tmp_path, "retrievals", DAY, rows)
    user = User("7", 7, is_text=False)
    user.requests[DAY] |= {"a1", "a3", "b3", "unknown"}
    erased = versioned.erase(str(tmp_path), retrievals, user)
    assert (erased.rows, erased.files) == (3, 2)
    assert sorted(arrow.read(str(tmp_path), retrievals, DAY)["request_id"].to_pylist()) == [
        "a0",
        "a2",
        "b0",
        "b1",
        "b2",
    ]
    assert delta_log.version(Root.of(str(tmp_path)), retrievals) == 4
    assert [change.changes_rows for change in delta_log.file_changes(Root.of(str(tmp_path)), retrievals, 3)] == (
        [False] * 3  # two files gone, one written with b1: no later job has anything to follow
    )
