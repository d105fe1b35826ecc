"""Schedules as a person reads them: when they look, what the last looks said, what is next, what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from abi.errors import SHOWN
from abi.units import show_duration
from tasks.terminal import print_table


def show_schedules(found: list[dict[str, Any]], *, no_color: bool = False) -> None:
    """Print what `tasks.deployments.show` and `tasks.scheduling.next_and_missed` told of each."""
    if not found:
        print_table(["no schedules: make one with `abi schedule DATA --target COL`"], [], no_color=no_color)
    for one in found:
        facts = [
            ("schedule", _head(one)),
            ("cron due", _times([one["due"]])),
            ("next looks", _times(one["next"])),
            ("missed", _times(one["missed"])),
        ]
        print_table([one["name"], "paused" if one["paused"] else ""], facts, no_color=no_color)
        looks = [(_time(run["expected"]), run["state"], run["message"] or "") for run in one["last"]]
        print_table(["last look", "state", "what it said"], looks, no_color=no_color)


def _head(one: dict[str, Any]) -> str:
    parts = [
        "" if one["cron"] is None else f"cron {one['cron']} ({one['timezone']})",
        "" if one["poll_s"] is None else f"a look every {show_duration(one['poll_s'])}",
        f"work pool {one['pool']}" if one["pool"] else "served",
    ]
    return ", ".join(filter(None, parts))


def _times(times: Sequence[str | None]) -> str:
    known = [_time(time) for time in times if time]
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more or "none"


def _time(time: str) -> str:
    """2026-11-25T03:00:00+00:00 -> 2026-11-25 03:00Z."""
    return f"{time[:16].replace('T', ' ')}Z"
