"""`settings.toml` as text, to paste."""

import json
import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def written(settings: Mapping) -> str:
    """A TOML text of `settings.toml`'s parts; tables inside a section are written in one line each."""
    lines = [f"{_key(name)} = {_value(part)}" for name, part in settings.items() if not isinstance(part, Mapping)]
    if ids := settings.get("ids"):
        lines += ["", "[ids]", *(f"{_key(name)} = {_value(kind)}" for name, kind in ids.items())]
    for log, section in settings.get("logs", {}).items():
        lines += ["", f"[logs.{_key(log)}]", *(f"{_key(name)} = {_value(part)}" for name, part in section.items())]
    return "\n".join(lines).strip() + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(part: object) -> str:
    if isinstance(part, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in part.items()) + " }"
    if isinstance(part, list | tuple):
        return "[" + ", ".join(map(_value, part)) + "]"
    return json.dumps(part, ensure_ascii=False)  # a TOML string, number and boolean are written as JSON's
