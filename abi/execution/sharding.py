"""Memory of one device when several share the work: what sharding takes away and what it adds.

DDP keeps everything everywhere and a second copy of the gradients in its buckets. FSDP keeps 1/n of parameters,
gradients and optimizer state, and besides, while computing, what it has gathered: the unit at work, the next one on its
way, and the gradients of a unit before they are scattered (Zhao et al. 2023, section 4).
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from abi.execution.columns import Numbers
from abi.execution.types import Footprint, Parallel, PhaseBound

GATHERED_UNITS = 2
"""The unit at work and the next one."""


def line_bytes(
    footprint: Footprint, parallel: Parallel, devices: int, unit_bytes: int, micro_batch: Numbers, accumulation: Numbers
) -> Numbers:
    """The most bytes of tensors on one device over all phases, on the lines of the footprint."""
    changes = _kept(footprint, parallel, devices, unit_bytes)
    phases = [
        phase.fixed_bytes + changes + phase.row_bytes * micro_batch + _waiting(footprint, phase, accumulation)
        for phase in footprint.phases
    ]
    return np.maximum(reduce(np.maximum, phases), 0)


def _kept(footprint: Footprint, parallel: Parallel, devices: int, unit_bytes: int) -> float:
    if parallel == "none":
        return 0.0
    if parallel == "ddp":
        return float(footprint.gradient_bytes)
    saved = (devices - 1) / devices
    sharded = footprint.parameter_bytes + footprint.optimizer_bytes + footprint.gradient_bytes
    gathered = min(GATHERED_UNITS * unit_bytes, footprint.parameter_bytes)
    scattered = unit_bytes * footprint.gradient_bytes / max(footprint.parameter_bytes, 1)
    return gathered + scattered - saved * sharded


def _waiting(footprint: Footprint, phase: PhaseBound, accumulation: Numbers) -> Numbers:
    """Gradients of earlier micro-steps, where the traced phase had none."""
    del footprint, phase
    return np.zeros_like(accumulation)


def bound_bytes(footprint: Footprint, line: Numbers, context_bytes: int) -> Numbers:
    """What a configuration is accepted by: the line with its margin, and what is taken before the first tensor."""
    return np.ceil((1 + footprint.margin) * line) + context_bytes
