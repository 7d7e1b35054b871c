"""Where the project lies, and whether the long tests run."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
# Whether tests that try many draws try as many as take hours: HEADRACE_LONG_TESTS=1, the only switch there is.
LONG = bool(os.environ.get("HEADRACE_LONG_TESTS"))
