"""Which traces a plan needs: they are what takes time, so those that cannot change it are left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, get_args

from abi.devices.device import Arithmetic, Device
from abi.execution.costing import EVALUATE, Question
from abi.execution.decide import Peak
from abi.execution.demands import demands, with_limit
from abi.execution.footprint import footprint, phase_bytes
from abi.execution.plainer import within_reach
from abi.execution.search import search
from abi.execution.sensitivity import STEP
from abi.execution.step import PHASES, Training
from abi.execution.target import Target
from abi.execution.trace import trace, trace_evaluation
from abi.execution.types import TRAINING, Footprint, PhaseName, PhaseTrace

FRAGMENTED: Final = 1.04
"""Room over what a followed allocator needs: an H200 needed up to 3% more at a limit (`benchmarks/README.md`)."""


@dataclass(frozen=True)
class Tracer:
    """Traces one training on one kind of device, each footprint once, at these numbers of rows."""

    training: Training
    device: Device
    rows: tuple[int, ...] | None = None
    known: dict[tuple[Arithmetic, bool], Footprint] = field(default_factory=dict, compare=False)
    apart: bool = True
    """Whether evaluation has a batch of its own; else a step's peak counts an evaluation of as many rows."""
    peaks: dict[tuple[Arithmetic, bool, int, int], tuple[float, int]] = field(default_factory=dict, compare=False)
    """By rows evaluated and trained, of what nothing was refused: the most that it takes, and the most that the allocator
    reserved for it."""

    def kept(self) -> Tracer:
        """One that is alike and has traced already, or this one, which is kept for the next that is alike."""
        found = next((tracer for tracer in _KEPT if tracer == self), self)
        if found is self:
            _KEPT.append(self)
        return found

    def footprints(self, *, checkpointing: bool) -> tuple[Footprint, ...]:
        """One for each arithmetic that the device has."""
        names = [name for name in get_args(Arithmetic) if name in self.device.rates]
        return tuple(self._footprint(name, checkpointing) for name in names)

    def peak(self, of: Footprint, rows: int, room: int) -> Peak:
        """The most that a footprint's step takes at a number of rows; nothing where it was measured and not traced.

        Args:
            of: whose step.
            rows: of it.
            room: bytes that a GPU's allocator may reserve.
        """
        phases = TRAINING if self.apart else PHASES
        return self._peak(
            of,
            phases,
            rows,
            (0, rows),
            room,
            lambda training, target, limit: (
                trace(training, rows, target=target, limit=limit, evaluated=not self.apart).phases
            ),
        )

    def evaluation_peak(self, of: Footprint, rows: int, step_rows: int, room: int) -> Peak:
        """The same of an evaluation of `rows` rows after a step of `step_rows`."""
        return self._peak(
            of,
            (EVALUATE,),
            rows,
            (rows, step_rows),
            room,
            lambda training, target, limit: (trace_evaluation(training, rows, step_rows, target=target, limit=limit),),
        )

    def _peak(
        self,
        of: Footprint,
        phases: tuple[PhaseName, ...],
        rows: int,
        known_by: tuple[int, int],
        room: int,
        traced: Callable[[Training, Target, int | None], tuple[PhaseTrace, ...]],
    ) -> Peak:
        if of.method == "measured":
            return Peak(0.0)  # running it at its real size is what a plan is made to avoid
        if rows in of.traced_rows and self.device.kind == "cpu":
            return Peak(max(phase_bytes(of, phase, rows) for phase in phases))
        key = of.arithmetic, of.checkpointing, *known_by
        if key in self.peaks and FRAGMENTED * self.peaks[key][1] <= room:
            return Peak(self.peaks[key][0])  # a limit that is not reached changes nothing
        limit = int(room / FRAGMENTED) if self.device.segments_bytes else None  # else its allocator is not known
        found = traced(self._training(of.arithmetic, of.checkpointing), Target.of(self.device), limit)
        taken = max(phase.allocated_bytes or phase.peak_bytes for phase in found)
        needed = max(phase.reserved_bytes for phase in found)
        if any(phase.refused for phase in found):
            return Peak(float(taken), FRAGMENTED * needed)
        self.peaks[key] = float(taken), needed
        return Peak(float(taken))

    def _footprint(self, arithmetic: Arithmetic, checkpointing: bool) -> Footprint:
        key = arithmetic, checkpointing
        if key not in self.known:
            like = self.known.get(("float32", checkpointing)) if arithmetic == "tf32" else None
            self.known[key] = (
                footprint(self._training(arithmetic, checkpointing), rows=self.rows, target=Target.of(self.device))
                if like is None
                else replace(like, arithmetic=arithmetic)  # the tensors are the same
            )
        return self.known[key]

    def _training(self, arithmetic: Arithmetic, checkpointing: bool) -> Training:
        return self.training.changed(arithmetic=arithmetic, checkpointing=checkpointing)


_KEPT: deque[Tracer] = deque(maxlen=8)
"""Dividing one envelope after another often comes to the same network."""


def memory_matters(question: Question) -> bool:
    """Whether checkpointing could be chosen, from the configurations without it.

    It makes every step longer and saves nothing but memory: it can win only where memory, or 5% less of it, keeps
    something out.
    """
    tight = with_limit(question, "memory", question.memory_limit * (1 - STEP))
    found = search(tight)
    limits, out = question.limits, ~demands(tight, found.columns)["memory"].kept
    if not len(found.order) or question.objective == "memory":
        return True
    if question.objective == "throughput" and limits.energy_j is None and limits.cost is None:
        return bool((out & within_reach(tight, found.columns, int(found.order[0]))).any())
    return bool(out.any())
