"""The environment that the README's two commands run in: checked, made once beside setup.py, entered.

Standard library only, and syntax that any Python from 3.6 on can read, so that a wrong Python gets one clear line.
An interpreter that already has what setup.py pins, with this checkout installed in it (`pip install -e`), is used
as it is; otherwise `.venv` is. There is nothing to configure: pip uses the index that it is set up with.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
VENV = PROJECT / ".venv"
STAMP = VENV / "headrace.json"
PYTHONS = ((3, 11), (3, 12))
JAVA = 17
RUN_EXTRAS = ("spark", "train", "airflow", "report")
TEST_EXTRAS = (*RUN_EXTRAS, "test")
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"  # as schemas.storage.session has it; a test compares


def enter(extras, command):
    """Return if this interpreter has what is needed; otherwise make `.venv` and run `command` in it instead.

    Args:
        extras: names of setup.py's extras.
        command: what to run there, without the interpreter: `["-m", "module", "--flag"]`.

    Exits with one line that says what to install if Java, Python or a package is missing.
    """
    check_java()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not is_ready(extras):
        python = install(extras)
        if sys.executable == python:
            sys.exit(f"{VENV} is not usable though it was just set up: remove it and run the command again")
        os.execv(python, [python, *command])
    resolve_delta()


def check_java():
    """The path of a Java that Spark can use: JAVA_HOME's, or the first on PATH."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    found = "none was found on PATH"
    if java:
        version = _output([java, "-version"])
        number = re.search(r'version "(?:1\.)?(\d+)', version)
        if number and int(number.group(1)) >= JAVA:
            return java
        what = f"Java {number.group(1)}" if number else "no working Java"
        found = f"{'JAVA_HOME has' if home else 'PATH has'} {what} at {java}"
    sys.exit(
        f"headrace needs Java {JAVA} or newer, but {found}: install it (Debian, Ubuntu: apt-get install "
        f"openjdk-{JAVA}-jre-headless; macOS: brew install openjdk@{JAVA}) and set JAVA_HOME if it is not on PATH"
    )


