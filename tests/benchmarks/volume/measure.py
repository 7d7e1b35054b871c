"""What a command costs, with every process that it starts: `python -m volume.measure OUT COMMAND...`.

OUT becomes JSON: status, wall (seconds until the command ended), cpu (user and system seconds of the whole tree), peak
(bytes, of its largest process) and written (bytes that reached the file system, spills and shuffles included).
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_BLOCK = 512


def measured(command: list[str], cwd: Path, folders: list[Path]) -> dict:
    """Run the command in a process of its own and return what it cost, and its standard output as `output`.

    Args:
        folders: go first on the command's PYTHONPATH.

    Raises:
        RuntimeError: the command failed; its standard error's end is in the message.
    """
    paths = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    with tempfile.NamedTemporaryFile() as out:
        launched = [sys.executable, "-W", "ignore", "-m", "volume.measure", out.name, *command]
        done = subprocess.run(
            launched, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        return json.loads(Path(out.name).read_text()) | {"output": done.stdout}


def _run(out: str, command: list[str]) -> int:
    # Python leaves its JVM behind when it ends; as its new parent this process gets to know what it used.
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("this system does not hand orphans to a chosen process; measure on Linux")
    started = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    wall = time.monotonic() - started
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
        "written": used.ru_oublock * _BLOCK,
    }
    Path(out).write_text(json.dumps(cost))
    return status


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
