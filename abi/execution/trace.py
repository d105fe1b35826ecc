"""Trace a training step and an evaluation under fake CPU tensors: sizes without memory, in a fraction of a second."""

from __future__ import annotations

import gc
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from abi.errors import AbiError, Untraceable, UsageError, clip
from abi.execution.checkpointing import repeated_blocks
from abi.execution.cuda.kernels import cuda_kernels
from abi.execution.deadline import within
from abi.execution.module import FactoryError, built, said
from abi.execution.recorder import Recorder, Recording
from abi.execution.recurrent import followed
from abi.execution.step import PHASES, Step, Training, plain_kernels
from abi.execution.target import PROCESSOR, Target
from abi.execution.types import TRAINING, PhaseName, PhaseTrace, StepTrace

AGAIN = 25
"""Operators' worth of the host's time for each block that is computed again: random state is kept and put back."""
TIME_LIMIT_S = 120.0
"""Of a module's traces: it ends the loop of a module that has no end."""

MISFIT = re.compile(
    r"same reduction dim|shapes cannot be multiplied|size mismatch|must match|broadcast|invalid for input of size"
    r"|to have \d+ channels|input to conv|normalized_shape|should contain \d+ elements|must be equal to input_size"
    r"|embedding dimension of|scalar types|forward\(\) (takes|missing|got)|products of one type"
)
"""What torch and Python say where shapes, types or arguments do not go together: running the module would say it too."""


def trace(
    training: Training,
    rows: int,
    *,
    target: Target = PROCESSOR,
    limit: int | None = None,
    evaluated: bool = True,
) -> StepTrace:
    """Peaks and operators of the second step, and of an evaluation, on `rows` rows.

    Args:
        training: what is trained and how.
        rows: of the step.
        target: the device that it is for.
        limit: bytes that a GPU's allocator may reserve; what it must refuse is told, and the first step, which leaves its
            mark on the allocator's blocks, is one of as many rows.
        evaluated: whether an evaluation of as many rows follows.

    Raises:
        Untraceable: the module needs the values of its tensors, not their shapes alone, or cannot run on these rows.
        UsageError: the factory gives no module that can be trained, or the batch does not fit it.
    """
    first = None if limit is None else rows
    recorded, _ = record(training, (rows,), target=target, limit=limit, evaluated=evaluated, first=first)
    phases = PHASES if evaluated else TRAINING
    return StepTrace(rows=rows, phases=tuple(recorded[0][phase].trace() for phase in phases))


def trace_evaluation(
    training: Training, rows: int, step_rows: int, *, target: Target = PROCESSOR, limit: int | None = None
) -> PhaseTrace:
    """An evaluation of `rows` rows after a step of `step_rows`, whose gradients are still there; the rest as of `trace`."""
    first = None if limit is None else step_rows
    recorded, _ = record(training, (rows,), target=target, limit=limit, trained=False, first=first)
    return recorded[0]["evaluate"].trace()


