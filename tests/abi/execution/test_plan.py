from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.optim import SGD, Adafactor

from abi.devices.request import parse
from abi.errors import PlanInfeasible, UsageError
from abi.execution.batch import parse_batch
from abi.execution.footprint import bound_bytes, peak_bytes
from abi.execution.module import default_loss, shards
from abi.execution.plan import Posed, plan_module, pose
from abi.execution.search import search
from abi.execution.sharding import Sharing, line_bytes
from abi.execution.step import Training
from abi.execution.trace import trace
from abi.execution.tracer import memory_matters
from abi.execution.types import Job, Limits
from abi.execution.what_if import changed
from abi.execution.wrapping import look, unit_bytes

MIB = 2**20
PLAIN = [("float32", False), ("bfloat16", False)]
BATCH = parse_batch("x=f32[B,64]")


def stack() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 512),
        nn.Sequential(*[nn.Sequential(nn.Linear(512, 512), nn.ReLU()) for _ in range(4)]),
        nn.Linear(512, 8),
    )


@pytest.fixture(scope="module")
def posed(made: Any) -> Posed:
    return pose(
        stack,
        BATCH,
        Limits(),
        made.question(2).cluster,
        Job(global_batch=4096, steps=10, row_bytes=BATCH.row_bytes),
        optimizer="adamw",
        loss=default_loss,
        objective="throughput",
        module_name="stack",
    )


def test_one_footprint_for_each_arithmetic_and_checkpointing_where_memory_matters(posed: Posed) -> None:
    assert [(f.arithmetic, f.checkpointing) for f in posed.question.footprints] == PLAIN
    assert not memory_matters(posed.question)
    assert "Checkpointing: no, as memory keeps out nothing better." in posed.plan().reasons
    tight = changed(posed.question, ["memory=125MiB"])
    assert memory_matters(tight)
    assert any(alternative.configuration.checkpointing for alternative in posed.plan(tight).alternatives)


@pytest.mark.parametrize("memory", range(112, 140, 4))
@pytest.mark.parametrize("objective", ["throughput", "energy"])
def test_what_is_not_traced_would_not_have_won(posed: Posed, memory: int, objective: Any) -> None:
    for less in (1.0, 0.95):
        question = replace(changed(posed.question, [f"memory={memory * less}MiB"]), objective=objective)
        if memory_matters(question):
            continue
        whole = replace(question, footprints=(*question.footprints, *posed.tracer.footprints(checkpointing=True)))
        few, all_ = search(question), search(whole)
        assert few.configuration(int(few.order[0])) == all_.configuration(int(all_.order[0]))


def test_memory_is_what_the_footprint_says(posed: Posed) -> None:
    alone = Sharing(parallel="none", devices=1, unit_bytes=0)
    for footprint in (*posed.question.footprints, *posed.tracer.footprints(checkpointing=True)):
        for rows in (1, 7, 4096):
            for times in (1, 2):
                at = (np.array([float(rows)]), np.array([float(times)]))
                upper = line_bytes(footprint, alone, *at, upper=True)
                evaluate = line_bytes(footprint, alone, *at, upper=False)
                accumulated = times > 1
                assert upper[0] >= peak_bytes(footprint, rows, accumulated=accumulated)
                assert upper[0] * (1 + footprint.margin) >= bound_bytes(footprint, rows, accumulated=accumulated)
                assert evaluate[0] <= upper[0]


def test_the_plan_is_not_below_what_its_step_takes(posed: Posed) -> None:
    plan = posed.plan()
    choice = plan.configuration
    training = Training(
        build=stack, batch=BATCH, arithmetic=choice.arithmetic, checkpointing=choice.checkpointing, optimizer="adamw"
    )
    traced = max(phase.peak_bytes for phase in trace(training, choice.micro_batch).phases)
    context = plan.cluster.device.context_bytes
    if choice.parallel == "none":
        assert traced + context <= plan.predicted.memory_bound
    assert plan.footprint.parameters == 64 * 512 + 512 + 4 * (512 * 512 + 512) + 512 * 8 + 8


def test_the_same_module_gives_the_same_plan(made: Any, posed: Posed) -> None:
    again = plan_module(
        stack,
        BATCH,
        Limits(),
        made.question(2).cluster,
        global_batch=4096,
        steps=10,
        module_name="stack",
    )
    assert again.id == posed.plan().id


