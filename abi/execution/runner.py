"""Run a configuration: micro-batches, accumulation, DDP or FSDP; the loss is that of the same global batch, however it is cut.

Alone it is one process; under torchrun each process is one device. Each process is given the whole global batch and takes
its own rows of it. Sources: Li et al. 2020 (DDP), Zhao et al. 2023 (FSDP).

A step that runs out of memory leaves weights and optimizer as they were, and is done again in a way that takes less
(`abi.execution.revision`). Processes agree on it before gradients go over the link, where a process that failed would leave
the others waiting. So three places are not mended, and end the process with a sentence, upon which torchrun ends the others:
FSDP, in whose every layer processes wait for one another; the optimizer's own step, which may have moved a part of the
weights; and that backward pass of DDP which sends gradients. The first steps of a configuration send theirs after it,
and so do all where those left a parameter without gradient somewhere, for which DDP would wait.
With a journal the way that takes less is kept there, and the next start (`torchrun --max-restarts`) begins with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.fsdp import fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Adafactor

from abi.errors import PlanInfeasible, UsageError
from abi.execution.checkpointing import apply_checkpointing, repeated_blocks
from abi.execution.journal import Journal
from abi.execution.module import built, call, optimizer_of
from abi.execution.out_of_memory import Shortage, first_line, is_out_of_memory, release, room_bytes
from abi.execution.peers import Alone, Peers
from abi.execution.reviser import Revise, Reviser
from abi.execution.revision import Revision
from abi.execution.step import Training
from abi.execution.types import Configuration, ExecutionPlan
from abi.execution.wording import describe

FIRST: Final = 2
"""Steps of a configuration until all that it takes was there at once: the optimizer's state is made in the first."""


