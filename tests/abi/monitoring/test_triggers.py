from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from abi.monitoring.triggers import FAILURES, Known, decide, missed
from abi.operations import ScheduleConfig

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD, NEW = "a" * 64, "b" * 64
CRON = {"cron": "0 * * * *", "grace": "90min"}
DAY = timedelta(days=1)


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def known(**changes: object) -> Known:
    """Nothing has changed since a run of yesterday."""
    quiet = {"now": NOW, "snapshot": OLD, "last_snapshot": OLD, "trained": 3, "champion_time": NOW - DAY}
    return Known(**{**quiet, **changes})


@pytest.mark.parametrize(
    ("facts", "settings", "triggers", "train"),
    [
        ({}, {}, (), False),
        # data
        ({"snapshot": NEW, "trained": None}, {}, ("new data",), True),
        ({"snapshot": NEW, "trained": None}, {"new_data": False}, (), False),
        ({"last_snapshot": None, "trained": None, "champion_time": None}, {}, ("new data",), True),
        # the data of a run before the last one came back: that model is there
        ({"snapshot": NEW, "trained": 1}, {}, ("new data",), False),
        # cron
        ({"due_times": (ago(minutes=5),), "trained": None}, CRON, ("cron",), True),
        ({"due_times": (ago(minutes=5),)}, CRON, ("cron",), False),
        # drift
        ({"drift": "size has drifted.", "trained": None}, {}, ("drift",), True),
        ({"drift": "size has drifted.", "trained": None}, {"drift": False}, (), False),
        ({"drift": "size has drifted."}, {}, ("drift",), False),
        # age
        ({"trained": None}, {"age": "23h"}, ("age",), True),
        ({"trained": None}, {"age": "24h"}, (), False),
        ({"trained": None, "champion_time": None}, {"age": "1h"}, (), False),
        ({}, {"age": "23h"}, ("age",), False),
        # several at a time are one training
        (
            {"snapshot": NEW, "trained": None, "due_times": (ago(minutes=1),), "drift": "it drifts.", "request": "asked."},
            {**CRON, "age": "1h"},
            ("request", "cron", "new data", "drift", "age"),
            True,
        ),
        # settings or code alone are no trigger
        ({"trained": None}, {}, (), False),
    ],
)  # fmt: skip
def test_what_fires_and_what_is_trained(facts, settings, triggers, train):
    decision = decide(known(**facts), ScheduleConfig(**settings))
    assert decision.triggers == triggers
    assert decision.train is train
    held = bool(triggers) and not train
    assert len(decision.reasons) == len(triggers) + held
    assert all(reason.endswith(".") for reason in decision.reasons)
    assert decision.summary == (" ".join(decision.reasons) or "nothing due")


@pytest.mark.parametrize(
    ("failures", "force", "train"),
    [(0, False, True), (FAILURES - 1, False, True), (FAILURES, False, False), (FAILURES + 5, False, False), (FAILURES, True, True)],
)  # fmt: skip
def test_what_failed_too_often_is_left_until_somebody_asks(failures, force, train):
    decision = decide(known(snapshot=NEW, trained=None, failures=failures, force=force), ScheduleConfig())
    assert decision.train is train
    assert ("--force" in decision.summary) is not train
    assert ("failed" in decision.summary) is not train


def test_force_trains_nothing_that_is_there():
    decision = decide(known(request="asked.", force=True), ScheduleConfig())
    assert not decision.train
    assert "version 3" in decision.summary


def test_reasons_name_what_happened():
    facts = known(snapshot=NEW, trained=None, due_times=(ago(minutes=5),), champion_time=ago(days=9))
    cron, data, age = decide(facts, ScheduleConfig(cron="55 11 * * *", age="7d")).reasons
    assert cron == "Cron was due at 2026-06-01 11:55Z."
    assert data == "The data are snapshot bbbbbbbbbbbb, and the last run's were aaaaaaaaaaaa."
    assert age == "The model is 9 d old, past 7 d."


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((), ()),
        ((30,), ()),  # late, but no newer one is due: this run answers it
        ((2, 1), (2,)),  # one is answered, the one before is later than the grace of 90 minutes
        ((1, 0.5), ()),  # both are within the grace: one run answers them
        ((5, 4, 3, 1.6, 1.4, 0.1), (5, 4, 3, 1.6)),
    ],
)
def test_missed_due_times(hours, expected):
    times = tuple(ago(hours=hour) for hour in hours)
    assert missed(times, NOW, 90 * 60.0) == tuple(ago(hours=hour) for hour in expected)
    decision = decide(known(due_times=times, trained=None), ScheduleConfig(**CRON))
    assert decision.missed == tuple(ago(hours=hour) for hour in expected)
    assert decision.due == (times[-1] if times else None)
    assert decision.train is bool(times)
