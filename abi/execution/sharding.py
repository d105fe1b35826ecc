"""Memory of one device: what accumulating keeps, what several devices share, and what sharing adds.

Accumulating keeps the gradients of earlier micro-steps where a step of one has none yet. DDP keeps everything
everywhere, and a second copy of the gradients in its buckets. FSDP keeps 1/n of parameters, gradients and optimizer
state, and while it computes also what it has gathered: the unit at work, the next one on its way, and the gradients of a
unit before they are scattered (Zhao et al. 2023, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abi.execution.columns import Numbers
from abi.execution.types import TRAINING, Footprint, Parallel, PhaseName

GATHERED_UNITS = 2
"""The unit at work and the next one."""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How devices share the work; `unit_bytes` are the parameters that FSDP gathers at a time."""

    parallel: Parallel
    devices: int
    unit_bytes: int

    @property
    def kept(self) -> float:
        """The share of parameters, gradients and optimizer state that one device keeps."""
        return 1 / self.devices if self.parallel == "fsdp" else 1.0

    def buckets_bytes(self, footprint: Footprint) -> float:
        """Copies of gradients on their way between devices."""
        return float(footprint.gradient_bytes) if self.parallel == "ddp" else 0.0

    def gathered_bytes(self, footprint: Footprint) -> float:
        """Whole units while they compute, and their gradients."""
        if self.parallel != "fsdp":
            return 0.0
        ratio = footprint.gradient_bytes / max(footprint.parameter_bytes, 1)
        unit = min(self.unit_bytes, footprint.parameter_bytes)
        return min(GATHERED_UNITS * unit, footprint.parameter_bytes) + unit * ratio


def line_bytes(
    footprint: Footprint,
    sharing: Sharing,
    micro_batch: Numbers,
    accumulation: Numbers,
    *,
    upper: bool,
    phases: tuple[PhaseName, ...] = (*TRAINING, "evaluate"),
) -> Numbers:
    """The most bytes of tensors on one device over the phases and all instants that may be their peak.

    Args:
        footprint: Of a step on one device without accumulation.
        sharing: How devices share the work.
        micro_batch: Rows of a micro-step.
        accumulation: Micro-steps of a step.
        upper: Whether gradients of earlier micro-steps count in full at every instant of the backward pass, though a part
            of them may be in its lines already.
        phases: Those that count.
    """
    state = (1 - sharing.kept) * (footprint.parameter_bytes + footprint.optimizer_bytes)
    waiting = np.where(accumulation > 1, footprint.gradient_bytes, 0.0)
    most = np.zeros_like(micro_batch)
    for phase in (phase for phase in footprint.phases if phase.phase in phases):
        gathered = 0.0 if phase.phase == "optimizer" else sharing.gathered_bytes(footprint)
        for fixed, row in phase.lines or ((phase.fixed_bytes, phase.row_bytes),):
            there = 0.0 if phase.phase == "forward" else _gradients_in(footprint, fixed)
            taken = fixed + row * micro_batch - state - (1 - sharing.kept) * there + gathered
            if phase.phase in {"forward", "backward"}:
                taken = taken + sharing.kept * np.maximum(waiting - (0.0 if upper else there), 0.0)
            most = np.maximum(most, taken)
    whole: Numbers = most + sharing.buckets_bytes(footprint)
    return whole


def _gradients_in(footprint: Footprint, fixed_bytes: float) -> float:
    """How much of an instant's fixed bytes can be gradients: what parameters and optimizer state leave of them."""
    left = fixed_bytes - footprint.parameter_bytes - footprint.optimizer_bytes
    return min(max(left, 0.0), float(footprint.gradient_bytes))


def bound_bytes(footprint: Footprint, line: Numbers, held_bytes: int) -> Numbers:
    """What a configuration is accepted by: the line with its margin, and what is taken before the first tensor."""
    whole: Numbers = np.ceil((1 + footprint.margin) * line) + held_bytes
    return whole