def record(
    training: Training,
    rows: Sequence[int],
    *,
    target: Target = PROCESSOR,
    limit: int | None = None,
    trained: bool = True,
    evaluated: bool = True,
    first: int | None = None,
) -> tuple[list[dict[PhaseName, Recording]], dict[str, int]]:
    """Every phase at each number of rows, after a step that is not recorded; then bytes that are always there.

    Without `evaluated` the training step alone, without `trained` the evaluation. The step before is one of `first` rows.

    Returns:
        Per number of rows, phase -> recording; and `parameters` (a count), `parameter_bytes`, `gradient_bytes`,
        `optimizer_bytes`, and what a processor takes for LSTMs besides: `recurrent_bytes` and `recurrent_row_bytes`.
    """
    kernels = cuda_kernels(target.capability) if target.kind == "gpu" else nullcontext()
    with _undisturbed(), plain_kernels(), kernels, FakeTensorMode(allow_non_fake_inputs=True) as mode:
        recorder = Recorder(target=target, numbers=True, limit=limit)
        with recorder, within(TIME_LIMIT_S, "a module that is built and traced"):
            module = _fake(training, mode, recorder)
            recorded: list[dict[PhaseName, Recording]] = []
            try:
                step = training.made(module, fake=True)
                if first is not None:
                    step.train(training.batch.make(first), recorder.enter)
                else:
                    training.warm_up(step, recorder.enter)
                for number in rows:
                    with followed(step.module) as recurrent:
                        recorded.append(_recorded(step, recorder, number, trained=trained, evaluated=evaluated))
                fixed, each = recurrent.taken(rows[-1])
                more = {"recurrent_bytes": math.ceil(fixed), "recurrent_row_bytes": math.ceil(each)}
                return recorded, sizes(step) | more
            except AbiError:
                raise
            except (Exception, SystemExit) as error:  # a user's module may raise anything
                if isinstance(error, RuntimeError | TypeError | AssertionError) and MISFIT.search(str(error)):
                    msg = f"Expected a batch that fits the module, got {clip(said(error), 300)}: see the names, types and shapes in the batch."
                    raise UsageError(msg) from error
                msg = f"Expected a module whose step depends on shapes alone, got {clip(said(error), 300)}."
                raise Untraceable(msg) from error


def sizes(step: Step) -> dict[str, int]:
    """How many parameters are trained, and bytes of parameters and buffers, gradients and the optimizer's state."""
    trained = [p for p in step.module.parameters() if p.requires_grad]
    held = [*step.module.parameters(), *step.module.buffers()]
    states = [v for state in step.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
    return {
        "parameters": sum(p.numel() for p in trained),
        "parameter_bytes": _storages(held),
        "gradient_bytes": sum(p.numel() * p.element_size() for p in trained),
        "optimizer_bytes": _storages(states),
    }


def _recorded(
    step: Step, recorder: Recorder, rows: int, *, trained: bool, evaluated: bool
) -> dict[PhaseName, Recording]:
    recorder.phases = {}
    arguments = step.training.batch.make(rows)
    recorder.follow(t for t in arguments.values() if isinstance(t, Tensor))
    if trained:
        step.train(arguments, recorder.enter)
    if evaluated:
        step.evaluate(arguments, recorder.enter)
    if trained and step.training.checkpointing:
        recorder.phases["backward"].dispatched += AGAIN * len(repeated_blocks(step.module))
    return dict(recorder.phases)


def _fake(training: Training, mode: FakeTensorMode, recorder: Recorder) -> nn.Module:
    """The module built under fake tensors; where its factory reads values, built for real and then made fake."""
    module = None
    if not training.reads:
        with suppress(FactoryError):
            module = built(training.build)
    if module is None:
        with _disable_current_modes():
            module = built(training.build)
        _make_fake(module, mode)
    recorder.follow([*module.parameters(), *module.buffers()])
    return module


def _make_fake(module: nn.Module, mode: FakeTensorMode) -> None:
    """Replace parameters and buffers by fake ones; tied ones stay tied."""
    twins: dict[int, Tensor] = {}
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if id(tensor) not in twins:
                    fake = mode.from_tensor(tensor.detach())
                    trained = isinstance(tensor, nn.Parameter)
                    twins[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if trained else fake
                held[name] = twins[id(tensor)]  # type: ignore[assignment]


def _storages(tensors: Sequence[Tensor]) -> int:
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the collector of cycles, whose moments would differ, and without torch's log; torch's random state is put back."""
    state, collects = torch.get_rng_state(), gc.isenabled()
    log = logging.getLogger("torch._subclasses.fake_tensor")
    told, log.disabled = log.disabled, True  # of shapes that do not fit it prints a traceback
    gc.disable()
    try:
        yield
    finally:
        log.disabled = told
        torch.set_rng_state(state)
        if collects:
            gc.enable()
