"""Images at half their size in the first part of training: what the network sees, when, and what is left of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.errors import UsageError
from abi.inputs.region import RegionEncoder, can_halve
from abi.planning.cost import BACKWARD, pictures_seconds
from abi.planning.machine import PictureSeconds
from abi.planning.plan import make_plan
from abi.training import loop
from abi.types import Envelope, Plan
from tests.abi.training.conftest import Kept

EPOCHS, HALF = 6, 0.5


def _plan(toy: Any, table: Any, **settings: object) -> tuple[Plan, Any]:
    config = toy.config(training__epochs=EPOCHS, training__batch_rows=40, **settings)
    attention = toy.attention(table.problem)
    rows = {"train_rows": len(table.train), "validation_rows": len(table.validation)}
    return make_plan(attention, Envelope(), config, toy.machine, allocation="even", **rows), config


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """(whether it is a step, height) of each batch of pictures."""
    found: list[tuple[bool, int]] = []
    plain = RegionEncoder._regions

    def noted(encoder: RegionEncoder, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or encoder.training:
            found.append((True, x.shape[2]))
        else:
            found.append((False, x.shape[2]))
        return plain(encoder, x)

    monkeypatch.setattr(RegionEncoder, "_regions", noted)
    return found


def test_steps_see_small_pictures_first_and_judges_whole_ones(toy: Any, seen: list[tuple[bool, int]]) -> None:
    table = toy.media()
    plan, config = _plan(toy, table, training__half_size=HALF)
    assert plan.execution.half_size == HALF
    assert any("half their size in the first 50% of training" in reason for reason in plan.reasons)
    loop.train(plan, table.train, table.validation, config, seed=0)
    assert {height for step, height in seen if not step} == {16}
    heights = [height for step, height in seen if step][-plan.execution.steps :]  # those before are measured
    assert heights == [8] * (plan.execution.steps // 2) + [16] * (plan.execution.steps // 2)


def test_it_is_off_by_default_and_then_not_written(toy: Any, seen: list[tuple[bool, int]]) -> None:
    table = toy.media()
    plan, config = _plan(toy, table)
    assert "half_size" not in plan.execution.to_json()
    assert "half_size" not in config.recorded()["training"]
    assert "base" not in config.recorded()["training"]
    loop.train(plan, table.train, table.validation, config, seed=0)
    assert {height for _, height in seen} == {16}


def test_a_killed_training_goes_on_at_the_size_that_it_had(toy: Any) -> None:
    table, kept = toy.media(), Kept()
    plan, config = _plan(toy, table, training__half_size=HALF, training__checkpoint="1us")
    whole = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=kept)
    for data in kept.all:
        again = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=Kept(data))
        assert again.model.artifact == whole.model.artifact


def test_training_does_not_end_early_at_half_size(toy: Any) -> None:
    table = toy.media()
    plan, config = _plan(toy, table, training__half_size=HALF)
    hasty = replace(plan, execution=replace(plan.execution, patience=1, learning_rate=1e-9))
    fitted = loop.train(hasty, table.train, table.validation, config, seed=0)
    assert len(fitted.trained.history) > EPOCHS * HALF


def test_a_schedule_costs_what_its_sizes_do(toy: Any) -> None:
    table = toy.media()
    machine = replace(toy.machine, pictures=PictureSeconds(mac=1e-9, map=1e-9, tile=0.0))
    attention, rows = toy.attention(table.problem), {"train_rows": 120, "validation_rows": 40}
    plans = [
        make_plan(attention, Envelope(), toy.config(training__half_size=share), machine, allocation="even", **rows)
        for share in (0.0, 0.8)
    ]
    assert plans[0].capacity == plans[1].capacity
    (whole,) = {plan.execution.epochs for plan in plans}
    saved = 0.75 * 0.8 * 120 * BACKWARD * pictures_seconds(plans[0].capacity, machine) * whole
    times = [plan.predicted.train_time_s for plan in plans]
    assert times[0] - times[1] == pytest.approx(saved, rel=0.1)  # the last step of an epoch is counted whole


def test_pictures_that_cannot_be_halved_are_refused(toy: Any) -> None:
    table = toy.media()
    (grid,) = table.problem.schema.grids
    assert can_halve(grid)
    assert not can_halve(replace(grid, rows=4))
    assert not can_halve(replace(grid, medium="audio"))
    schema = replace(table.problem.schema, grids=(replace(grid, rows=4, cols=1),))
    other = replace(table, problem=replace(table.problem, schema=schema))
    with pytest.raises(
        UsageError, match=r"Expected images whose sides are multiples of 8 .* for training.half_size=0.5"
    ):
        _plan(toy, other, training__half_size=HALF)
    with pytest.raises(UsageError, match="got none: set it to 0"):
        _plan(toy, toy.table(), training__half_size=HALF)


def test_the_base_that_is_asked_for_is_taken(toy: Any) -> None:
    table = toy.media()
    for base in (4, 12):
        plan, _ = _plan(toy, table, training__base=base)
        assert [size.base for size in plan.capacity.grids] == [base]
