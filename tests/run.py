"""Lint, format check and tests, in an environment that is made on the first run: `python3 tests/run.py [pytest's]`.

Further arguments are pytest's own: `python3 tests/run.py tests/models/increc/test_model.py -k presets`.
"""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from examples.taobao import environment  # noqa: E402 (a script's own folder is on sys.path, the project is not)

if __name__ == "__main__":
    environment.enter(environment.TEST_EXTRAS, [str(Path(__file__).resolve()), *sys.argv[1:]])
    os.chdir(str(PROJECT))
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        if subprocess.call([sys.executable, "-m", *check]):
            sys.exit(f"{' '.join(check)} found faults, named above; the tests were not run")
    sys.stdout.flush()
    # A file's tests share what is costly to make; a Spark session keeps about one core busy.
    side_by_side = ["-n", "2", "--dist", "loadfile"]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *side_by_side, *sys.argv[1:]])
