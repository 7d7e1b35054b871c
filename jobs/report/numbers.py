"""How numbers are written for people, in the terminal and on the page alike."""

from datetime import date

NOTHING = "-"


def count(value: int | None) -> str:
    """`12,345`; a dash for None."""
    return NOTHING if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """`12.3 %` of .123; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def size(value: int) -> str:
    """`1.5 MB`, in powers of 1,000."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if value >= 1000**power:
            return f"{value / 1000**power:.1f} {unit}"
    return f"{value} B"


def decimal(value: float | None) -> str:
    """Three digits that count, no exponent where it can be read without one; a dash for None."""
    if value is None:
        return NOTHING
    whole = value == int(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.3g}"


def span(days: list[date]) -> str:
    """`2017-11-28 to 2017-11-30`, one date alone."""
    return NOTHING if not days else str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
