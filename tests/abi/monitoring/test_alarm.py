"""When the alarm goes on and off, and when a retraining is due."""

from __future__ import annotations

import datetime

import pytest

from abi.monitoring.alarm import Alarm, step
from abi.operations import MonitorConfig

CONFIG = MonitorConfig(hysteresis=0.8, cooldown=3600.0)
START = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


def at(minutes):
    return START + datetime.timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("levels", "states"),
    [
        ([0.0, 0.9, 1.0], [False, False, False]),  # the limit itself is not past it
        ([1.1, 0.9, 0.81, 0.79, 0.9], [True, True, True, False, False]),
        ([1.1, 0.79, 1.01], [True, False, True]),
        ([None, 1.2, None, None, 0.1, None], [False, True, True, True, False, False]),  # too few rows to judge
    ],
)
def test_hysteresis(levels, states):
    alarm, seen = Alarm(), []
    for minute, level in enumerate(levels):
        alarm = step(alarm, level, at(minute), None, CONFIG)
        seen.append(alarm.on)
    assert seen == states


def test_an_alarm_remembers_since_when():
    alarm = step(Alarm(), 2.0, at(0), None, CONFIG)
    assert alarm == Alarm(on=True, since="2026-11-25T12:00:00Z", due=True)
    assert step(alarm, 0.9, at(60), None, CONFIG).since == "2026-11-25T12:00:00Z"
    off = step(alarm, 0.1, at(60), None, CONFIG)
    assert off == Alarm()
    assert step(off, 2.0, at(90), None, CONFIG).since == "2026-11-25T13:30:00Z"


@pytest.mark.parametrize(("minutes", "due"), [(0, False), (59, False), (60, True), (600, True)])
def test_cooldown(minutes, due):
    fresh = step(Alarm(), 2.0, at(minutes), START, CONFIG)
    assert (fresh.on, fresh.due) == (True, due)
    still = step(Alarm(on=True, since="x"), 0.9, at(minutes), START, CONFIG)
    assert (still.on, still.due) == (True, due)


def test_nothing_is_due_without_an_alarm():
    assert not step(Alarm(), 0.5, at(0), None, CONFIG).due


def test_the_time_is_told_in_utc():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert step(Alarm(), 2.0, START.astimezone(zone), None, CONFIG).since == "2026-11-25T12:00:00Z"
