"""The training step that is traced, measured and planned: one definition for all three.

zero_grad, forward and loss (under autocast where asked), backward, optimizer step; then an evaluation without
gradients, while the gradients of the step are still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import nn

from abi.devices.device import Arithmetic
from abi.execution.batch import Batch
from abi.execution.checkpointing import apply_checkpointing
from abi.execution.module import Build, Loss, MakeOptimizer, built, call, default_loss, optimizer_of
from abi.execution.types import PhaseName

PHASES: Final[tuple[PhaseName, ...]] = ("forward", "backward", "optimizer", "evaluate")
WARM_UP_ROWS: Final = 2
Enter = Callable[[PhaseName | None], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained and how.

    Attributes:
        build: gives the module.
        batch: gives its arguments at a number of rows.
        loss: of the module's output and arguments.
        optimizer: a name of `OPTIMIZERS`, or a function of the parameters.
        arithmetic: bfloat16 runs the forward pass under autocast; tf32 keeps tensors in float32.
        checkpointing: activations are computed again in the backward pass.
        autocast: whether bfloat16 is autocast's; a module that multiplies in bfloat16 by itself needs none.
        reads: whether its factory reads values, so that it is built before it is made fake; else that is found out.
    """

    build: Build
    batch: Batch
    loss: Loss = default_loss
    optimizer: str | MakeOptimizer = "adamw"
    arithmetic: Arithmetic = "float32"
    checkpointing: bool = False
    autocast: bool = True
    reads: bool = False

    def made(self, module: nn.Module, *, fake: bool = False) -> Step:
        """The step over a module that was built; the module itself is changed by checkpointing and training."""
        if self.checkpointing:
            apply_checkpointing(module, preserve_random_state=not fake)
        return Step(self, module, optimizer_of(self.optimizer, module))

    def warm_up(self, step: Step, enter: Enter) -> None:
        """What brings the optimizer's state, and all that a first step makes, into being."""
        step.train(self.batch.make(WARM_UP_ROWS), enter)

    def changed(self, **fields: Any) -> Training:
        """The same with other fields."""
        return replace(self, **fields)


@dataclass(frozen=True)
class Step:
    """A module with its optimizer, ready to be stepped."""

    training: Training
    module: nn.Module
    optimizer: torch.optim.Optimizer

    def train(self, arguments: dict[str, Any], enter: Enter) -> None:
        """One step; `enter` is told of each phase as it begins."""
        self.train_parts([arguments], enter)

    def train_parts(self, parts: Sequence[dict[str, Any]], enter: Enter) -> None:
        """One step over several micro-batches, whose gradients are added up."""
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        for arguments in parts:
            enter("forward")
            with self._autocast():
                loss = self.training.loss(call(self.module, arguments), arguments)
                loss = loss if len(parts) == 1 else loss / len(parts)
            enter("backward")
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        enter("optimizer")
        self.optimizer.step()
        enter(None)

    def evaluate(self, arguments: dict[str, Any], enter: Enter) -> None:
        """One forward pass without gradients."""
        self.module.eval()
        enter("evaluate")
        with torch.no_grad(), self._autocast():
            call(self.module, arguments)
        enter(None)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.training.arithmetic != "bfloat16" or not self.training.autocast:
            return nullcontext()
        return torch.autocast(next(self.module.parameters()).device.type, torch.bfloat16)


def start(training: Training) -> Step:
    """Build the module and its optimizer.

    Raises:
        UsageError: the factory gives no module that can be trained.
    """
    return training.made(built(training.build))


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Without kernels that take memory no trace can see: oneDNN's recurrent layers, torch's fused transformer layer."""
    # torch.backends.mkldnn.flags sets more than this, and warns of what it sets
    enabled, fused = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
        torch.backends.mha.set_fastpath_enabled(fused)
