from __future__ import annotations

import sys

import pytest

from tasks.recording import command_line


def test_the_recorded_command_has_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["abi", "run", "a file.csv", "--set", "audit.url=postgresql://abi:pa/ss@h/db?password=x"]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line() == "abi run 'a file.csv' --set 'audit.url=postgresql://abi:***@h/db?password=***'"
