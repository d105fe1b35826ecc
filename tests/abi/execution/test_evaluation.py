from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.execution.compare import compare
from abi.execution.decide import Peak, decide
from abi.execution.types import Evaluation, ExecutionPlan, Footprint, Limits

MIB = 2**20


def plan(question: Any, **more: Any) -> ExecutionPlan:
    return decide(question, module="toy", versions={"torch": "2"}, **more)


def evaluation(question: Any, **more: Any) -> Evaluation:
    found = plan(question, **more).evaluation
    assert found is not None
    return found


def sentence(made_plan: ExecutionPlan) -> str:
    return next(reason for reason in made_plan.reasons if reason.startswith("Evaluation: "))


@pytest.fixture
def alone(made: Any) -> Any:
    """A question with float32 alone, whose evaluation takes 40 MiB + 2 MiB a row and 100 MiB of context, and starts slowly."""

    def ask(limit_mib: int = 1000, **fields: Any) -> Any:
        rates = {"device": {"rates": {"float32": 1e12}, "launch_s": 1e-2, **fields.pop("device", {})}}
        question = made.question(limits=Limits(memory_bytes=limit_mib * MIB), **rates, **fields)
        return replace(question, footprints=question.footprints[:1])

    return ask


def test_memory_keeps_a_larger_batch_out(alone: Any) -> None:
    found = evaluation(alone(500))
    # (40 + 2 rows) x 1.1 + 100 <= 500 holds up to 161 rows
    assert (found.batch, found.devices, found.arithmetic) == (128, 1, "float32")
    assert found.memory_bytes == (40 + 2 * 128 + 100) * MIB
    assert found.memory_bound == pytest.approx((1.1 * (40 + 2 * 128) + 100) * MIB, abs=2)
    assert "256 would need 707 MiB of device memory, the limit is 500 MiB" in sentence(plan(alone(500)))
    assert evaluation(alone(700)).batch == 128
    assert evaluation(alone(708)).batch == 256


def test_seconds_by_hand(alone: Any) -> None:
    found = evaluation(alone(500))
    # 100 launches of 10 ms, 1.6 times as long in models
    assert found.batch_s == found.working_s == pytest.approx(1.6)
    assert found.rows_per_s == pytest.approx(128 / found.batch_s)
    assert found.bound_by == "launches"
    assert found.host_bytes == 1 * 2 * 128 * 1000


def test_seconds_of_computing_by_hand(alone: Any) -> None:
    found = evaluation(alone(500, device={"launch_s": 1e-9}))
    # one row is 1 GFLOP at 0.5e12, and 0.25 MB beside products at 0.8e9
    assert found.batch_s == pytest.approx(64 * 1e9 / 0.5e12 + (1e6 + 64 * 0.25e6) / 0.8e9)
    assert found.bound_by == "arithmetic"


def test_no_more_memory_than_is_worth_it(alone: Any) -> None:
    found = evaluation(alone(1000, device={"launch_s": 1e-9}))
    # rows take 2.3125 ms, what is fixed 1.25 ms of a batch: from 54 rows on that is below 1% of what can be reached
    assert found.batch == 64
    assert "no batch that fits is more than 1% faster" in sentence(plan(alone(1000, device={"launch_s": 1e-9})))


def test_where_memory_is_to_be_small_evaluation_takes_no_more_than_training(alone: Any) -> None:
    found = plan(alone(1000, objective="memory"))
    assert found.configuration.micro_batch == 1
    assert found.evaluation is not None
    # training: (40 + 20 + 10 of earlier micro-batches) x 1.1; evaluation: (40 + 2 rows) x 1.1
    assert found.evaluation.batch == 8
    assert found.evaluation.memory_bound <= found.predicted.memory_bound
    assert "more than training takes" in sentence(found)


def test_evaluation_multiplies_as_training_does_on_as_many_devices(made: Any) -> None:
    found = plan(made.question(4))
    assert found.evaluation is not None
    assert found.evaluation.arithmetic == found.configuration.arithmetic == "bfloat16"
    assert found.evaluation.devices == found.configuration.devices > 1
    assert f"on each of {found.configuration.devices} devices in bfloat16, as in training" in sentence(found)