def find_python():
    """The path of a Python of the right version: this one, or one on PATH that really runs."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for version in reversed(PYTHONS):
        found = shutil.which("python{}.{}".format(*version))
        # A version manager's stand-in exists without the version behind it.
        if found and _output([found, "-c", "import sys; print(*sys.version_info[:2])"]).split() == [*map(str, version)]:
            return found
    return sys.exit(
        "headrace needs Python 3.11 or 3.12, but this is {}.{}.{} and PATH has no other: install one (Debian, Ubuntu: "
        "apt-get install python3.11 python3.11-venv; macOS: brew install python@3.12)".format(*sys.version_info[:3])
    )


def requirements(extras):
    """What setup.py pins for these extras, as `{name: version}`; it is read, not run.

    Raises:
        KeyError: setup.py has no such extra.
    """
    tree = ast.parse((PROJECT / "setup.py").read_text())
    lists = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    call = next(node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    named = keywords["extras_require"]
    by_extra = {key.value: lists[value.id] for key, value in zip(named.keys, named.values)}  # noqa: B905 (Python 3.6)
    pins = ast.literal_eval(keywords["install_requires"]) + [pin for extra in extras for pin in by_extra[extra]]
    return dict(pin.split("==") for pin in pins)


def is_ready(extras):
    """Whether this interpreter has everything already."""
    if sys.version_info[:2] not in PYTHONS:
        return False
    if Path(sys.prefix) == VENV:
        return _stamped(extras)
    from importlib import metadata

    try:
        # Beside the installed one there may be the checkout's own egg-info, which says nothing of its origin.
        origins = [each.read_text("direct_url.json") or "{}" for each in metadata.distributions(name="headrace")]
        pins = requirements(extras).items()
        satisfied = all(metadata.version(name).split("+")[0] == version for name, version in pins)
    except metadata.PackageNotFoundError:
        return False
    return satisfied and any(json.loads(origin).get("url") == PROJECT.as_uri() for origin in origins)


def install(extras):
    """Make `.venv`, or finish one that was interrupted, and return its interpreter."""
    python = str(VENV / "bin" / "python")
    if _stamped(extras) and _output([python, "-c", "import sys; print(sys.prefix)"]).strip() == str(VENV):
        return python
    if STAMP.exists():
        STAMP.unlink()
    usable = "pip " in _output([python, "-m", "pip", "--version"])
    maker = None if usable else find_python()
    say(f"setting up {VENV} (3-5 minutes, once)")
    if maker:
        made = subprocess.run([maker, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.DEVNULL)
        if made.returncode:
            sys.exit(f"{VENV} could not be made: install Python's venv (Debian, Ubuntu: apt-get install python3-venv)")
    log = VENV / "install.log"
    command = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command.append("--no-compile")  # a third of the time; what is imported is compiled then
    status = follow("installing packages", [*command, "-e", f"{PROJECT}[{','.join(extras)}]"], log)
    if status:
        sys.exit(f"pip could not install the packages: {last_error(log)} (all of it: {log}); run the command again")
    STAMP.write_text(json.dumps({"extras": list(extras), "setup": _fingerprint()}))
    return python


def delta_jars():
    """The paths of Delta's own jars in Ivy's folder; none if they were never resolved."""
    folders = sorted(Path.home().glob(".ivy2*/jars"))
    wanted = ("delta-spark_4.2_2.13", "delta-storage", "delta-kernel-api", "delta-kernel-defaults")
    version = DELTA_PACKAGE.split(":")[-1]
    for folder in reversed(folders):
        jars = [folder / f"io.delta_{name}-{version}.jar" for name in wanted]
        others = [*folder.glob(f"io.delta_delta-kernel-unitycatalog-{version}.jar"), *folder.glob("io.unitycatalog_*")]
        if all(jar.exists() for jar in jars) and others:
            return jars + sorted(others)
    return []


def resolve_delta():
    """Let Spark fetch the Delta jar, once per machine, without its many lines about it."""
    if delta_jars():
        return
    probe, log = VENV / "resolve_delta.py", VENV / "resolve_delta.log"
    VENV.mkdir(exist_ok=True)
    probe.write_text("# Nothing to run: Spark resolves its packages first.\n")
    command = ["spark-submit", "--master", "local[1]", "--packages", DELTA_PACKAGE, str(probe)]
    status = follow("fetching the Delta jar (87 MB, once)", command, log)
    if status or not delta_jars():
        sys.exit(
            f"Spark could not fetch {DELTA_PACKAGE}: {last_error(log)} (all of it: {log}). If it says 'download "
            "failed', a half-filled local Maven repository is in the way: move ~/.m2/repository aside and run again"
        )


def follow(title, command, log, telling=""):
    """Run a command with its output in a log file and a progress line on standard error; returns its exit status.

    The progress line ends in the last line of output that starts with `telling`.
    """
    live, started, said = sys.stderr.isatty(), time.monotonic(), 0.0
    if not live:
        say(title)
    with open(str(log), "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=str(PROJECT))
        try:
            while process.poll() is None:
                time.sleep(0.2)
                seconds = time.monotonic() - started
                if live:
                    sys.stderr.write(f"\r\033[K{title}, {seconds:.0f} s  {_last_line(log, telling)[:60]}"[:120])
                    sys.stderr.flush()
                elif seconds - said >= 30:
                    said = seconds
                    say(f"{title}, {seconds:.0f} s  {_last_line(log, telling)[:60]}")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if live:
        sys.stderr.write("\r\033[K")
    say(f"{title}: {'failed after' if process.returncode else 'done in'} {time.monotonic() - started:.0f} s")
    return process.returncode


def last_error(log):
    """The last line of a log that speaks of an error, else its last line."""
    lines = [line.strip() for line in Path(str(log)).read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|exception|fail", line, re.IGNORECASE)]
    return (errors or lines or ["it said nothing"])[-1][:300]


def say(message):
    """One line on standard error."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def _last_line(log, telling):
    with open(str(log), "rb") as output:
        output.seek(max(0, os.path.getsize(str(log)) - 8000))
        lines = output.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip() and line.startswith(telling)), "")


def _stamped(extras):
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return stamp["setup"] == _fingerprint() and set(extras) <= set(stamp["extras"])


def _fingerprint():
    return hashlib.sha256((PROJECT / "setup.py").read_bytes() + str(PROJECT).encode()).hexdigest()


def _output(command):
    """What a command prints, on either stream; nothing if it does not run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")
