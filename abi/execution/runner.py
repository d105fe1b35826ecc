"""Run a configuration: micro-batches, accumulation, DDP or FSDP; the loss is that of the same global batch, however it is cut.

Alone it is one process; under torchrun each process is one device. Each process is given the whole global batch and takes
its own rows of it. Sources: Li et al. 2020 (DDP), Zhao et al. 2023 (FSDP).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Adafactor

from abi.errors import UsageError
from abi.execution.checkpointing import apply_checkpointing, repeated_blocks
from abi.execution.module import built, call, optimizer_of
from abi.execution.step import Training
from abi.execution.types import Configuration


@dataclass(frozen=True)
class Runner:
    """A module that is trained as a configuration says. `rank` is this process's number."""

    training: Training
    configuration: Configuration
    device: torch.device
    module: nn.Module
    optimizer: torch.optim.Optimizer
    rank: int

    def step(self, arguments: Mapping[str, Tensor]) -> float:
        """One optimizer step on a global batch; gives its mean loss, the same in every process.

        Args:
            arguments: of the module, rows first: ``micro_batch * accumulation * devices`` of them.

        Raises:
            UsageError: they are more or fewer.
        """
        chosen = self.configuration
        rows = chosen.micro_batch * chosen.accumulation
        there = {name: len(tensor) for name, tensor in arguments.items()}
        if set(there.values()) != {rows * chosen.devices}:
            msg = f"Expected {rows * chosen.devices:,} rows in each argument, got {there}: give every process the whole global batch."
            raise UsageError(msg)
        own = {name: tensor[self.rank * rows :][:rows] for name, tensor in arguments.items()}
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for number in range(chosen.accumulation):
            # moved one by one: the device holds the rows of one micro-batch, as planned
            part = {
                name: tensor[number * chosen.micro_batch :][: chosen.micro_batch].to(self.device)
                for name, tensor in own.items()
            }
            with self._last(number == chosen.accumulation - 1):
                with self._autocast():  # its copies of the weights are given back before the backward pass, as traced
                    loss = self.training.loss(call(self.module, part), part) / chosen.accumulation
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            total += loss.detach()
        self.optimizer.step()
        if chosen.devices > 1:
            distributed.all_reduce(total)
        return float(total) / chosen.devices

    def evaluate(self, arguments: Mapping[str, Tensor]) -> Any:
        """The module's output without gradients, in the arithmetic of training.

        Args:
            arguments: of the module: the rows of this process alone.
        """
        self.module.eval()
        with torch.no_grad(), self._autocast():
            return call(self.module, {name: tensor.to(self.device) for name, tensor in arguments.items()})

    @contextlib.contextmanager
    def _last(self, last: bool) -> Iterator[None]:
        """Gradients go over the link once, with the last micro-batch."""
        if isinstance(self.module, DistributedDataParallel) and not last:
            with self.module.no_sync():
                yield
            return
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(last)
        yield

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.configuration.arithmetic != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


@contextlib.contextmanager
def running(training: Training, configuration: Configuration, device: str = "cpu") -> Iterator[Runner]:
    """Start this process's part of a configuration; processes find one another as torchrun says.

    Raises:
        UsageError: there are more or fewer processes than the configuration has devices.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world != configuration.devices:
        msg = f"Expected {configuration.devices} processes, one for each device of the plan, got {world}: run it with `torchrun --nproc-per-node {configuration.devices}`."
        raise UsageError(msg)
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device(device)
    group = configuration.parallel != "none" and not distributed.is_initialized()
    if group:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if configuration.arithmetic == "float32" else "high")
    try:
        module = built(training.build).to(place)
        if configuration.checkpointing:
            apply_checkpointing(module)
        module = _spread(module, configuration)
        optimizer = optimizer_of(training.optimizer, module)
        if configuration.parallel == "fsdp" and isinstance(optimizer, Adafactor):
            msg = "Expected an optimizer that works on shards of a weight for FSDP, got Adafactor, which needs its rows and columns: take adamw or sgd, or plan again."
            raise UsageError(msg)
        if configuration.parallel == "fsdp" and isinstance(optimizer, SGD):  # its fused kernel knows no shards
            for each in optimizer.param_groups:
                each["fused"] = False
        yield Runner(training, configuration, place, module, optimizer, rank)
    finally:
        torch.set_float32_matmul_precision(before)
        if group:
            distributed.destroy_process_group()


def _spread(module: nn.Module, configuration: Configuration) -> nn.Module:
    if configuration.parallel == "none":
        return module
    if configuration.parallel == "ddp":
        return cast("nn.Module", DistributedDataParallel(module))
    for tensor in [*module.parameters(), *module.buffers()]:  # DDP does this itself
        distributed.broadcast(tensor.detach(), 0)
    for block in repeated_blocks(module):
        fully_shard(cast("Any", block))
    return cast("nn.Module", fully_shard(cast("Any", module)))
