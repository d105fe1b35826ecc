"""How far a training is, and how fast: the learning rate's schedule, shortened where the time limit asks for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from abi.training.checkpoint import Progress

WARMUP: Final = 0.05
LOOK_EVERY: Final = 10
"""Steps between two looks at the clock."""
SETTLED: Final = 20
"""Steps before the pace is believed: the first ones are slow."""


def schedule(share: float) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017)."""
    return min(1.0, (share + 1e-3) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Pace:
    """Counts steps in `progress` and divides what is left of the schedule over the steps that still fit.

    As long as the planned steps fit into the limit, the share done is exactly steps / planned steps, whatever the
    machine's speed; so the same plan and seed give the same weights. `agree` is by which several processes go by one
    clock.
    """

    def __init__(
        self, planned: int, limit_s: float | None, progress: Progress, agree: Callable[[int], int] = int
    ) -> None:
        self._progress, self._limit_s, self._agree = progress, limit_s, agree
        self._began = time.perf_counter() - progress.seconds
        self._first = (progress.step, progress.seconds)
        self._end = planned if progress.end is None else progress.end
        self._anchor = (progress.anchor_step, progress.anchor_share)
        self.cut = progress.end is not None

    @property
    def seconds(self) -> float:
        """Since the training began, over all its processes."""
        return time.perf_counter() - self._began

    @property
    def remaining(self) -> int:
        """Steps that are left."""
        return max(0, self._end - self._progress.step)

    @property
    def over(self) -> bool:
        """No steps are left."""
        return self.remaining == 0

    def step(self) -> None:
        """One more step is done."""
        progress = self._progress
        progress.step += 1
        done = progress.step - self._first[0]
        if self._limit_s is not None and done >= SETTLED and progress.step % LOOK_EVERY == 0:
            self._look(self._limit_s, done)
        start, share = self._anchor
        progress.share = share + (1 - share) * (progress.step - start) / max(1, self._end - start)

    def _look(self, limit_s: float, done: int) -> None:
        now = self.seconds
        # the mean since the start: a stall of a moment must not cut a schedule that still fits
        per_step = (now - self._first[1]) / done
        fitting = self._agree(max(0, int((limit_s - now) / per_step)))
        if fitting < self.remaining:
            progress = self._progress
            self.cut = True
            self._end = progress.step + fitting
            self._anchor = (progress.step, progress.share)
            progress.end, progress.anchor_step, progress.anchor_share = self._end, *self._anchor