@dataclass
class Runner:
    """A module that is trained as a configuration says, and as memory allows.

    Attributes:
        training: what is trained and how.
        configuration: as it is run now.
        device: of this process.
        module: spread over the devices.
        optimizer: of its parameters.
        rank: this process's number.
        peers: the other processes.
        revise: says what comes after a configuration that ran out of memory; where it is None, nothing does.
        journal: where revisions are kept for the next start.
        revisions: what was changed so, in order, before this start as well; the same in every process.
    """

    training: Training
    configuration: Configuration
    device: torch.device
    module: nn.Module
    optimizer: torch.optim.Optimizer
    rank: int
    peers: Alone
    revise: Revise | None
    journal: Journal | None = None
    revisions: list[Revision] = field(default_factory=list)
    _moving: list[Tensor] | None = None
    """Buffers that a step changes, as running means; not known before one was done."""
    _steps: int = 0
    """Done in this configuration."""
    _partly: bool = False
    """Whether some step left a parameter without gradient in some process: DDP's reducer would wait for it."""

    def step(self, arguments: Mapping[str, Tensor]) -> float:
        """One optimizer step on a global batch; gives its mean loss, the same in every process.

        Args:
            arguments: of the module, rows first: ``micro_batch * accumulation * devices`` of them.

        Raises:
            UsageError: they are more or fewer.
            PlanInfeasible: memory ran out and nothing takes less, or it ran out where that is not mended.
        """
        own = self._own(arguments)
        self.module.train()
        buffers, before = self._kept_buffers()
        while isinstance(total := self._gradients(own), Shortage):
            self.optimizer.zero_grad(set_to_none=True)
            release(self.device)
            _put_back(buffers, before)
            self._change(total)
        if self._moving is None:
            self._moving = [buffers[n] for n in self.peers.decided(lambda: _changed(buffers, before))]
        with self._not_mended("the optimizer's step, which may have moved a part of the weights"):
            self.optimizer.step()
        self._steps += 1
        if self.configuration.devices > 1:
            distributed.all_reduce(total)
        return float(total) / self.configuration.devices

    def _own(self, arguments: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's rows."""
        chosen = self.configuration
        rows = chosen.micro_batch * chosen.accumulation
        there = {name: len(tensor) for name, tensor in arguments.items()}
        if set(there.values()) != {rows * chosen.devices}:
            msg = f"Expected {rows * chosen.devices:,} rows in each argument, got {there}: give every process the whole global batch."
            raise UsageError(msg)
        return {name: tensor[self.rank * rows :][:rows] for name, tensor in arguments.items()}

    def _kept_buffers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Buffers that this step may change, those of the first process in all; and what they hold."""
        if self._moving is not None and self.configuration.parallel == "ddp":
            for tensor in self._moving:
                distributed.broadcast(tensor, 0)
        if self._moving is not None:
            return self._moving, [tensor.clone() for tensor in self._moving]
        buffers = list(self.module.buffers())
        return buffers, [tensor.detach().to("cpu", copy=True) for tensor in buffers]  # they may be large

    def _gradients(self, own: dict[str, Tensor]) -> Tensor | Shortage:
        """Gradients of the global batch; gives this process's loss, or in all processes the shortage that one of them had."""
        chosen, short, unsent = self.configuration, None, None
        total = torch.zeros((), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            for number in range(chosen.accumulation):
                last = number == chosen.accumulation - 1
                # moved one by one: the device holds the rows of one micro-batch, as planned
                part = {
                    name: tensor[number * chosen.micro_batch :][: chosen.micro_batch].to(self.device)
                    for name, tensor in own.items()
                }
                with self._sending(last):
                    with (
                        self._autocast()
                    ):  # its copies of the weights are given back before the backward pass, as traced
                        loss = self.training.loss(call(self.module, part), part) / chosen.accumulation
                    total += loss.detach()
                    if last and self._sends:
                        unsent = loss
                    else:
                        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        except (RuntimeError, MemoryError) as error:
            if self.revise is None or not is_out_of_memory(error):
                raise
            # its words alone: its frames hold the tensors
            short = Shortage(said=first_line(error), room_bytes=room_bytes(self.device))
        if short is not None and chosen.parallel == "fsdp":
            raise self._refused(short, "FSDP, in whose every layer processes wait for one another")
        if chosen.parallel != "fsdp" and (agreed := self.peers.agreed(short)) is not None:
            return agreed
        if unsent is not None:
            with self._not_mended("the backward pass that sends gradients to the other processes"):
                unsent.backward()  # type: ignore[no-untyped-call]
            self._expect_all_sent()
        elif chosen.parallel == "ddp":
            self._send()
        return total

    @property
    def _sends(self) -> bool:
        """Whether the last backward pass of a step hands gradients to DDP, which sends them while it computes the others."""
        return self.configuration.parallel == "ddp" and self._steps >= FIRST and not self._partly

    def _send(self) -> None:
        """The mean of all processes' gradients, where DDP did not take it; zeros of a process that has none, as of rows without any."""
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        there = [parameter.grad is not None for parameter in trained]
        anywhere = self.peers.either([*there, *(not has for has in there)])
        self._partly = self._partly or any(anywhere[len(trained) :])
        for parameter, sent in zip(trained, anywhere, strict=False):
            if not sent:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            whole = parameter.grad.contiguous()
            distributed.all_reduce(whole)
            parameter.grad.copy_(whole / self.configuration.devices)

    def _expect_all_sent(self) -> None:
        """See that DDP sent all gradients.

        Raises:
            UsageError: it waits for some that this step does not have, though the first steps had them.
        """
        assert isinstance(self.module, DistributedDataParallel)
        try:
            self.module._check_reducer_finalized()  # type: ignore[no-untyped-call]  # torch does not annotate it
        except RuntimeError as error:
            msg = "Expected gradients of the same parameters in each step under DDP, got a micro-batch that leaves out some that the first steps had: let every forward pass use them, or run it on one device."
            raise UsageError(msg) from error

    def evaluate(self, arguments: Mapping[str, Tensor]) -> Any:
        """The module's output without gradients, in the arithmetic of training.

        Args:
            arguments: of the module: the rows of this process alone.
        """
        self.module.eval()
        with torch.no_grad(), self._autocast():
            return call(self.module, {name: tensor.to(self.device) for name, tensor in arguments.items()})

    @contextlib.contextmanager
    def _sending(self, last: bool) -> Iterator[None]:
        """DDP's gradients go over the link once, with the last micro-batch; FSDP keeps its share of each one's alone, as planned."""
        if isinstance(self.module, DistributedDataParallel) and not (last and self._sends):
            with self.module.no_sync():
                yield
            return
        yield

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.configuration.arithmetic != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _change(self, short: Shortage) -> None:
        """Go on in another configuration, the same in every process; the optimizer keeps its weights and state."""
        assert self.revise is not None
        revise, old = self.revise, self.configuration
        revision = self.peers.decided(lambda: revise(old, short))
        module = self.module
        if isinstance(module, DistributedDataParallel):
            # else, where someone holds it, it goes on sending gradients
            module._remove_autograd_hooks()  # type: ignore[no-untyped-call]  # torch does not annotate it
            module = module.module
        if revision.new.checkpointing and not old.checkpointing:
            apply_checkpointing(module)
        self.module = module  # DDP's buckets go before there are new ones
        release(self.device)
        self.module = _spread(module, revision.new)
        self.configuration, self._steps = revision.new, 0
        self.revisions.append(revision)
        if self.journal is not None and self.rank == 0:
            self.journal.add(revision)

    @contextlib.contextmanager
    def _not_mended(self, where: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if self.revise is None or not is_out_of_memory(error):
                raise
            short = Shortage(said=first_line(error), room_bytes=room_bytes(self.device))
        else:
            return
        raise self._refused(short, where)

    def _refused(self, short: Shortage, where: str) -> PlanInfeasible:
        assert self.revise is not None
        chosen = self.configuration
        try:
            revision = self.revise(chosen, short)
        except PlanInfeasible:
            remedy = "free memory on the device, or plan for more or larger devices"
        else:
            remedy = f"go on from your last checkpoint as {describe(revision.new)}"
            if self.journal is not None:
                self.journal.add(revision)
                remedy += f", as the next start does by {self.journal.path}"
        return PlanInfeasible(f"Expected memory for {describe(chosen)}, got in {where}: {short.said}; {remedy}.")


@contextlib.contextmanager
def running(
    training: Training,
    plan: Configuration | ExecutionPlan,
    device: str = "cpu",
    *,
    revises: bool = True,
    journal: Path | None = None,
) -> Iterator[Runner]:
    """Start this process's part of a configuration; processes find one another as torchrun says.

    Args:
        training: what is trained.
        plan: how; with a plan of `training`, what follows where memory runs out is chosen by its predictions, with a
            configuration alone the micro-batch is halved.
        device: cuda or cpu.
        revises: whether anything follows; else the allocator's error is raised.
        journal: a file that keeps what followed: the next start of this plan begins with the last of it.

    Raises:
        UsageError: there are more or fewer processes than the configuration has devices, or the journal is none.
    """
    kept = None if journal is None else Journal(journal, plan.id)
    known = [] if kept is None else kept.read()
    configuration = plan.configuration if isinstance(plan, ExecutionPlan) else plan
    if known:
        configuration = known[-1].new
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world != configuration.devices:
        msg = f"Expected {configuration.devices} processes, one for each device of the plan, got {world}: run it with `torchrun --nproc-per-node {configuration.devices}`."
        raise UsageError(msg)
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)  # FSDP shards onto the current one
    group = configuration.parallel != "none" and not distributed.is_initialized()
    if group:
        _meet("nccl" if place.type == "cuda" else "gloo")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if configuration.arithmetic == "float32" else "high")
    runner: Runner | None = None
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
        peers = Alone() if configuration.parallel == "none" else Peers.meet()
        revise = Reviser(training, plan if isinstance(plan, ExecutionPlan) else None) if revises else None
        runner = Runner(training, configuration, place, module, optimizer, rank, peers, revise, kept, known)
        del module  # the runner may let it go
        yield runner
    finally:
        torch.set_float32_matmul_precision(before)
        if group:
            _leave(None if runner is None else runner.module)


def _leave(module: nn.Module | None) -> None:
    """Leave the group, and let DDP's reducer go before it.

    Were the reducer the last to hold the group, as after this, the interpreter's lock would be held while the group's threads
    are waited for, and one that lets a tensor go waits for that lock: the process would never end (pytorch #56297).
    """
    held = distributed.group.WORLD
    distributed.destroy_process_group()
    if isinstance(module, DistributedDataParallel):
        del module.reducer, module.logger
    del held  # by its own destructor, without the lock


def _meet(backend: str) -> None:
    """Processes find one another by torchrun's store, which keeps the addresses of those that it started before (pytorch #135712)."""
    store, rank, world = next(iter(rendezvous("env://")))
    own = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    distributed.init_process_group(backend, store=own, rank=rank, world_size=world)


def _spread(module: nn.Module, configuration: Configuration) -> nn.Module:
    """Over the devices; buffers are sent by the runner as a step begins, so that no forward pass waits for the others."""
    if configuration.parallel == "none":
        return module
    if configuration.parallel == "ddp":
        replicas = DistributedDataParallel(module)
        replicas.broadcast_buffers = False
        return cast("nn.Module", replicas)
    for tensor in [*module.parameters(), *module.buffers()]:  # DDP does this itself
        distributed.broadcast(tensor.detach(), 0)
    for block in repeated_blocks(module):
        fully_shard(cast("Any", block))
    return cast("nn.Module", fully_shard(cast("Any", module)))


def _changed(tensors: list[Tensor], before: list[Tensor]) -> list[int]:
    return [
        n for n, (now, was) in enumerate(zip(tensors, before, strict=True)) if not torch.equal(now.to(was.device), was)
    ]


def _put_back(tensors: list[Tensor], before: list[Tensor]) -> None:
    for n in _changed(tensors, before):
        tensors[n].copy_(before[n])
