"""Run a module that cannot be traced, on a few rows in a process of its own, and read its footprint off the allocator.

Limits of time and memory (`abi.execution.aside`) keep a module that never ends or takes all memory from taking anything
else down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import psutil
import torch

from abi.errors import UsageError, clip
from abi.execution.allocator import allocated_peaks
from abi.execution.aside import Ended, NotPassed, aside
from abi.execution.footprint import WORKSPACE, fitted, phase_bytes
from abi.execution.lines import rounded_up
from abi.execution.module import built
from abi.execution.recorder import Recorder, Recording
from abi.execution.step import PHASES, Training
from abi.execution.trace import sizes
from abi.execution.types import Footprint, PhaseName

ROWS: Final = (2, 4, 8)
MARGIN: Final = 0.05
"""What a few runs on few rows do not say about many."""
MEMORY_SHARE: Final = 0.5
"""Of the memory that is free."""


def measured_footprint(
    training: Training,
    *,
    reason: str,
    rows: Sequence[int] = ROWS,
    time_limit_s: float = 120.0,
    memory_limit_bytes: int | None = None,
) -> Footprint:
    """The footprint of a module by running it.

    Args:
        training: what is trained; a fresh process has to be able to import its factory.
        reason: why it was not traced, as a sentence.
        rows: numbers of rows to run.
        time_limit_s: seconds for all of it.
        memory_limit_bytes: for the process; half of what is free where it is not given.

    Raises:
        UsageError: it does not run either, or not within the limits.
    """
    limit = memory_limit_bytes or int(psutil.virtual_memory().available * MEMORY_SHARE)
    try:
        found: Footprint = aside(_run, training, tuple(rows), time_limit_s=time_limit_s, memory_limit_bytes=limit)
    except NotPassed as error:
        msg = (
            f"Expected a factory that a fresh process can import, got one that it cannot ({error}), and "
            f"tracing said: {clip(reason, 300).rstrip('.')}: name it as package:factory."
        )
        raise UsageError(msg) from error
    except Ended as end:
        script = (
            ", and in a script behind `if __name__ == '__main__':`" if re.search(r"with code [01]$", str(end)) else ""
        )
        msg = f"Expected a module that trains on {rows[0]} to {rows[-1]} rows of the batch, got {clip(str(end), 400)}: run it by hand{script}."
        raise UsageError(msg) from end
    return replace(found, reason=reason)


def _run(training: Training, rows: Sequence[int]) -> Footprint:
    torch.manual_seed(0)
    recorder = Recorder()
    recorded: list[dict[PhaseName, Recording]] = []
    with recorder:
        step = training.made(built(training.build))
        recorder.follow([*step.module.parameters(), *step.module.buffers()])
        training.warm_up(step, recorder.enter)
        for number in rows:
            arguments = training.batch.make(number)
            step.train(arguments, recorder.enter)
            step.evaluate(arguments, recorder.enter)
            recorded.append(dict(recorder.phases))
    traced = fitted(training, recorded, rows, sizes(step), max(WORKSPACE, MARGIN))
    above = 0.0
    for number in rows:
        torch.manual_seed(0)
        peaks = allocated_peaks(training, number)
        above = max(above, *(peaks[phase] / phase_bytes(traced, phase, number) - 1 for phase in PHASES))
    return replace(traced, margin=rounded_up(traced.margin + above), method="measured")
