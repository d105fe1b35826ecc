"""The short form of `make chaos`: the same trials, a seeded sample of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# minutes of forks and of servers that are away, and other programs beside them
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def chaos(*parts: str) -> dict[str, Any]:
    """Run parts in a process of their own: they fork, which a process with threads must not. Nothing may be wrong."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), *parts, "--short", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr[-3000:]
    figures: dict[str, Any] = json.loads(done.stdout)
    for part in parts:
        assert figures[part]["problems"] == [], json.dumps(figures[part]["problems"], indent=1)
    assert done.returncode == 0, done.stderr[-3000:]
    return figures


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """One run of all parts: what they start from takes half a minute to make."""
    return chaos("boundaries", "moments", "decisions", "replies", "disk", "tmpfs", "outages")


def test_every_trial_did_what_it_was_to_do(figures: dict[str, Any]) -> None:
    for part in ("boundaries", "decisions", "disk"):
        assert figures[part]["killed"] == figures[part]["trials"] > 0, part
    assert figures["moments"]["killed"] > 0


def test_each_disturbed_reply_was_met_and_left_no_second_version(figures: dict[str, Any]) -> None:
    assert sum(figures["replies"]["faults met"].values()) == figures["replies"]["trials"] > 0


def test_a_server_that_is_away_is_waited_for_or_done_without(figures: dict[str, Any]) -> None:
    assert figures["outages"]["trials"] == 2
