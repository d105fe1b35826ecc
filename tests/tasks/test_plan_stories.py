"""Next steps as a person reads them: a feature in a row, all regions of a picture in one."""

from __future__ import annotations

from typing import Any

import pytest

from abi.planning.explain import PlanExplanation
from abi.planning.steps import NextStep
from abi.problem import Feature, Grid, Schema
from tasks import parts, plan_stories

PHOTO = Grid(
    column="photo", medium="image", channels=3, height=16, width=16, rows=1, cols=3, mean=(90.0,) * 3, deviation=(40.0,) * 3
)  # fmt: skip


def _step(feature: str, attention: float, now: int, gain: float) -> NextStep:
    return NextStep(
        feature=feature, part="network", unit="width", attention=attention, now=now, next=now + 1, parameters=1000,
        memory_bytes=0, gain=gain, gain_per_unit=gain,
    )  # fmt: skip


def test_the_regions_of_a_picture_are_one_row(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    features = [Feature(name="age", column="age", kind="numeric", distinct=9, missing_share=0.0)]
    features += [
        Feature(name=f"photo[1,{c}]", column="photo", kind="region", distinct=9, missing_share=0.0, place=c - 1)
        for c in (1, 2, 3)
    ]
    schema = Schema(target="y", task="regression", classes=(), features=tuple(features), set_aside=(), grids=(PHOTO,))
    steps = (_step("photo[1,2]", 0.25, 3, 0.02), _step("age", 0.5, 4, 0.01), _step("photo[1,1]", 0.125, 1, 0.005), _step("photo[1,3]", 0.125, 1, 0.005))  # fmt: skip
    told = PlanExplanation(
        reasons=(), binding=None, bound="", prices=(), division=None, steps=steps, alternatives=()
    )  # fmt: skip
    parts.show(plan_stories.of_plan(told, schema), no_color=True)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1:3] == ["photo, 3 regions 50.0% 1–3 4 in [1,2] 1k +2.00% +2.00%", "age 50.0% 4 5 1k +1.00% +1.00%"]
