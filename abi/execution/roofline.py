"""How long a phase takes on a device: the roofline of its operators, and a start for each kernel.

    time = max(FLOPs / (rate x reached), bytes of matrix products / (bandwidth x reached))
           + other bytes / (bandwidth x reached) + kernels x start

after Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009. Our rate and
bandwidth are their peak GFlops/sec and peak stream bandwidth, the reached shares their ceilings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abi.devices.device import Arithmetic, Device
from abi.errors import UsageError
from abi.execution.columns import Numbers
from abi.execution.types import Footprint, PhaseBound, PhaseName

UNCOUNTED = 0.1
"""An allowance, not a measurement: by how much one operator without a formula widens the bound of time."""


@dataclass(frozen=True)
class PhaseTime:
    """Seconds in which arithmetic holds back, in which bandwidth does, and which go into starting kernels."""

    arithmetic_s: Numbers
    bandwidth_s: Numbers
    launches_s: Numbers

    @property
    def busy_s(self) -> Numbers:
        """Seconds that the device computes or copies."""
        busy: Numbers = self.arithmetic_s + self.bandwidth_s
        return busy

    @property
    def total_s(self) -> Numbers:
        """Seconds of the phase."""
        total: Numbers = self.busy_s + self.launches_s
        return total


def phase_of(footprint: Footprint, name: PhaseName) -> PhaseBound:
    """The lines of one phase."""
    return next(phase for phase in footprint.phases if phase.phase == name)


def phase_time(phase: PhaseBound, device: Device, arithmetic: Arithmetic, rows: Numbers) -> PhaseTime:
    """The phase on so many rows."""
    if arithmetic not in device.rates:
        msg = f"Expected an arithmetic of {device.name} ({', '.join(device.rates)}), got {arithmetic}."
        raise UsageError(msg)
    bandwidth = device.bandwidth * device.reached_bandwidth
    flops = phase.matrix_flops_fixed + phase.matrix_flops_row * rows
    arithmetic_s = flops / (device.rates[arithmetic] * device.reached_rate)
    matrix_s = (phase.matrix_bytes_fixed + phase.matrix_bytes_row * rows) / bandwidth
    moved_s = (phase.moved_bytes_fixed + phase.moved_bytes_row * rows) / bandwidth
    held_back = arithmetic_s >= matrix_s
    return PhaseTime(
        np.where(held_back, arithmetic_s, 0.0),
        moved_s - np.where(held_back, matrix_s, 0.0),
        np.full_like(rows, phase.launches * device.launch_s),
    )


def latency_s(footprint: Footprint, device: Device) -> float:
    """One row through the model, without a training step around it."""
    time = phase_time(phase_of(footprint, "evaluate"), device, footprint.arithmetic, np.ones(1))
    return float(time.total_s[0])


def time_margin(footprint: Footprint) -> float:
    """By which share the bound of time lies above the prediction: each operator without a formula adds to it."""
    return UNCOUNTED * len(footprint.uncounted)
