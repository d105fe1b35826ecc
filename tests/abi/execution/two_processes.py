"""Run by torchrun: a few steps of a small network in each of the ways that JSON says; rank 0 prints the losses."""

from __future__ import annotations

import json
import os
import sys

import torch
from torch import distributed, nn

from abi.execution.batch import parse_batch
from abi.execution.runner import running
from abi.execution.step import Training
from abi.execution.types import Configuration

STEPS, ROWS = 5, 24


def build() -> nn.Module:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(3)]
    return nn.Sequential(nn.Linear(8, 16), nn.Sequential(*blocks), nn.Linear(16, 1))


def training(optimizer: str = "sgd") -> Training:
    return Training(build=build, batch=parse_batch("input=f32[B,8]"), optimizer=optimizer)


def main() -> None:
    if int(os.environ["WORLD_SIZE"]) > 1:
        distributed.init_process_group("gloo")
    batches = torch.randn(STEPS, ROWS, 8, generator=torch.Generator().manual_seed(1)) * 3
    found = []
    for optimizer, plain in json.loads(sys.argv[1]):
        with running(training(optimizer), Configuration(**plain)) as runner:
            found.append([runner.step({"input": batch}) for batch in batches])
    if os.environ["RANK"] == "0":
        sys.stdout.write(json.dumps(found) + "\n")
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
