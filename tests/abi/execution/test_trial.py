"""A few steps of a plan for real, on the processor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from abi.devices.detect import processor
from abi.errors import UsageError
from abi.execution.batch import parse_batch
from abi.execution.costing import Question
from abi.execution.decide import decide
from abi.execution.footprint import footprint
from abi.execution.module import load
from abi.execution.search import search
from abi.execution.step import Training
from abi.execution.trial import trial
from abi.execution.types import ExecutionPlan, Job, Limits

WIDE = """
from torch import nn

def wide():
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 8))
"""
BATCH = parse_batch("x=f32[B,64]")


@pytest.fixture
def training(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Training:
    (tmp_path / "wide_module.py").write_text(WIDE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Training(build=load("wide_module:wide"), batch=BATCH)


def plan_of(training: Training, micro_batch: int, accumulation: int) -> ExecutionPlan:
    """The plan that has this micro-batch, in float32."""
    job = Job(global_batch=micro_batch * accumulation, steps=10, row_bytes=BATCH.row_bytes)
    question = Question(footprints=(footprint(training),), cluster=processor(), limits=Limits(), job=job)
    plan = decide(question, module="wide", versions={})
    cut = replace(plan.configuration, micro_batch=micro_batch, accumulation=accumulation)
    if plan.configuration == cut:
        return plan
    found = search(question)
    row = next(row for row in found.order.tolist() if found.configuration(row).micro_batch == micro_batch)
    return replace(plan, configuration=found.configuration(row), predicted=found.cost(row))


@pytest.mark.parametrize(("micro_batch", "accumulation"), [(512, 1), (128, 4)])
def test_memory_is_what_was_planned(training: Training, micro_batch: int, accumulation: int) -> None:
    plan = plan_of(training, micro_batch, accumulation)
    assert (plan.configuration.micro_batch, plan.configuration.accumulation) == (micro_batch, accumulation)
    found = trial(training, plan, steps=6)
    taken = found.resources
    assert taken.active_bytes is not None
    if accumulation == 1:
        assert taken.active_bytes == pytest.approx(plan.predicted.memory_bytes, rel=0.01)
    else:  # the largest layer's gradient lies beside what is added up, which the bound alone counts
        largest = 4 * 512 * 512
        assert plan.predicted.memory_bytes < taken.active_bytes < plan.predicted.memory_bytes + 1.01 * largest
    assert taken.active_bytes <= plan.predicted.memory_bound
    assert taken.process_bytes is not None
    assert taken.process_bytes > taken.active_bytes
    assert (found.steps, taken.steps, taken.reserved_bytes) == (6, 3, None)
    assert taken.step_s is not None
    assert taken.step_p95_s is not None
    assert 0 < taken.step_s <= taken.step_p95_s


def test_evaluation_takes_what_was_planned(training: Training) -> None:
    plan = plan_of(training, 128, 1)
    assert plan.evaluation is not None
    taken = trial(training, plan, steps=6).evaluation
    assert taken is not None
    assert taken.active_bytes == pytest.approx(plan.evaluation.memory_bytes, rel=0.01)
    assert taken.active_bytes is not None
    assert taken.active_bytes <= plan.evaluation.memory_bound
    assert (taken.steps, taken.process_bytes) == (3, None)  # steps before it lifted the process's mark
    assert taken.step_s is not None
    assert taken.step_s > 0
    assert trial(training, replace(plan, evaluation=None), steps=2).evaluation is None


def test_what_cannot_be_measured_here_is_said(training: Training, odd: str) -> None:
    plan = plan_of(training, 64, 1)
    several = replace(plan, configuration=replace(plan.configuration, devices=2, parallel="ddp"))
    with pytest.raises(UsageError, match="Expected a plan for one device to measure, got one for 2"):
        trial(training, several)
    with pytest.raises(UsageError, match="name it as package:factory"):
        trial(training.changed(build=lambda: nn.Linear(64, 2)), plan)
    with pytest.raises(UsageError, match=r"a few steps of 64 rows, got RuntimeError: mat1 and mat2"):
        trial(training.changed(build=load(f"{odd}:Reads")), plan)
    with pytest.raises(UsageError, match=r"got no answer in 0\.5 s"):
        trial(training, plan, time_limit_s=0.5)
