"""Run by torchrun: a few steps of a small network in each of the ways that JSON says; rank 0 prints the losses."""

from __future__ import annotations

import json
import os
import sys

import torch
from torch import Tensor, distributed, nn

from abi.execution.batch import parse_batch
from abi.execution.runner import running
from abi.execution.step import Training
from abi.execution.types import Configuration

STEPS, ROWS, MARK = 5, 24, 12.0


def build() -> nn.Module:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(3)]
    return nn.Sequential(nn.Linear(8, 16), nn.Sequential(*blocks), nn.Linear(16, 1))


class Partly(nn.Module):
    """A layer that nothing uses, and one for marked rows alone; `Late` uses both in the first two steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 1)
        self.never, self.marked = nn.Linear(8, 16), nn.Linear(8, 16)

    def forward(self, input: Tensor) -> Tensor:
        x, marked = self.first(input), input[:, :1] > MARK
        if marked.any():
            x = x + marked * self.marked(input)
        return self.last(x.tanh())


class Late(Partly):
    calls = 0

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        x = self.marked(input) + self.never(input) if self.calls <= 2 else self.first(input)
        return self.last(x + self.first(input))


BUILDS = {"build": build, "partly": Partly, "late": Late}


def training(optimizer: str = "sgd", name: str = "build") -> Training:
    return Training(build=BUILDS[name], batch=parse_batch("input=f32[B,8]"), optimizer=optimizer)


def main() -> None:
    if int(os.environ["WORLD_SIZE"]) > 1:
        distributed.init_process_group("gloo")
    batches = torch.randn(STEPS, ROWS, 8, generator=torch.Generator().manual_seed(1)) * 3
    found = []
    for optimizer, name, plain in json.loads(sys.argv[1]):
        given = batches.clone()
        if name == "partly":
            given[:, 0, 0] = MARK + 1  # the first process's
        with running(training(optimizer, name), Configuration(**plain)) as runner:
            found.append([runner.step({"input": batch}) for batch in given])
    if os.environ["RANK"] == "0":
        sys.stdout.write(json.dumps(found) + "\n")
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
