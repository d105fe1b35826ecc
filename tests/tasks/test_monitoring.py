"""When drift makes a retraining due, as the ledger has it."""

from __future__ import annotations

import datetime

import pytest

from abi.audit.entry import Aliases, Draft
from abi.config import load_config
from abi.monitoring.alarm import Alarm
from tasks.ledger import Ledger
from tasks.monitoring import drift_due, last_alarm, last_retraining
from tasks.workspace import Workspace

CONFIG = load_config(settings={"monitor.cooldown": "1h"}, ambient=False)
SINCE = "2026-11-25T12:00:00Z"


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(Workspace.open(tmp_path / "ws"), CONFIG.audit)


def enter(ledger, alarm, version=1, model="shop"):
    detail = {"alarm": alarm, "version": version, "since": SINCE if alarm else None, "reasons": ["x moved", "y moved"]}
    ledger.append(Draft(kind="drift", model=model, values={"reference": "r"}, detail=detail))


def promote(ledger, version):
    ledger.change(Draft(kind="promotion", model="shop"), lambda now: Aliases(champion=version, seq=now.seq))


def later(minutes):
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)


def test_nothing_is_due_before_anybody_looked_or_without_an_alarm(ledger):
    assert drift_due(ledger, "shop", CONFIG, later(0)) is None
    enter(ledger, alarm=True)
    enter(ledger, alarm=False)
    assert drift_due(ledger, "shop", CONFIG, later(0)) is None


def test_an_alarm_makes_it_due_for_its_own_model(ledger):
    enter(ledger, alarm=True)
    assert drift_due(ledger, "shop", CONFIG, later(0)) == "drift: x moved; y moved"
    assert drift_due(ledger, "bank", CONFIG, later(0)) is None


def test_not_again_before_the_cooldown_has_passed(ledger):
    ledger.append(Draft(kind="trigger", model="shop", detail={"triggers": ["cron"]}))
    enter(ledger, alarm=True)
    assert drift_due(ledger, "shop", CONFIG, later(0))
    ledger.append(Draft(kind="trigger", model="shop", detail={"triggers": ["drift", "new data"], "training": "0"}))
    ledger.append(Draft(kind="trigger", model="shop", detail={"triggers": ["cron"]}))
    ledger.append(Draft(kind="trigger", model="bank", detail={"triggers": ["drift"], "training": "1"}))
    ledger.append(
        Draft(kind="trigger", model="shop", detail={"triggers": ["cron", "drift"]})
    )  # held: nothing was trained
    assert drift_due(ledger, "shop", CONFIG, later(59)) is None
    assert drift_due(ledger, "shop", CONFIG, later(61))
    times = [e.time for e in ledger.entries(kinds=("trigger",), model="shop")]
    assert last_retraining(ledger, "shop") == datetime.datetime.fromisoformat(times[1])


def test_another_champion_has_drifted_from_nothing_yet(ledger):
    enter(ledger, alarm=True)
    promote(ledger, 1)
    assert drift_due(ledger, "shop", CONFIG, later(0))
    promote(ledger, 2)
    assert drift_due(ledger, "shop", CONFIG, later(0)) is None
    enter(ledger, alarm=True, version=2)
    assert drift_due(ledger, "shop", CONFIG, later(0))


def test_the_alarm_of_another_reference_does_not_count(ledger):
    assert last_alarm(ledger, "shop", "r") == Alarm()
    enter(ledger, alarm=True)
    assert last_alarm(ledger, "shop", "r") == Alarm(on=True, since=SINCE)
    assert last_alarm(ledger, "shop", "another") == Alarm()
