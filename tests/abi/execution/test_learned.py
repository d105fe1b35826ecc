"""Bounds that runs of a module taught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.execution.decide import decide
from abi.execution.learned import Learned, learned, residual, told
from abi.execution.types import ExecutionPlan, Limits

MIB = 2**20
TAUGHT = Learned(arithmetic="bfloat16", memory=1.5, time=3.0, runs=12, coverage=0.75)


@pytest.fixture(scope="module")
def plan(made: Any) -> ExecutionPlan:
    return decide(made.question(), module="m", versions={})


def test_a_residual_is_of_tensors_and_of_the_step_without_the_loader(plan: ExecutionPlan) -> None:
    cost = replace(plan.predicted, memory_bytes=150 * MIB, compute_s=0.3, communication_s=0.1, loader_s=9.0, step_s=9.0)
    plan = replace(plan, predicted=cost)  # the device takes 100 MiB before the first tensor
    assert residual(plan, peak_bytes=60 * MIB, step_s=0.5) == {"memory": 1.2, "time": 1.25}
    assert residual(plan, peak_bytes=0, step_s=0.5) == {"time": 1.25}


def test_nine_runs_teach_and_eight_do_not() -> None:
    runs = [{"memory": 1 + n / 100, "time": 0.5} for n in range(9)]
    assert learned("float32", runs[:8]) is None
    assert learned("float32", [*runs[:8], {"time": 1.0}]) is None
    assert learned("float32", runs) == Learned(arithmetic="float32", memory=1.08, time=1.0, runs=9, coverage=None)
    assert learned("float32", [*runs, {"memory": 2.0, "time": 0.5}]).coverage == 0.5  # type: ignore[union-attr]


def test_bounds_lie_over_the_prediction_by_what_was_learned(made: Any, plan: ExecutionPlan) -> None:
    cost = plan.predicted
    assert plan.configuration.arithmetic == "bfloat16"
    held = decide(made.question(learned=(TAUGHT,)), module="m", versions={}).predicted
    tensors = cost.memory_bytes - 100 * MIB
    assert held.memory_bytes == cost.memory_bytes
    assert held.memory_bound == pytest.approx(1.5 * tensors + 100 * MIB, abs=2)
    assert held.train_bound_s == pytest.approx(3 * held.train_s)


def test_a_bound_never_lies_below_the_traced_one_nor_counts_in_another_arithmetic(
    made: Any, plan: ExecutionPlan
) -> None:
    for taught in (replace(TAUGHT, memory=1.0, time=1.0), replace(TAUGHT, arithmetic="float32")):
        assert decide(made.question(learned=(taught,)), module="m", versions={}).predicted == plan.predicted


def test_what_fits_by_its_trace_alone_is_refused(made: Any, plan: ExecutionPlan) -> None:
    limits = Limits(train_time_s=plan.predicted.train_bound_s * 2)
    assert decide(made.question(limits=limits), module="m", versions={}).configuration == plan.configuration
    both = (TAUGHT, replace(TAUGHT, arithmetic="float32"))
    with pytest.raises(PlanInfeasible, match="training time"):
        decide(made.question(limits=limits, learned=both), module="m", versions={})


def test_the_plan_says_so(made: Any) -> None:
    said = decide(made.question(learned=(TAUGHT,)), module="m", versions={}).reasons[-1]
    assert said == told(TAUGHT)
    assert said.endswith(
        "of 12 runs of this module here in bfloat16, 90% took at most 1.50x the predicted memory and 3.00x the time; "
        "such bounds held for 75% of them."
    )
