"""Run by torchrun: in each of the cases that JSON names memory runs out once, in one process; every process prints what became of it."""

from __future__ import annotations

import functools
import json
import os
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, distributed, nn

from abi.devices.request import parse
from abi.errors import PlanInfeasible
from abi.execution.batch import parse_batch
from abi.execution.plan import plan_module
from abi.execution.runner import running
from abi.execution.step import Training
from abi.execution.types import Configuration, ExecutionPlan

STEPS, ROWS = 6, 384
SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has none."


class InBackward(torch.autograd.Function):
    """Runs out of memory where gradients are computed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise torch.OutOfMemoryError(SAID)


class Short(nn.Module):
    """Blocks that can be checkpointed, a running sum, and a lack of memory in one call: its number counts from 0."""

    def __init__(self, call: int = -1, where: str = "forward") -> None:
        super().__init__()
        torch.manual_seed(0)
        blocks = [nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16)) for _ in range(3)]
        self.first, self.blocks, self.last = nn.Linear(8, 16), nn.Sequential(*blocks), nn.Linear(16, 1)
        self.register_buffer("sum", torch.zeros(8))
        self.register_buffer("constant", torch.ones(3))
        self.call, self.where = call, where

    def forward(self, input: Tensor) -> Tensor:
        fails = self.call == 0 and self.training
        self.call -= 1
        self.sum += input.sum(0)  # type: ignore[operator]  # however it is cut, each row once
        x = self.blocks(self.first(input))
        if fails and self.where == "forward":
            raise torch.OutOfMemoryError(SAID)
        return self.last(InBackward.apply(x) if fails else x)


def training(call: int = -1, where: str = "forward") -> Training:
    return Training(build=lambda: Short(call, where), batch=parse_batch("input=f32[B,8]"), optimizer="adamw")


@functools.cache
def planned(devices: int, micro_batch: int) -> ExecutionPlan:
    """The plan of the module on this processor, or as if there were two of it."""
    cluster = parse("cpu")
    cluster = replace(cluster, count=devices, device=replace(cluster.device, rates={"float32": 1e11}))
    plan = plan_module(Short, "input=f32[B,8]", "", cluster, global_batch=ROWS, steps=STEPS)
    return replace(
        plan,
        configuration=Configuration(
            devices=devices, parallel="ddp" if devices > 1 else "none", arithmetic="float32", checkpointing=False,
            micro_batch=micro_batch, accumulation=ROWS // devices // micro_batch, workers=0,
        ),
    )  # fmt: skip


def batches() -> Tensor:
    return torch.randn(STEPS, ROWS, 8, generator=torch.Generator().manual_seed(1)) * 3


def ran(case: dict[str, Any], devices: int, rank: int) -> dict[str, Any]:
    call = case["call"] if case["rank"] == rank else -1
    plan = planned(devices, case["micro_batch"])
    how = plan if case["planned"] else plan.configuration
    with running(training(call, case["where"]), how) as runner:
        losses = [runner.step({"input": batch}) for batch in batches()]
        module = getattr(runner.module, "module", runner.module)
        return {
            "losses": losses,
            "revisions": [r.to_json() for r in runner.revisions],
            "weights": float(sum(p.detach().double().abs().sum() for p in module.parameters())),
            "sum": module.sum.tolist(),
            "state": sorted({int(s["step"]) for s in runner.optimizer.state.values()}),
        }


def main() -> None:
    devices, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    distributed.init_process_group("gloo")
    try:
        found = [ran(case, devices, rank) for case in json.loads(sys.argv[1])]
    except PlanInfeasible as error:
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        os._exit(error.exit_code)
    told: list[Any] = [None] * devices
    distributed.all_gather_object(told, found)
    if rank == 0:
        sys.stdout.write(json.dumps(told) + "\n")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
