"""Plans, scores and attention in a terminal, where many features share a row."""

from __future__ import annotations

from typing import Any

import pytest

from abi.media.grid import region_names
from abi.problem import Grid
from tasks import terminal

PHOTO = Grid(
    column="photo", medium="image", channels=3, height=64, width=64, rows=8, cols=8, mean=(90.0,) * 3, deviation=(40.0,) * 3
)  # fmt: skip


@pytest.fixture
def plan(make_report: Any) -> Any:
    return make_report({"age": 0.4}, grids=(PHOTO,)).plan


def test_regions_share_a_row_in_every_table(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (plan, plan.attention, plan.attention.scores):
        terminal.show(value, no_color=True)
        shown = capsys.readouterr().out
        assert sum(line.startswith("photo ") for line in shown.splitlines()) == 1
        assert sum(name in shown for name in region_names(PHOTO)) <= 1  # the best one's name
        assert "64 regions" in shown


def test_a_plan_says_its_multiply_accumulates(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(plan, no_color=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert "of the multiply-accumulates" in shown
    assert "multiply-accumulates per row." in shown
    assert "0–32" in shown  # the range of the regions' channels
