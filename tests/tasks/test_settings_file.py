"""The settings file that `abi init` writes."""

from __future__ import annotations

import re

import yaml

from abi.config import load_config
from tasks.settings_file import commented


def test_it_says_the_defaults_and_loads_as_them(tmp_path):
    path = tmp_path / "abi.yaml"
    path.write_text(commented(), encoding="utf-8")
    assert load_config(path).recorded() == load_config(ambient=False).recorded()
    assert yaml.safe_load(path.read_text())["envelope"]["run_time"] is None


def test_no_comment_stops_in_the_middle():
    comments = [line.split("  # ", 1)[1] for line in commented().splitlines() if "  # " in line]
    assert len(comments) > 100
    assert [c for c in comments if re.search(r"([,;:(]|\b(the|that|its|a|of|and|or))$", c)] == []
