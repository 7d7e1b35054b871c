"""README.md and docs/: their commands, code, links and the paths that they name."""

import re
import shlex
from pathlib import Path

from tests.support.project import PROJECT

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAMS = ("python", "python3", "spark-submit", "airflow", "pip")
ROOMS = ("schemas", "models", "jobs", "airflow_dags", "examples", "tests", "docs")


def commands(document: Path) -> list[list[str]]:
    """The words of every command: in indented and fenced blocks, and in code spans that have arguments.

    A line of a block is a command if it starts with one of PROGRAMS. A backslash continues it.
    """
    text = document.read_text()
    blocks = re.findall(r"^(?: {4,}|\t)(\S.*)$", re.sub(r"\\\n\s*", " ", text), re.MULTILINE)
    blocks += [line for language, code in fenced(document) if language != "python" for line in code.splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_code_blocks(text))]
    lines = [line for line in [*blocks, *spans] if line.split(" ")[0] in PROGRAMS and " " in line]
    return [shlex.split(line, comments=True) for line in lines]


def fenced(document: Path) -> list[tuple[str, str]]:
    """Language and code of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def without_code_blocks(text: str) -> str:
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)


def links(document: Path) -> list[tuple[str, str]]:
    """File and anchor of every link into the project; either may be empty."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(document.read_text()))
    return [(file, anchor) for file, _, anchor in (each.partition("#") for each in targets) if "://" not in file]


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code_blocks(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def named_paths(document: Path) -> list[str]:
    """The code spans that are a path below one of ROOMS."""
    spans = re.findall(r"`([^`\s]+)`", document.read_text())
    return [span for span in spans if re.fullmatch(rf"(?:{'|'.join(ROOMS)})/[\w/.*-]*", span)]
