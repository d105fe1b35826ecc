"""Data parallel training: what a process that trains with others does differently from one alone.

Every process goes through the same shuffles and takes its part of each step's rows. Its loss is weighted by its share of
the rows, so that losses and gradients, added up over all processes, are those of the whole step (Li et al. 2020). All of
them then clip, decay and step alike. What depends on a clock or on validation is decided by the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, distributed, nn

from abi.execution.out_of_memory import is_out_of_memory
from abi.types import Execution

TIMEOUT_S: Final = 600.0
"""So long a process waits for the others, who may be validating; one that ended is noticed at once by who started it."""


class PeersLost(Exception):
    """Another process does not answer any more."""


@dataclass(frozen=True)
class Alone:
    """One process that does everything."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, watches, keeps checkpoints and gives the result."""
        return self.rank == 0

    def place(self, execution: Execution) -> Execution:
        """Where this process trains."""
        return execution

    def own(self, index: Tensor) -> tuple[Tensor, float]:
        """This process's rows of a step, and which share of the step's loss they are."""
        return index, 1.0

    def begin(self, seed: int, epoch: int) -> None:
        """An epoch begins."""

    def add_up(self, parameters: list[nn.Parameter], *losses: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - a replica's
        """Gradients, in place, and losses of all processes together."""
        return losses

    def agree(self, value: int) -> int:
        """What the first process says."""
        return value

    def joules(self, own: float | None) -> float | None:
        """Energy of all devices together."""
        return own

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Take over weights, masks and moments of the first process."""


@dataclass(frozen=True)
class Replica(Alone):
    """One process of several, each with a whole network."""

    def place(self, execution: Execution) -> Execution:
        """A GPU of its own; its share of the processor's cores."""
        device = f"cuda:{self.rank}" if execution.device.startswith("cuda") else execution.device
        return replace(execution, device=device, threads=max(1, execution.threads // self.size))

    def own(self, index: Tensor) -> tuple[Tensor, float]:
        """This process's rows of a step; where there are fewer rows than processes, one that does not count."""
        part = index.tensor_split(self.size)[self.rank]
        return (part, len(part) / len(index)) if len(part) else (index[:1], 0.0)

    def begin(self, seed: int, epoch: int) -> None:
        """Dropout differs by process; by epoch, so that a training that was resumed draws the same."""
        if not self.leads:  # the first one's random state is kept with its checkpoint
            (state,) = np.random.SeedSequence((seed, self.rank, epoch)).generate_state(1, np.uint64)
            torch.manual_seed(int(state >> 1))

    def add_up(self, parameters: list[nn.Parameter], *losses: Tensor) -> tuple[Tensor, ...]:
        """One sum over all processes for all of them."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        parts = [*gradients, *losses]
        flat = torch.cat([part.flatten() for part in parts])
        with _answered():
            distributed.all_reduce(flat)
        pieces = torch.split(flat, [part.numel() for part in parts])
        summed = [piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)]
        torch._foreach_copy_(gradients, summed[: len(gradients)])
        return tuple(summed[len(gradients) :])

    def agree(self, value: int) -> int:
        """Said through the processor: a GPU need not be waited for."""
        said = torch.tensor(value, dtype=torch.int64)
        with _answered():
            distributed.broadcast(said, 0)
        return int(said)

    def joules(self, own: float | None) -> float | None:
        """The sum over all GPUs; None where one does not tell."""
        said = torch.tensor([own or 0.0, own is None], dtype=torch.float64)
        with _answered():
            distributed.all_reduce(said)
        return None if said[1] else float(said[0])

    def align(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """What was drawn or ranked on a GPU may differ by rounding."""
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        # by name: a checkpoint is read in any order
        moments = [t for p in owned for _, t in sorted(optimizer.state.get(p, {}).items()) if isinstance(t, Tensor)]
        with _answered():
            for tensor in [*network.parameters(), *network.buffers(), *moments]:
                distributed.broadcast(tensor.detach(), 0)


@contextmanager
def replica(rank: int, size: int, device: str, folder: Path) -> Iterator[Replica]:
    """Meet the other processes at a file in `folder`."""
    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(rank)
    with _answered():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            init_method=(folder / "meeting").as_uri(),
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=TIMEOUT_S),
        )
    yield Replica(rank, size)
    distributed.destroy_process_group()  # not after an error, when the others may be waiting in vain


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise PeersLost(str(error)) from error
