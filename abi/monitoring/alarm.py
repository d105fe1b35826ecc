"""The alarm: when it goes on, when off, and when a retraining is due. Pure: what came before is given."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abi.values import Value

if TYPE_CHECKING:
    from abi.operations import MonitorConfig


@dataclass(frozen=True, kw_only=True)
class Alarm(Value):
    """Whether the alarm is on, since when (ISO 8601, UTC), and whether a retraining is due for it."""

    on: bool = False
    since: str | None = None
    due: bool = False


def step(
    before: Alarm,
    level: float | None,
    now: datetime.datetime,
    retrained: datetime.datetime | None,
    config: MonitorConfig,
) -> Alarm:
    """The alarm after one more look.

    Args:
        before: as it was.
        level: figures over their limits, 1 being at the limit; None where there were too few rows to judge.
        now: the time, with its zone.
        retrained: when drift last led to a retraining.
        config: hysteresis and cooldown.
    """
    on = before.on if level is None else level > (config.hysteresis if before.on else 1)
    since = (before.since or stamp(now)) if on else None
    return Alarm(on=on, since=since, due=on and cooled(now, retrained, config))


def cooled(now: datetime.datetime, retrained: datetime.datetime | None, config: MonitorConfig) -> bool:
    """Whether drift may lead to a retraining again."""
    return retrained is None or (now - retrained).total_seconds() >= config.cooldown


def stamp(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC, as the ledger writes it."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