def test_a_module_that_fits_nowhere(made: Any) -> None:
    cluster = made.question(1, device={"memory_bytes": 110 * MIB}).cluster
    with pytest.raises(PlanInfeasible, match=r"the nearest that fit are a device with [\d.]+MiB of memory"):
        plan_module(stack, BATCH, Limits(), cluster, global_batch=64, steps=10)


def test_contradictions_are_told_before_anything_is_traced(made: Any) -> None:
    def never() -> nn.Module:
        raise AssertionError

    with pytest.raises(UsageError, match="that 2 devices divide, got 7: take 6 or 8"):
        plan_module(never, BATCH, Limits(), made.question(2).cluster, global_batch=7)


def test_an_envelope_and_devices_are_read_as_they_are_written() -> None:
    written = plan_module(stack, "x=f32[B,64]", "memory=20GiB,train_time=2h", "2xL4")
    named = plan_module(stack, "x=f32[B,64]", {"memory": "20GiB", "train_time": "2h"}, "2xL4")
    assert written.id == named.id
    assert written.limits == Limits(memory_bytes=20 * 2**30, train_time_s=7200.0)
    assert (written.cluster.count, written.cluster.device.name, written.job.global_batch) == (2, "L4", 256)
    with pytest.raises(UsageError, match="Expected a size such as 8GiB"):
        plan_module(stack, "x=f32[B,64]", "memory=20", "2xL4")


def test_an_optimizer_of_whole_matrices_is_never_sharded() -> None:
    found = {
        optimizer: plan_module(stack, "x=f32[B,64]", "", "4xL4", optimizer=optimizer, objective="memory")
        for optimizer in ("adamw", "adafactor")
    }
    tried = {
        name: {plan.configuration.parallel, *(other.configuration.parallel for other in plan.alternatives)}
        for name, plan in found.items()
    }
    assert "fsdp" in tried["adamw"]
    assert "fsdp" not in tried["adafactor"]


def test_a_function_that_makes_such_an_optimizer_is_found_out() -> None:
    """Else FSDP could be planned, which the runner refuses for it."""
    asked = partial(
        pose,
        stack,
        BATCH,
        Limits(),
        parse("4xL4"),
        Job(global_batch=256, steps=10, row_bytes=BATCH.row_bytes),
        loss=default_loss,
        objective="throughput",
        module_name="stack",
    )
    assert not asked(optimizer=Adafactor).question.sharded
    assert asked(optimizer=lambda parameters: SGD(parameters, lr=0.1)).question.sharded
    assert not shards("adafactor")
    assert shards(lambda parameters: SGD(parameters[2:3], lr=0.1))  # it cannot be asked


def test_what_fsdp_gathers_is_a_block_and_half_of_the_rest() -> None:
    block, rest = 4 * (512 * 512 + 512), 4 * (64 * 512 + 512 + 512 * 8 + 8)
    assert unit_bytes(stack()) == rest // 2 + block
    assert look(stack) == (True, rest // 2 + block)
    assert look(lambda: nn.Linear(4, 4)) == (False, None)


def test_more_devices_are_searched_with_the_same_footprints(posed: Posed) -> None:
    found = search(posed.question.with_devices(4))
    assert set(found.columns.devices.tolist()) == {1, 2, 4}


def test_a_plan_that_computes_activations_again_has_an_evaluation() -> None:
    asked = {"gpus": "1xL4", "global_batch": 2, "steps": 10}
    found = plan_module(deep, "x=f32[B,16384,64]", {"memory": "1113MiB"}, **asked)  # type: ignore[arg-type]
    assert found.configuration.checkpointing  # of one row: 800 MiB of activations
    assert found.evaluation is not None
    assert found.evaluation.memory_bound <= 1113 * MIB


def deep() -> nn.Module:
    blocks = [nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()) for _ in range(12)]
    return nn.Sequential(nn.Linear(64, 512), nn.Sequential(*blocks), nn.Linear(512, 8))


def test_an_optimizer_that_is_none_is_refused_before_anything_is_traced() -> None:
    with pytest.raises(
        UsageError, match="Expected an optimizer of sgd, adamw, adafactor, or package:function, got 'foo'"
    ):
        plan_module(lambda: pytest.fail("it was built"), "x=f32[B,8]", "", "1xL4", optimizer="foo")
