"""How long a phase takes on a device: the roofline of each operator, and the host that hands them over.

    operator = times x max(FLOPs / (rate x reached), bytes / (bandwidth x reached)) + kernels x start

after Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009. Our rate and
bandwidth are their peak GFlops/sec and peak stream bandwidth, the reached shares their ceilings, `times` what kernels of
that operator take beyond (`abi.execution.cuda.reached`). A GPU computes while the host hands over what comes next, so
that a step takes the longer of both; a processor does one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abi.devices.device import Arithmetic, Device
from abi.errors import UsageError
from abi.execution.columns import Numbers
from abi.execution.types import CallLine, Footprint, PhaseBound, PhaseName

UNCOUNTED = 0.1
"""An allowance, not a measurement: by how much one operator without a formula widens the bound of time."""
MODELS = 1.6
"""Times the host's time for the operators of a plain stack of layers, what models take that libraries offer: their own
Python between operators. Read off transformers' models on an H200's host, where it lay between 1 and 2."""
STEPS = 3.0
"""The same of what each step takes besides its operators."""
PRODUCT_START_S, OTHER_START_S = 6.75e-6, 1.1e-6
"""What a GPU takes for each kernel beyond its roof, for matrix products and for others: read off an H200."""


@dataclass(frozen=True)
class PhaseTime:
    """Seconds in which arithmetic holds back, in which bandwidth does, and of the host that hands operators over."""

    arithmetic_s: Numbers
    bandwidth_s: Numbers
    launches_s: Numbers
    overlapped: bool

    @property
    def busy_s(self) -> Numbers:
        """Seconds that the device computes or copies."""
        busy: Numbers = self.arithmetic_s + self.bandwidth_s
        return busy

    @property
    def total_s(self) -> Numbers:
        """Seconds of the phase."""
        return together(self.busy_s, self.launches_s, overlapped=self.overlapped)


def together(busy_s: Numbers, launches_s: Numbers, *, overlapped: bool) -> Numbers:
    """Seconds of computing and of handing over: at the same time on a GPU, one after the other on a processor."""
    whole: Numbers = np.maximum(busy_s, launches_s) if overlapped else busy_s + launches_s
    return whole


def phase_of(footprint: Footprint, name: PhaseName) -> PhaseBound:
    """The lines of one phase."""
    return next(phase for phase in footprint.phases if phase.phase == name)


def phase_time(phase: PhaseBound, device: Device, arithmetic: Arithmetic, rows: Numbers) -> PhaseTime:
    """The phase on so many rows."""
    if arithmetic not in device.rates:
        msg = f"Expected an arithmetic of {device.name} ({', '.join(device.rates)}), got {arithmetic}."
        raise UsageError(msg)
    launches_s = np.full_like(rows, phase.launches * device.launch_s * MODELS)
    gpu = device.kind == "gpu"
    if not phase.calls:
        return PhaseTime(*_whole(phase, device, arithmetic, rows), launches_s, gpu)
    bandwidth = device.bandwidth * device.reached_bandwidth
    arithmetic_s, bandwidth_s = np.zeros_like(rows), np.zeros_like(rows)
    for call in phase.calls:
        times = call.tensor_times if call.rate == "own" and arithmetic != "float32" else call.times
        moved_s = call.times * (call.bytes[0] + call.bytes[1] * rows) / bandwidth
        computed_s = np.zeros_like(rows)
        if call.rate:
            computed_s = times * (call.flops[0] + call.flops[1] * rows) / rate_of(call, device, arithmetic)
        start_s = call.kernels * (PRODUCT_START_S if call.rate else OTHER_START_S) if gpu else 0.0
        held_back = computed_s >= moved_s if call.rate else np.zeros_like(rows, dtype=bool)
        taken = call.calls * (np.maximum(computed_s, moved_s) + start_s)
        arithmetic_s = arithmetic_s + np.where(held_back, taken, 0.0)
        bandwidth_s = bandwidth_s + np.where(held_back, 0.0, taken)
    return PhaseTime(arithmetic_s, bandwidth_s, launches_s, gpu)


def rate_of(call: CallLine, device: Device, arithmetic: Arithmetic) -> float:
    """FLOPs per second that products of an operator can reach."""
    wanted: Arithmetic = arithmetic
    if call.rate == "full":
        wanted = "float32"
    elif call.rate == "low":
        wanted = "bfloat16"
    elif arithmetic == "bfloat16":  # what autocast leaves in float32
        wanted = "tf32" if "tf32" in device.rates else "float32"
    return device.rates.get(wanted, device.rates[arithmetic]) * device.reached_rate


def _whole(phase: PhaseBound, device: Device, arithmetic: Arithmetic, rows: Numbers) -> tuple[Numbers, Numbers]:
    """All operators as one, where they are not known one by one."""
    bandwidth = device.bandwidth * device.reached_bandwidth
    flops = phase.matrix_flops_fixed + phase.matrix_flops_row * rows
    arithmetic_s = flops / (device.rates[arithmetic] * device.reached_rate)
    matrix_s = (phase.matrix_bytes_fixed + phase.matrix_bytes_row * rows) / bandwidth
    moved_s = (phase.moved_bytes_fixed + phase.moved_bytes_row * rows) / bandwidth
    held_back = arithmetic_s >= matrix_s
    return np.where(held_back, arithmetic_s, 0.0), moved_s - np.where(held_back, matrix_s, 0.0)


def latency_s(footprint: Footprint, device: Device) -> float:
    """One row through the model, without a training step around it."""
    time = phase_time(phase_of(footprint, "evaluate"), device, footprint.arithmetic, np.ones(1))
    return float(time.total_s[0])


def time_margin(footprint: Footprint) -> float:
    """By which share the bound of time lies above the prediction: each operator without a formula adds to it."""
    return UNCOUNTED * len(footprint.uncounted)
