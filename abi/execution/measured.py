"""Run a module that cannot be traced, on a few rows in a process of its own, and read its footprint off the allocator.

The process is a fresh one (spawn), with limits of time and memory, so that a module that never ends or takes all memory
takes nothing else down. What it prints is not shown.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Final

import psutil
import torch

from abi.errors import AbiError, UsageError, clip
from abi.execution.allocator import allocated_peaks
from abi.execution.footprint import WORKSPACE, fitted, phase_bytes
from abi.execution.lines import rounded_up
from abi.execution.module import built, said
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
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    try:
        pickle.dumps(training)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        msg = (
            f"Expected a factory that a fresh process can import, got one that it cannot ({clip(said(error), 120)}), and "
            f"tracing said: {clip(reason, 300).rstrip('.')}: name it as package:factory."
        )
        raise UsageError(msg) from error
    process = context.Process(target=_trial, args=(training, tuple(rows), limit, there), daemon=True)
    process.start()
    there.close()
    try:
        answer = here.recv() if here.poll(time_limit_s) else f"no answer in {time_limit_s:g} s"
    except EOFError:
        process.join()
        answer = f"an end of its process with code {process.exitcode}"
    finally:
        process.kill()
        process.join()
        here.close()
    if isinstance(answer, AbiError):
        raise answer
    if isinstance(answer, str):
        msg = f"Expected a module that trains on {rows[0]} to {rows[-1]} rows of the batch, got {clip(answer, 400)}: run it by hand."
        raise UsageError(msg)
    assert isinstance(answer, Footprint)
    return replace(answer, reason=reason)


def _trial(training: Training, rows: Sequence[int], limit: int, answer: Connection) -> None:
    """In the process: run, and send a Footprint, an error of the user's, or what went wrong."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    _limit_memory(limit)
    try:
        answer.send(_run(training, rows))
    except AbiError as error:
        answer.send(error)
    except (Exception, SystemExit) as error:
        answer.send(said(error))


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


def _limit_memory(limit: int) -> None:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    used = psutil.Process().memory_info().data
    resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
