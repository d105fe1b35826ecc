"""Cron expressions: when they are due, in a time zone with its changes between summer and winter.

As in Debian's cron, a time that the clock skips is due right after the change, and one that the clock shows twice is due once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

FIELDS = 5


def check_cron(expression: str) -> str:
    """The expression, which has five fields that mean something.

    Raises:
        ValueError: it is none.
    """
    try:
        if len(expression.split()) == FIELDS:
            CronSim(expression, datetime.now(UTC))
            return expression
        why = f"{len(expression.split())} fields"
    except CronSimError as error:
        why = str(error).lower()
    msg = f"Expected a cron expression of minute, hour, day, month and weekday such as '0 3 * * *', got {expression!r} ({why})."
    raise ValueError(msg)


def check_timezone(name: str) -> str:
    """The name, which is a time zone's.

    Raises:
        ValueError: it is none.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"Expected a time zone such as 'UTC' or 'Europe/Berlin', got {name!r}."
        raise ValueError(msg) from None
    return name


def due_times(
    expression: str, timezone: str, after: datetime, until: datetime, limit: int = 1000
) -> tuple[datetime, ...]:
    """The last `limit` times in (after, until] at which the expression was due, oldest first, in UTC.

    Args:
        expression: five fields.
        timezone: in which the fields are read.
        after: aware; itself not counted.
        until: aware; itself counted.
        limit: most times; the oldest ones are left out.
    """
    zone = ZoneInfo(timezone)
    start = until.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    found: list[datetime] = []
    for time in CronSim(expression, start.astimezone(zone), reverse=True):
        due = time.astimezone(UTC)
        if due <= after or len(found) == limit:
            break
        if due <= until and (not found or due < found[-1]):
            found.append(due)
    return tuple(reversed(found))


def next_due(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first time past `after` at which the expression is due, in UTC; None where there is none."""
    for time in CronSim(expression, after.astimezone(ZoneInfo(timezone))):
        due = time.astimezone(UTC)
        if due > after:
            return due
    return None
