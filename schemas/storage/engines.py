"""The engines that run Spark jobs, by name, for what imports none of them."""

SPARK, SAIL = ENGINES = ("spark", "sail")
ENGINE = "HEADRACE_ENGINE"  # the environment variable that chooses one where nothing else does
_running: list[str] = []


def running() -> str | None:
    """The engine of this process's latest session, with its version; None if there was no session."""
    return _running[0] if _running else None


def note(engine: str) -> None:
    """Remember what `running` answers."""
    _running[:] = [engine]
