"""jobs/command: Ctrl-C, a closed pipe and a terminal without Unicode are no reason for a traceback."""

import io
import os
import signal
import subprocess
import sys

import pytest

from jobs.command import streams
from tests.support import tiny_root
from tests.support.project import PROJECT

SLEEPER = """
import argparse, datetime, time
from jobs.command import cli
def work(*_):
    print("at work", flush=True)
    time.sleep(60)
cli.run("job", argparse.Namespace(root="r", date=[datetime.date(2024, 3, 1)]), work)
"""
LATE = """
import argparse, datetime, sys
from jobs.command import cli
def work(arguments, day):
    sys.stdin.readline()
    open(arguments.root, "a").write(f"{day} ")
    return {"rows_written": 1}
days = [datetime.date(2024, 3, day) for day in (1, 2)]
cli.run("job", argparse.Namespace(root=sys.argv[1], date=days), work)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    tiny_root.put_logs(folder)
    tiny_root.put_scores(folder)
    return folder


def test_ctrl_c_is_one_line():
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout.readline() == "at work\n"
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=30)
    assert job.returncode == 130
    assert errors.splitlines() == ["job 2024-03-01", "job: stopped; run it again"]


def test_work_goes_on_when_nobody_reads_its_lines(tmp_path):
    done = tmp_path / "done"
    with subprocess.Popen(
        [sys.executable, "-c", LATE, str(done)],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as job:  # fmt: skip
        job.stdout.close()
        job.stdin.write("\n\n")
        job.stdin.close()
        errors = job.stderr.read()
        assert job.wait(timeout=30) == 0
    assert done.read_text() == "2024-03-01 2024-03-02 "
    assert errors.splitlines() == ["job 2024-03-01", "job 2024-03-02"]


@pytest.mark.parametrize("arguments", [["evaluations"], ["evaluations", "--json"], ["--json"], []])
def test_a_pipe_that_was_closed_ends_a_view_quietly(root, arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jobs.inspect_table", *arguments, "--root", root]
    done = subprocess.run(command, cwd=PROJECT, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


@pytest.mark.parametrize("table", [[], ["evaluations"], ["requests"], ["retrievals"]])
def test_an_ascii_terminal_gets_ascii(root, table):
    done = subprocess.run(
        [sys.executable, "-m", "jobs.inspect_table", *table, "--root", root],
        cwd=PROJECT, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert b"\\u" not in done.stdout


def test_what_an_encoding_lacks_is_replaced_by_marks_alike_or_escaped():
    held = io.BytesIO()
    with io.TextIOWrapper(held, encoding="ascii", errors=streams._PLAIN) as stream:
        stream.write("1 ±2 … café 東")
        stream.flush()
        assert held.getvalue() == rb"1 +-2 ... caf\xe9 \u6771"


def test_a_root_of_an_unknown_storage_is_a_line():
    command = [sys.executable, "-m", "jobs.build_channel_value", "--root", "foo://x/y", "--date", "2024-03-01"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "build_channel_value 2024-03-01: the root foo://x/y cannot be opened: Unrecognized filesystem type in URI: "
        "foo://x/y; a root is a folder, or a URI that begins with s3a://, gs://, abfss:// or hdfs://"
    ]