def test_sharded_parameters_are_gathered_for_each_batch(made: Any) -> None:
    question = replace(made.question(2, Limits(memory_bytes=160 * MIB)), unit_bytes=2 * MIB)
    found = plan(question)
    assert found.configuration.parallel == "fsdp"
    assert found.evaluation is not None
    # all but one of five units are gathered while others compute
    assert found.evaluation.working_s > 0.5 * 10 * MIB / 5 / 1e9
    assert found.evaluation.memory_bound <= 160 * MIB


def heavy(made: Any) -> Footprint:
    """One row's evaluation takes 600 MiB."""
    plain = made.footprint()
    return replace(plain, phases=(*plain.phases[:3], made.phase("evaluate", 590, 10, 1.0, 0.5)))


def test_training_alone_is_no_plan(made: Any) -> None:
    question = replace(made.question(limits=Limits(memory_bytes=400 * MIB)), footprints=(heavy(made),))
    with pytest.raises(PlanInfeasible) as error:
        plan(question)
    assert "got none, as evaluating one row needs 760 MiB where training would fit: the nearest" in str(error.value)
    wider = replace(question, limits=Limits(memory_bytes=760 * MIB))
    assert evaluation(wider).batch == 1
    assert plan(wider).configuration.micro_batch > 1


def test_evaluation_keeps_no_micro_batch_small(made: Any) -> None:
    """Each is held to its own memory: 48 rows would take 1,170 MiB to evaluate."""
    question = made.question(device={"memory_bytes": 900 * MIB})
    plain, steep = made.footprint(checkpointing=True), heavy(made).phases[3]
    question = replace(question, footprints=(replace(plain, phases=(*plain.phases[:3], steep)),))
    found = plan(question)
    assert found.configuration.micro_batch == 48
    assert found.evaluation is not None
    assert found.evaluation.batch < 48


def test_a_batch_whose_trace_does_not_fit_makes_way(alone: Any) -> None:
    asked: list[tuple[int, int]] = []

    def trace(footprint: Footprint, rows: int, step_rows: int, room: int) -> Peak:
        asked.append((rows, step_rows))
        return Peak((40.0 + 2 * rows) * MIB, room + 1.0 if rows > 32 else 0.0)

    found = plan(alone(500), trace_evaluation=trace)
    rows = found.configuration.micro_batch
    assert asked == [(128, rows), (64, rows), (32, rows)]
    assert found.evaluation is not None
    assert found.evaluation.batch == 32
    assert found.evaluation.memory_bytes == (40 + 64 + 100) * MIB
    assert "but its trace does not fit" in sentence(found)


def test_a_configuration_beside_which_no_row_can_be_evaluated_makes_way(made: Any) -> None:
    def trace(footprint: Footprint, rows: int, _: int, room: int) -> Peak:
        return Peak(1.0, room + 1.0 if footprint.arithmetic == "bfloat16" else 0.0)

    question = made.question()
    assert plan(question).configuration.arithmetic == "bfloat16"
    found = plan(question, trace_evaluation=trace)
    assert found.configuration.arithmetic == "float32"
    with pytest.raises(PlanInfeasible, match="evaluating one row needs"):
        plan(question, trace_evaluation=lambda *asked: Peak(1.0, asked[-1] + 1.0))


def test_plans_recorded_before_keep_their_bytes(made: Any) -> None:
    now = plan(made.question())
    before = replace(now, evaluation=None)
    plain = before.to_json()
    assert "evaluation" not in plain
    assert ExecutionPlan.from_json(plain).id == before.id != now.id
    assert ExecutionPlan.from_json(now.to_json()) == now


def test_two_plans_differ_in_their_evaluation(alone: Any) -> None:
    found = compare(plan(alone(500)), plan(alone(708)), ("a", "b"))
    assert found.evaluation["batch"] == (128, 256)
    assert "arithmetic" not in found.evaluation
    before = replace(plan(alone(500)), evaluation=None)
    assert compare(before, plan(alone(500)), ("a", "b")).evaluation["batch"] == (None, 128)


def test_own_networks_are_not_asked(made: Any) -> None:
    found = plan(replace(made.question(), apart=False))
    assert found.evaluation is None
    assert not any(reason.startswith("Evaluation: ") for reason in found.reasons)
