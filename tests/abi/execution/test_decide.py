from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.execution.decide import Peak, decide
from abi.execution.search import search
from abi.execution.types import ExecutionPlan, Footprint, Limits

MIB = 2**20


def plan(question: Any, **more: Any) -> ExecutionPlan:
    return decide(question, module="toy", versions={"torch": "2"}, **more)


def test_the_plan_is_the_best_that_fits_and_survives_json(made: Any) -> None:
    question = made.question(2, Limits(memory_bytes=400 * MIB))
    found, made_plan = search(question), plan(question)
    assert made_plan.configuration == found.configuration(int(found.order[0]))
    assert made_plan.predicted.memory_bound <= 400 * MIB
    assert ExecutionPlan.from_json(made_plan.to_json()) == made_plan


def test_the_same_question_gives_the_same_bytes_in_another_process(made: Any) -> None:
    question = made.question(4, Limits(memory_bytes=300 * MIB, train_time_s=500.0))
    first = plan(question)
    assert plan(replace(question)).canonical() == first.canonical()
    code = "import sys, pickle; from abi.execution.decide import Peak, decide; print(decide(pickle.load(sys.stdin.buffer), module='toy', versions={'torch': '2'}).id)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(question), capture_output=True, check=True)
    assert done.stdout.decode().strip() == first.id


def test_a_winner_that_takes_more_than_its_line_makes_way(made: Any) -> None:
    question = made.question(1, Limits(memory_bytes=420 * MIB))
    before = plan(question).configuration
    asked: list[tuple[str, int]] = []

    def trace(footprint: Footprint, rows: int, _: int) -> Peak:
        asked.append((footprint.arithmetic, rows))
        return Peak((40.0 + 40 * rows) * MIB if footprint.arithmetic == before.arithmetic else 0.0)

    after = plan(question, trace=trace)
    assert asked[0] == (before.arithmetic, before.micro_batch)
    assert after.configuration != before
    assert after.configuration.arithmetic != before.arithmetic or (
        (40 + 40 * after.configuration.micro_batch + 100) * MIB <= after.predicted.memory_bound
    )


def test_a_winner_on_its_line_is_traced_once(made: Any) -> None:
    asked: list[int] = []

    def trace(footprint: Footprint, rows: int, _: int) -> Peak:
        asked.append(rows)
        return Peak(0.0)

    assert plan(made.question(), trace=trace) == plan(made.question())
    assert len(asked) == 1


def test_a_winner_that_an_allocator_refuses_makes_way(made: Any) -> None:
    question = made.question(1, Limits(memory_bytes=420 * MIB))
    before = plan(question)
    room = 420 * MIB - question.cluster.device.context_bytes - question.kept_bytes

    def trace(footprint: Footprint, rows: int, given: int) -> Peak:
        # gradients of an earlier micro-batch lie there while the next one runs
        assert given == room - (footprint.gradient_bytes if rows < question.job.global_batch else 0)
        mine = footprint.arithmetic == before.configuration.arithmetic
        return Peak(1.0, room + 1.0 if mine and rows == before.configuration.micro_batch else 0.0)

    after = plan(question, trace=trace)
    assert after.configuration != before.configuration
    assert after.predicted.memory_bound <= 420 * MIB


def test_the_prediction_is_the_trace_of_the_winner(made: Any) -> None:
    before = plan(made.question())
    line = before.predicted.memory_bytes - before.cluster.device.context_bytes
    after = plan(made.question(), trace=lambda *_: Peak(float(line - 3 * MIB)))
    assert after.configuration == before.configuration
    assert after.predicted.memory_bytes == before.predicted.memory_bytes - 3 * MIB


def test_a_trace_above_its_line_stays_the_prediction_where_there_is_room(made: Any) -> None:
    question = made.question(device={"memory_bytes": 8000 * MIB})
    before, asked = plan(question), list[int]()
    line = before.predicted.memory_bytes - before.cluster.device.context_bytes

    def trace(footprint: Footprint, rows: int, _: int) -> Peak:
        asked.append(rows)
        return Peak(1.3 * line)  # a tenth is its margin

    after = plan(question, trace=trace)
    assert after.configuration == before.configuration
    assert after.footprint.margin == pytest.approx(0.3)
    assert after.predicted.memory_bytes == pytest.approx(before.predicted.memory_bytes + 0.3 * line, abs=1)
    assert len(asked) == 1


def test_a_trace_has_no_room_where_ddp_s_buckets_and_earlier_gradients_lie(made: Any) -> None:
    question = made.question(2, Limits(memory_bytes=300 * MIB), sharded=False)
    room = 300 * MIB - question.cluster.device.context_bytes - question.kept_bytes
    given: list[int] = []
    evaluated: list[int] = []

    def trace(_: Footprint, rows: int, bytes_: int) -> Peak:
        given.append(bytes_)
        return Peak(0.0)

    def trace_evaluation(_: Footprint, rows: int, step_rows: int, bytes_: int) -> Peak:
        evaluated.append(bytes_)
        return Peak(0.0)

    found = plan(question, trace=trace, trace_evaluation=trace_evaluation)
    assert found.configuration.parallel == "ddp"
    assert found.configuration.accumulation > 1
    gradients = found.footprint.gradient_bytes
    assert given == [room - 2 * gradients]
    assert set(evaluated) == {room - gradients}


def test_nothing_fits(made: Any) -> None:
    with pytest.raises(PlanInfeasible) as error:
        plan(made.question(1, Limits(memory_bytes=120 * MIB)))
    assert str(error.value).startswith("Expected one of 40 configurations within device memory 120 MiB, got none")
    assert len(error.value.nearest) == 3
