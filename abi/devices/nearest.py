"""A GPU that the catalogue does not know: the nearest one's figures, scaled by what the driver says of its size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abi.devices import nvml
from abi.devices.catalogue import Entry, as_device, entries
from abi.devices.device import Device

LOW_PRECISION = (8, 0)
"""Compute capability from which tensor cores take tf32 and bfloat16."""


def unknown(
    library: Any, handle: Any, name: str, memory_bytes: int, capability: tuple[int, int] | None = None
) -> Device:
    """Figures of a card by its cores, clocks and memory bus, and for the rest those of the nearest known."""
    if capability is None:
        major, minor = nvml.asked(library, lambda: library.nvmlDeviceGetCudaComputeCapability(handle), (0, 0))
        capability = int(major), int(minor)
    near = nearest(capability, memory_bytes)
    device = as_device(near.name, near.figures)
    float32, bandwidth = _float32(library, handle), _bandwidth(library, handle)
    scale = float32 / device.rates["float32"] if float32 else 1.0
    rates = {arithmetic: rate * scale for arithmetic, rate in device.rates.items()}
    if capability < LOW_PRECISION:
        rates = {"float32": rates["float32"]}
    told = " and ".join(
        word for word, answer in (("cores and clock", float32), ("memory bus and clock", bandwidth)) if answer
    )
    note = f"not in the catalogue: figures of {near.name}, the nearest known{', scaled by ' + told if told else ''}; `abi calibrate` measures it"
    return replace(
        device,
        name=shown(name),
        rates=rates,
        bandwidth=bandwidth or device.bandwidth,
        source=f"{note} ({device.source})",
    )


def nearest(capability: tuple[int, int], memory_bytes: int) -> Entry:
    """The known GPU of the nearest compute capability, and of those with the nearest memory."""

    def distance(entry: Entry) -> tuple[int, int, str]:
        major, minor = (int(part) for part in (entry.capability or "0.0").split("."))
        apart = abs(10 * (major - capability[0]) + minor - capability[1])
        return apart, abs((entry.figures.memory or 0) - memory_bytes), entry.name

    return min((entry for entry in entries().values() if entry.capability is not None), key=distance)


def shown(name: str) -> str:
    """``NVIDIA RTX A6000`` -> ``RTX-A6000``."""
    words = [word for word in name.split() if word.lower() not in {"nvidia", "geforce", "tesla"}]
    return "-".join(words) or name


def _float32(library: Any, handle: Any) -> float:
    """Cores x clock x 2: a multiply-add each cycle."""
    cores = nvml.asked(library, lambda: int(library.nvmlDeviceGetNumGpuCores(handle)), 0)
    mhz = nvml.asked(library, lambda: int(library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM)), 0)
    return 2e6 * cores * mhz


def _bandwidth(library: Any, handle: Any) -> float:
    """Bus width x memory clock x 2: data on both edges."""
    bits = nvml.asked(library, lambda: int(library.nvmlDeviceGetMemoryBusWidth(handle)), 0)
    mhz = nvml.asked(library, lambda: int(library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_MEM)), 0)
    return 2e6 * bits / 8 * mhz
