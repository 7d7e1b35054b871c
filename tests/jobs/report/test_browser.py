"""jobs/report/browser, by Textual's pilot: from the tables down to a request's story and back, with keys alone."""

import asyncio
import subprocess
import sys

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Footer, Static

from jobs.report import browser
from jobs.report.browser import Browser
from tests.support import tiny_root
from tests.support.project import PROJECT


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    tiny_root.put_all(folder)
    return str(folder)


async def press(pilot: Pilot, *keys: str) -> None:
    """Press keys one by one, each when what the last one opened is there."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot)


async def settled(pilot: Pilot) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def listed(pilot: Pilot) -> list[list[str]]:
    table = pilot.app.screen.query_one(DataTable)
    return [[str(cell) for cell in table.get_row_at(number)] for number in range(table.row_count)]


def words(pilot: Pilot) -> str:
    return str(pilot.app.screen.query_one("#words", Static).content)


def browse(root: str, steps) -> None:
    async def run():
        async with Browser(root).run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            await steps(pilot)

    asyncio.run(run())


def test_from_tables_to_a_requests_story_and_back(root):
    async def steps(pilot):
        paths = [row[0] for row in listed(pilot)]
        assert paths[:2] == ["landing/requests", "landing/retrievals"]
        await press(pilot, *["down"] * paths.index("labels/target_groups"), "enter")
        assert [row[:2] for row in listed(pilot)] == [["2024-03-01", "11"], ["2024-02-29", "1"]]
        await press(pilot, "enter")
        assert "labels/target_groups  Delta, key request_id, item_id, group" in words(pilot)
        await press(pilot, "r")
        assert [row[0] for row in listed(pilot)] == ["r4", "r1", "r5", "r2", "r3"]
        await press(pilot, "down", "enter")
        assert words(pilot).startswith("Request r1  2024-03-01 10:00:00 UTC, homepage")
        await press(pilot, "escape", "escape", "escape", "escape", "escape")
        assert [row[0] for row in listed(pilot)] == paths  # the first page has no way back

    browse(root, steps)


def test_a_request_is_found_by_its_id(root):
    async def steps(pilot):
        await press(pilot, "slash", "r", "2", "enter")
        assert words(pilot).startswith("Request r2")
        await press(pilot, "escape", "slash", "n", "o", "enter")
        assert "logs/requests has no request 'no'" in words(pilot)

    browse(root, steps)


def test_keys_are_shown(root):
    async def steps(pilot):
        shown = {
            binding.binding.description for binding in pilot.app.screen.active_bindings.values() if binding.enabled
        }
        assert {"Open", "Back", "Quit", "Find a request"} <= shown
        assert pilot.app.screen.query_one(Footer)

    browse(root, steps)


def test_a_date_without_requests_says_so(root, monkeypatch):
    async def steps(pilot):
        paths = [row[0] for row in listed(pilot)]
        await press(pilot, *["down"] * paths.index("labels/target_groups"), "enter", "down", "enter", "r")
        assert isinstance(pilot.app.screen, browser.Requests)
        assert listed(pilot) == []
        assert [str(each.message) for each in pilot.app._notifications] == ["logs/requests has no 2024-02-29"]

    browse(root, steps)


def test_a_pipe_is_no_terminal(root):
    command = [sys.executable, "-m", "jobs.browse_root", "--root"]
    done = subprocess.run([*command, root], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "browse_root: this is no terminal to browse in; jobs.inspect_table prints the same views"
    ]
    done = subprocess.run([*command, f"{root}/none"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("browse_root: there is no root")
