"""What a run takes while it runs: memory of the device and the process, time of the steps, energy.

Steps are not waited for: on a GPU events are put between them, and read when an epoch is over and the device idle.
The most resident memory is the kernel's own mark (getrusage) where the run lifted it; a process that was larger before
is sampled, as resetting the mark would take it from everyone else who reads it.
"""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import monotonic, perf_counter
from typing import Any, Final

import numpy as np
import psutil
import torch

from abi.devices.energy_counter import EnergyCounter, counting
from abi.resources import Resources
from abi.units import six_digits

FIRST: Final = 3
"""Steps that are left out: caches fill, kernels are chosen."""
SAMPLE_S: Final = 0.02
LOOK_S: Final = 30.0
"""Seconds between two looks at the energy counter, which wraps around."""


class Steps:
    """Times of steps on one device."""

    def __init__(self, device: str) -> None:
        self._gpu = device.startswith("cuda")
        self._marks: list[Any] = []
        self._times: list[float] = []

    def begin(self) -> None:
        """A step begins that follows no other: what lies between is no part of a step."""
        self.settle()
        self.tick()

    def tick(self) -> None:
        """A step ended, and the next one begins."""
        if not self._gpu:
            self._marks.append(perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch does not annotate it
        event.record()
        self._marks.append(event)

    def settle(self) -> None:
        """Turn marks into seconds, when the device has nothing else to do."""
        marks, self._marks = self._marks, []
        if self._gpu and marks:
            marks[-1].synchronize()
            self._times += [a.elapsed_time(b) / 1000 for a, b in pairwise(marks)]
        else:
            self._times += [b - a for a, b in pairwise(marks)]

    def kept(self) -> list[float]:
        """Seconds of each step without the first ones; of very few, all but one."""
        self.settle()
        return self._times[min(FIRST, len(self._times) // 2) :]


class Meter:
    """Measures until `read`."""

    def __init__(self, device: str, energy: EnergyCounter) -> None:
        self.steps = Steps(device)
        self._device, self._energy = device, energy
        self._process = psutil.Process()
        self._mark = high_water()
        self._most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()  # what an earlier run left is not this one's
            torch.cuda.reset_peak_memory_stats(device)

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def read(self, active_bytes: int | None = None) -> Resources:
        """What was taken until now; `active_bytes` is for a processor, where no allocator counts."""
        gpu, times, mark = self._device.startswith("cuda"), self.steps.kept(), high_water()
        self._energy.look()
        lifted = mark > self._mark
        return Resources(
            active_bytes=torch.cuda.max_memory_allocated(self._device) if gpu else active_bytes,
            reserved_bytes=torch.cuda.max_memory_reserved(self._device) if gpu else None,
            process_bytes=mark if lifted else max(self._most, self._process.memory_info().rss),
            process_by="mark" if lifted else "samples",
            steps=len(times),
            step_s=six_digits(float(np.median(times))) if times else None,
            step_p95_s=six_digits(float(np.quantile(times, 0.95))) if times else None,
            energy_j=None if self._energy.joules is None else six_digits(self._energy.joules),
            energy_by=self._energy.name if self._energy.joules is not None else "",
            missing=(self._energy.missing,) if self._energy.missing else (),
        )

    def _watch(self) -> None:
        looked = monotonic()
        while not self._over.wait(SAMPLE_S):
            self._most = max(self._most, self._process.memory_info().rss)
            if monotonic() - looked >= LOOK_S:
                looked = monotonic()
                self._energy.look()


@contextmanager
def metered(device: str) -> Iterator[Meter]:
    """A meter of a run on a torch device."""
    with counting(device) as energy:
        meter = Meter(device, energy)
        try:
            yield meter
        finally:
            meter.close()


def high_water() -> int:
    """Most resident bytes of this process since it began."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024
