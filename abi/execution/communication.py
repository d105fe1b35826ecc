"""What several devices say to each other in a step, and how much of it computing hides.

DDP (Li et al., "PyTorch Distributed: experiences on accelerating data parallel training", VLDB 2020): gradients are
averaged by a ring all-reduce, 2 (n - 1) / n x bytes over each link, in buckets while the backward pass goes on; only the
last micro-step of a step does so, and its last bucket has nothing left to hide behind.

FSDP (Zhao et al., "PyTorch FSDP: experiences on scaling fully sharded data parallel", VLDB 2023): each micro-step
gathers the parameters twice, (n - 1) / n x bytes each, and scatters the summed gradients once, (n - 1) / n x bytes. The
next unit is gathered while one computes; the first gather and the last scatter stay in sight.
"""

from __future__ import annotations

import math

import numpy as np

from abi.devices.device import Device
from abi.execution.columns import Numbers
from abi.execution.types import Footprint, Parallel

BUCKET_BYTES = 25 * 2**20
"""DistributedDataParallel's default `bucket_cap_mb`."""


def ring_all_reduce_s(bytes_: float | int, devices: int, device: Device, messages: int = 1) -> float:
    """Every device gets the sum of all: twice round the ring, a kernel's start at each hop of each message."""
    hops = 2 * (devices - 1)
    return hops / devices * bytes_ / device.link + messages * hops * device.launch_s


def ring_gather_s(bytes_: float | int, devices: int, device: Device, messages: int = 1) -> float:
    """Every device gets the parts of all, or the sum of its own part: once round the ring."""
    return ring_all_reduce_s(bytes_, devices, device, messages) / 2


def exposed_s(
    footprint: Footprint,
    device: Device,
    parallel: Parallel,
    devices: int,
    unit_bytes: int,
    forward_s: Numbers,
    backward_s: Numbers,
    accumulation: Numbers,
) -> Numbers:
    """Seconds of a step in which the devices only wait for each other.

    Args:
        footprint: Whose gradients and parameters travel.
        device: With its link.
        parallel: How the devices share the work.
        devices: How many.
        unit_bytes: Parameters that FSDP gathers at a time.
        forward_s: Of one micro-step.
        backward_s: Of one micro-step.
        accumulation: Micro-steps in a step.
    """
    if parallel == "none":
        return np.zeros_like(forward_s)
    if parallel == "ddp":
        buckets = max(1, math.ceil(footprint.gradient_bytes / BUCKET_BYTES))
        whole = ring_all_reduce_s(footprint.gradient_bytes, devices, device, buckets)
        last = whole / buckets
        return np.maximum(whole - last - backward_s, 0) + last
    units, gather = _gather(footprint, device, devices, unit_bytes)
    scatter = ring_gather_s(footprint.gradient_bytes, devices, device, units)
    forward = gathered_s(footprint, device, parallel, devices, unit_bytes, forward_s)
    backward = np.maximum(gather + scatter - scatter / units - backward_s, 0) + scatter / units
    return accumulation * (forward + backward)


def gathered_s(
    footprint: Footprint, device: Device, parallel: Parallel, devices: int, unit_bytes: int, forward_s: Numbers
) -> Numbers:
    """Seconds of a forward pass in which the devices only wait for parameters; arguments as of `exposed_s`."""
    if parallel != "fsdp":
        return np.zeros_like(forward_s)
    units, gather = _gather(footprint, device, devices, unit_bytes)
    waiting: Numbers = np.maximum(gather - gather / units - forward_s, 0) + gather / units
    return waiting


def _gather(footprint: Footprint, device: Device, devices: int, unit_bytes: int) -> tuple[int, float]:
    """How many units FSDP gathers, and the seconds of all."""
    units = max(1, round(footprint.parameter_bytes / max(unit_bytes, 1)))
    return units, ring_gather_s(footprint.parameter_bytes, devices, device, units)
