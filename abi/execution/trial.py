"""Run a few steps and evaluations of a plan for real, in a process of its own, and measure what they take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import psutil
import torch

from abi.errors import UsageError, clip
from abi.execution.allocator import followed
from abi.execution.aside import Ended, NotPassed, aside
from abi.execution.meter import FIRST, high_water, metered
from abi.execution.runner import running
from abi.execution.step import Enter, Training
from abi.execution.types import Configuration, ExecutionPlan
from abi.resources import Resources
from abi.units import six_digits
from abi.values import Late, Value

STEPS: Final = FIRST + 12
LONGEST_S: Final = 30.0
"""Seconds after which no further step begins."""
LIMIT_S: Final = 300.0
MEMORY_SHARE: Final = 0.9
"""Of the host's memory that is free."""


@dataclass(frozen=True, kw_only=True)
class Trial(Value):
    """What the steps of a plan took on the device that it is for.

    Attributes:
        resources: memory of the tensors, of the allocator and of the process; times of a step; energy of all steps.
        steps: how many were run, beyond the first one.
        energy_step_j: of one step; None where the device does not tell.
        evaluation: the same of batches of evaluation between steps, a step's being a batch's; None where none are planned.
    """

    resources: Resources
    steps: int
    energy_step_j: float | None
    evaluation: Late[Resources | None] = None


def trial(training: Training, plan: ExecutionPlan, *, steps: int = STEPS, time_limit_s: float = LIMIT_S) -> Trial:
    """Run a plan's steps with its micro-batch, accumulation and precision, then its evaluation.

    Args:
        training: of the module that the plan is for.
        plan: for one device of this machine (`abi.devices.request.expect_here`).
        steps: how many; fewer where they take long.
        time_limit_s: seconds for all of it.

    Raises:
        UsageError: the plan is for several devices, a fresh process cannot import the module, or it does not run.
    """
    choice = plan.configuration
    if choice.devices != 1:
        msg = f"Expected a plan for one device to measure, got one for {choice.devices}: plan for 1x{plan.cluster.device.name}, or start its training with torchrun."
        raise UsageError(msg)
    training = training.changed(arithmetic=choice.arithmetic, checkpointing=choice.checkpointing)
    gpu = plan.cluster.device.kind == "gpu"
    limit = None if gpu else int(psutil.virtual_memory().available * MEMORY_SHARE)
    batch = None if plan.evaluation is None else plan.evaluation.batch
    asked = (training, choice, batch, "cuda" if gpu else "cpu", plan.job.row_bytes, steps)
    try:
        found: Trial = aside(_run, *asked, time_limit_s=time_limit_s, memory_limit_bytes=limit)
    except NotPassed as error:
        msg = f"Expected a module that a fresh process can import, got one that it cannot ({error}): name it as package:factory."
        raise UsageError(msg) from error
    except Ended as end:
        msg = f"Expected {plan.module} to run a few steps of {choice.micro_batch} rows, got {clip(str(end), 400)}: run it by hand, or plan with less memory."
        raise UsageError(msg) from end
    return found


def _run(
    training: Training, choice: Configuration, batch: int | None, device: str, row_bytes: int, steps: int
) -> Trial:
    torch.manual_seed(0)
    rows = choice.micro_batch * choice.accumulation
    training = training.changed(checkpointing=False)  # the runner applies it
    evaluated = None
    with running(training, choice, device, revises=False) as runner:
        arguments = training.batch.make(rows)
        taken, done = _metered(partial(runner.step, arguments), device, steps)
        # the process is a fresh one: its mark is of these steps
        taken = replace(taken, process_bytes=high_water(), process_by="mark")
        del arguments
        if batch is not None:
            some = training.batch.make(batch)
            evaluated, _ = _metered(partial(runner.evaluate, some), device, steps)
            evaluated = replace(evaluated, process_bytes=None, process_by=None)  # steps came before
            del some
    del runner
    if taken.active_bytes is None:
        peaks = _allocated(training, choice, rows, batch)
        # a device would hold the rows of one micro-batch; here all rows of the step lie in the same memory
        taken = replace(taken, active_bytes=peaks["forward"] - (rows - choice.micro_batch) * row_bytes)
        if evaluated is not None:
            evaluated = replace(evaluated, active_bytes=peaks["evaluate"])
    energy = None if taken.energy_j is None else six_digits(taken.energy_j / done)
    return Trial(resources=taken, steps=done, energy_step_j=energy, evaluation=evaluated)


def _metered(run: Callable[[], object], device: str, times: int) -> tuple[Resources, int]:
    """Run something once, then so many times under a meter, fewer where it takes long; how often it was."""
    run()
    with metered(device) as meter:
        began, done = time.perf_counter(), 0
        meter.steps.begin()
        while done < times and (done < 2 or time.perf_counter() - began < LONGEST_S):  # noqa: PLR2004 - one is no spread
            run()
            meter.steps.tick()
            done += 1
        return meter.read(), done


def _allocated(training: Training, choice: Configuration, rows: int, batch: int | None) -> dict[str, int]:
    """Peaks of a step and of an evaluation.

    The processor's allocator tells of a run what it is asked for beforehand: so two more steps, under its profiler.
    """

    def run(enter: Enter) -> None:
        with running(training, choice, "cpu", revises=False) as runner:
            arguments = training.batch.make(rows)
            runner.step(arguments)
            enter("forward")
            runner.step(arguments)
            enter(None)
            del arguments
            if batch is not None:
                some = training.batch.make(batch)
                enter("evaluate")
                runner.evaluate(some)
                enter(None)

    return followed(run)
