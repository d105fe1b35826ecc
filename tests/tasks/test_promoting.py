"""What a scheduled run left to be decided, by the real ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from abi.audit.entry import Draft, Kind
from abi.config import load_config
from tasks.decisions import open_ledger
from tasks.promoting import pending
from tasks.stage import Call
from tasks.workspace import Workspace


@pytest.mark.parametrize(
    ("kind", "passed", "left"),
    [("gates", False, False), ("gates", True, True), ("promotion", None, False), ("quarantine", None, False)],
)
def test_a_version_is_judged_once_it_failed_or_was_promoted(
    tmp_path: Path, kind: Kind, passed: bool | None, left: bool
) -> None:
    """Gates that it passed alone are what a kill before the promotion leaves."""
    call = Call.of(Workspace.open(tmp_path / "ws"), "shop", load_config(ambient=False))
    ledger = open_ledger(call)
    assert pending(call, 3)
    ledger.append(Draft(kind="gates", model="shop", detail={"version": 2, "passed": False}))
    assert pending(call, 3)
    ledger.append(Draft(kind=kind, model="shop", detail={"version": 3, "passed": passed}))
    assert pending(call, 3) is left
    never = load_config(None, {"schedule.promote": "never"}, ambient=False)
    assert not pending(Call.of(call.ws, "shop", never), 3)
