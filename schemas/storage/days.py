"""Where a root's dates begin and end: a date is a local day of the root's time zone, stored times are UTC."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def midnight(day: date, time_zone: str) -> datetime:
    """The instant at which a local date begins, in UTC.

    Where the clock jumps over midnight, that is the instant of the jump.
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def bounds(day: date, time_zone: str) -> tuple[datetime, datetime]:
    """The instants [begin, end) of a local date, in UTC: 23 or 25 hours apart where the clock changes."""
    return midnight(day, time_zone), midnight(day + timedelta(days=1), time_zone)


def local_date(instant: datetime, time_zone: str) -> date:
    """The local date that an instant (with a zone) belongs to."""
    return instant.astimezone(ZoneInfo(time_zone)).date()


def dates_between(first: date, last: date) -> list[date]:
    """The dates first..last, both included; none if last is earlier."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
