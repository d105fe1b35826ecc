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


def chaos(*parts: str) -> dict[str, Any]:
    """Run parts in a process of their own: they fork, which a process with threads must not."""
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


def test_a_killed_run_or_promotion_loses_nothing_and_does_nothing_twice() -> None:
    figures = chaos("boundaries", "moments", "decisions", "disk")
    assert figures["boundaries"]["killed"] == figures["boundaries"]["trials"] > 0
    assert figures["decisions"]["killed"] == figures["decisions"]["trials"] > 0
    assert figures["moments"]["killed"] > 0
    assert figures["disk"]["killed"] > 0


def test_disturbed_replies_make_one_version_for_each_operation() -> None:
    figures = chaos("replies")
    assert sum(figures["replies"]["faults met"].values()) == figures["replies"]["trials"] > 0


@pytest.mark.slow
def test_a_server_that_is_away_is_waited_for_or_done_without() -> None:
    assert chaos("outages")["outages"]["trials"] == 6
