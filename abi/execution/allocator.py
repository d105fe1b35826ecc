"""What the CPU allocator itself gave out, phase by phase: the figure that traces are held against.

torch's profiler is told of every allocation by the allocator, with the bytes in use; workspace inside kernels is in it.
Only what is allocated while the profiler is on is counted, so the module has to be built under it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from abi.execution.module import built
from abi.execution.step import Enter, Training
from abi.execution.types import PhaseName

_MARK = "abi.phase."


def allocated_peaks(training: Training, rows: int) -> dict[str, int]:
    """Bytes in use at the peak of each phase of a real second step and evaluation, by the allocator's own count."""

    def run(enter: Enter) -> None:
        step = training.made(built(training.build))
        arguments = training.batch.make(rows)
        step.train(arguments, lambda _: None)
        step.train(arguments, enter)
        step.evaluate(arguments, enter)

    return followed(run)


def followed(run: Callable[[Enter], None]) -> dict[str, int]:
    """Peak of every phase that `run` enters."""
    gc.collect()

    def enter(phase: PhaseName | None) -> None:
        with record_function(f"{_MARK}{phase or ''}"):
            pass

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(enter)
        gc.collect()  # what is freed when the profiler is off would stay in the allocator's count
    assert profiler.profiler is not None
    tree = profiler.profiler.kineto_results.experimental_event_tree()
    events = sorted(
        (e for e in _walk(tree) if e.name == "[memory]" or e.name.startswith(_MARK)), key=lambda e: e.start_time_ns
    )
    peaks: dict[str, int] = {}
    phase, live, before = "", 0, None
    for event in events:
        if event.name == "[memory]":
            if before is None:
                before = event.extra_fields.total_allocated - event.extra_fields.alloc_size
            live = int(event.extra_fields.total_allocated - before)
        else:
            phase = event.name.removeprefix(_MARK)
        if phase:
            peaks[phase] = max(peaks.get(phase, 0), live)
    return peaks


def _walk(events: Iterable[Any]) -> Iterator[Any]:
    waiting = list(events)
    while waiting:
        event = waiting.pop()
        yield event
        waiting += event.children
