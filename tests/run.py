"""Check lint and format, then run the tests: `python3 tests/run.py`. The first run makes the environment.

Arguments are pytest's: `python3 tests/run.py tests/models/increc/test_model.py -k presets`.
"""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from examples.taobao import delta_jars, environment  # noqa: E402 (sys.path has the script's folder, not the project)

if __name__ == "__main__":
    environment.enter([str(Path(__file__).resolve()), *sys.argv[1:]])
    delta_jars.fetch()
    os.chdir(str(PROJECT))
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        if subprocess.call([sys.executable, "-m", *check]):
            sys.exit(f"{' '.join(check)} found the faults above; the tests were not run")
    sys.stdout.flush()
    # Tests of one file share what is costly to make; one Spark session keeps about one core busy.
    workers = ["-n", "2", "--dist", "loadfile"]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *workers, *sys.argv[1:]])
