"""Makes `.venv` for the README's two commands and runs them in it.

uv installs the packages that setup.py pins. uv takes the package index that pip is configured with.

Standard library only, in the syntax of Python 3.6: another Python gets one clear line instead of a SyntaxError.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
VENV = PROJECT / ".venv"
PYTHONS = ((3, 11), (3, 12))
JAVA = 17
EXTRAS = "spark,sail,train,airflow,report,test"
# pip's settings of where packages come from, as environment variables that uv reads.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def enter(command):
    """Return inside `.venv`; outside, make it if necessary and replace this process by `command` in it.

    Args:
        command: arguments for Python: `["-m", "module", "--flag"]`.

    Exits with one line if Java or Python is missing or of the wrong version, or if the installation fails.
    """
    check_python()
    check_java()
    if not is_installed():
        install()
    elif Path(sys.prefix) == VENV:
        os.environ["PATH"] = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
        return
    os.execv(python(), [python(), *command])


def check_python():
    if sys.version_info[:2] not in PYTHONS:
        sys.exit(
            "headrace needs Python 3.11 or 3.12, but this is {}.{}.{}: install one (Debian, Ubuntu: apt-get install "
            "python3.11 python3.11-venv; macOS: brew install python@3.12) and run the command "
            "with it".format(*sys.version_info[:3])
        )


def check_java():
    """Return the path of the Java that Spark will use: JAVA_HOME's, else the first on PATH."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    problem = "none was found on PATH"
    if java:
        version = re.search(r'version "(?:1\.)?(\d+)', output([java, "-version"]))
        if version and int(version.group(1)) >= JAVA:
            return java
        what = f"Java {version.group(1)}" if version else "no working Java"
        problem = f"{'JAVA_HOME has' if home else 'PATH has'} {what} at {java}"
    return sys.exit(
        f"headrace needs Java {JAVA} or newer, but {problem}: install it (Debian, Ubuntu: apt-get install "
        f"openjdk-{JAVA}-jre-headless; macOS: brew install openjdk@{JAVA}) and set JAVA_HOME if it is not on PATH"
    )


def install():
    """Make `.venv` from nothing; the stamp is written last, so an interrupted installation is never used."""
    sys.stderr.write(f"making {VENV} (about a minute, once)\n")
    base = getattr(sys, "_base_executable", sys.executable)  # inside .venv, the Python that .venv was made from
    if subprocess.run([base, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{base} could not make {VENV}: it lacks venv or pip (Debian, Ubuntu: apt-get install python3-venv)")
    if subprocess.run([python(), "-m", "pip", "install", "--quiet", "uv"]).returncode:
        sys.exit("pip could not install uv; its lines above say why. Run the command again")
    uv = [python(), "-m", "uv", "pip", "install", "--python", python()]
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    variables = dict(index_variables(), **os.environ)
    if subprocess.run([*uv, *quiet, "-e", f"{PROJECT}[{EXTRAS}]"], env=variables).returncode:
        sys.exit("uv could not install the packages; its lines above say why. Run the command again")
    stamp().write_text(fingerprint())


def index_variables():
    """Return pip's settings of where packages come from as environment variables of uv."""
    listed = output([python(), "-m", "pip", "config", "list"])
    variables = {}
    for section in (":env:", "install", "global"):  # in the order in which pip lets one setting replace another
        for name, text in re.findall(rf"^{section}\.([a-z-]+)=('.*'|\".*\")\s*$", listed, re.MULTILINE):
            values = ast.literal_eval(text).split()
            if name == "find-links":  # pip passes over a folder that does not exist; uv does not
                values = [each for each in values if "://" in each or Path(each).exists()]
            if name in UV_VARIABLES and values:
                variables.setdefault(UV_VARIABLES[name], ("," if name == "find-links" else " ").join(values))
    return variables


def is_installed():
    return Path(python()).exists() and stamp().exists() and stamp().read_text() == fingerprint()


def fingerprint():
    """Identify what an environment was made for: the pinned packages, the extras and this folder."""
    return hashlib.sha256((PROJECT / "setup.py").read_bytes() + f"{PROJECT} {EXTRAS}".encode()).hexdigest()


def python():
    return str(VENV / "bin" / "python")


def stamp():
    return VENV / "headrace-installed"


def output(command):
    """Return what a command prints, on either stream; "" if it cannot be started."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")
