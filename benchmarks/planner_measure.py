"""What really happens when a configuration runs: peaks of memory by phase, seconds of a step, whether it fits a limit."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from abi.execution.allocator import allocated_peaks
from abi.execution.checkpointing import apply_checkpointing
from abi.execution.module import optimizer_of
from abi.execution.step import PHASES, Step, Training, plain_kernels

LEAST_RUNS, MOST_RUNS, MOST_S = 3, 30, 0.4
TOGETHER = 5
"""Steps that are timed at a time: nobody waits for one before the next begins."""


@dataclass(frozen=True)
class Actual:
    """Bytes given out at the peak of each phase, bytes reserved, and seconds of a step (None where it was not timed)."""

    phases: dict[str, int]
    reserved: int
    step_s: float | None

    @property
    def step_bytes(self) -> int:
        """At the peak of a training step."""
        return max(self.phases[phase] for phase in PHASES[:3])


def nothing(_: object) -> None:
    """Told of a phase, and does nothing."""


@contextmanager
def arithmetic(training: Training) -> Iterator[None]:
    """Matrix products in float32 run as the training says."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if training.arithmetic == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = training.arithmetic != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def emptied() -> None:
    """Give everything back to the driver, workspaces of matrix libraries as well."""
    gc.collect()
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()


def started(training: Training, place: str) -> Step:
    """The module on its device with its optimizer."""
    with torch.device(place):
        module = training.build()
    if training.checkpointing:
        apply_checkpointing(module)
    return Step(training, module, optimizer_of(training.optimizer, module))


def on_cpu(training: Training, rows: int, *, recurrent: bool) -> Actual:
    """A step on the processor; its recurrent layers run without oneDNN, as they are traced."""
    with plain_kernels() if recurrent else nullcontext():
        phases = allocated_peaks(training, rows)
    return Actual(phases, 0, None)


def on_gpu(training: Training, rows: int) -> Actual:
    """The second step and an evaluation on the GPU, then steps that are timed."""
    emptied()
    with arithmetic(training):
        step = started(training, "cuda")
        arguments = training.batch.make(rows, "cuda")
        step.train(arguments, nothing)
        gc.collect()
        phases: dict[str, int] = {}
        current: list[str] = []

        def enter(phase: str | None) -> None:
            if current:
                phases[current.pop()] = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            if phase:
                current.append(phase)

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step.train(arguments, enter)
        reserved = torch.cuda.max_memory_reserved()
        step.evaluate(arguments, enter)
        step_s = step_seconds(step, arguments)
    return Actual(phases, reserved, step_s)


def step_seconds(step: Step, arguments: dict[str, object]) -> float:
    """Median seconds of a step among several that follow each other without waiting."""
    times: list[float] = []
    step.train(arguments, nothing)
    began = time.perf_counter()
    while len(times) < LEAST_RUNS or (len(times) < MOST_RUNS and time.perf_counter() - began < MOST_S):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(TOGETHER):
            step.train(arguments, nothing)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / TOGETHER)
    return statistics.median(times)


def fits(training: Training, rows: int, limit_bytes: int) -> bool:
    """Whether two steps and an evaluation run when the allocator may reserve no more than so many bytes.

    What earlier configurations left in this process is not counted: whoever trains this one has a process for it.
    """
    emptied()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (limit_bytes + torch.cuda.memory_reserved()) / total))
    try:
        with arithmetic(training):
            step = started(training, "cuda")
            arguments = training.batch.make(rows, "cuda")
            for _ in range(2):
                step.train(arguments, nothing)
            step.evaluate(arguments, nothing)
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return True
