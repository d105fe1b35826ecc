"""Peak memory of a stretch of code: what it adds to the process, sampled while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from types import TracebackType

import psutil
import torch

INTERVAL_S = 0.02


def _give_back() -> None:
    """Return freed memory to the system, so that what an earlier training left does not hide what this one takes."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc has it, other C libraries do not
        ctypes.CDLL(None).malloc_trim(0)


class PeakMemory:
    """Context manager; `peak_bytes` is the largest resident size above that at entry (on a GPU: the allocator's peak)."""

    def __init__(self, device: str = "cpu") -> None:
        self.peak_bytes = 0
        self._cuda = device.startswith("cuda")
        self._stop = threading.Event()
        self._process = psutil.Process()
        self._start = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:  # not Self, which beartype cannot check in a decorated method
        self._start = self._process.memory_info().rss
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        if self._cuda:
            self.peak_bytes = torch.cuda.max_memory_allocated()

    def _look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss - self._start)

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._look()
