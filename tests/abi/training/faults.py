"""What goes wrong in processes that train together: functions that such a process can import."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from abi.errors import PlanInfeasible
from abi.families.network import Network
from abi.training.processes import together
from abi.training.watch import Unwatched


def scarce(run: Callable[..., Any], rank: int, most: int, after: int, **given: Any) -> Any:
    """In the process of that rank memory runs out for more than `most` training rows at a time, `after` so many calls."""
    real, calls = Network.embed, [0]

    def embed(self: Network, cells: Any) -> Any:
        if self.training:
            calls[0] += 1
            if calls[0] > after and cells.rows > most:
                msg = "CUDA out of memory. Tried to allocate 2.00 GiB."
                raise torch.OutOfMemoryError(msg)
        return real(self, cells)

    if given["group"].rank == rank:
        Network.embed = embed  # type: ignore[method-assign]
    return run(**given)


def killed(**given: Any) -> None:
    """The second process is killed while the first waits for it in a collective."""
    _both_there(given)
    if given["group"].rank == 1:
        print("the last that it said", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)
    given["group"].agree(0)


def killed_unnoticed(**given: Any) -> None:
    """The second process is killed while the first would wait for ever, as a kernel of NCCL does."""
    _both_there(given)
    if given["group"].rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def broken(**given: Any) -> None:
    """The second process has a bug."""
    if given["group"].rank == 1:
        msg = "mat1 and mat2 shapes cannot be multiplied."
        raise RuntimeError(msg)
    given["group"].agree(0)


def refused(**given: Any) -> None:
    """The second process cannot do what the user asked for."""
    if given["group"].rank == 1:
        msg = "Expected more, got less: ask for less."
        raise PlanInfeasible(msg)
    given["group"].agree(0)


def endless(**given: Any) -> None:
    """Both processes are there, and stay."""
    _both_there(given)
    time.sleep(600)


def _both_there(given: dict[str, Any]) -> None:
    given["group"].agree(0)
    given["watcher"].step(1, 1)
    given["group"].agree(0)


class Said(Unwatched):
    """Says on stdout that both are there."""

    def step(self, done: int, total: int) -> None:
        """Both are."""
        print("there", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))  # as a child finds this file
    together(importlib.import_module("faults").endless, count=2, device="cpu", watcher=Said(), checkpoints=None)
