"""What this machine has: GPUs through NVIDIA's management library (or torch, on ROCm), and its processor."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from abi.devices import nvml
from abi.devices.catalogue import Own, entries, find, key, laid_over
from abi.devices.device import Cluster, Device
from abi.devices.nearest import unknown
from abi.devices.processor import cores, local

VISIBLE = "CUDA_VISIBLE_DEVICES"
ROCM = Path("/dev/kfd")
SLICES = 7
"""Compute slices that a GPU can be cut into with MIG."""


@dataclass(frozen=True)
class Look:
    """What was found, the most capable first and the processor last, and what is to be said about it."""

    clusters: tuple[Cluster, ...]
    notes: tuple[str, ...]


def found(own: Own | None = None, library: Any = None) -> tuple[Cluster, ...]:
    """Devices of this machine, alike ones together: GPUs, the most capable first, then the processor."""
    return look(own, library).clusters


def processor(own: Own | None = None) -> Cluster:
    """This machine's processor."""
    seen = local()
    device = laid_over(seen, own or {}, seen.name, "cpu")
    return Cluster(device=device, count=1, host_memory_bytes=device.memory_bytes, host_cores=cores())


def look(own: Own | None = None, library: Any = None) -> Look:
    """Devices of this machine, and why there is no GPU where there is none."""
    own = own or {}
    notes: list[str] = []
    try:
        with nvml.opened(library) as opened:
            gpus = _nvidia(opened, own, notes)
    except nvml.NoGpu as reason:
        gpus = _rocm(own) if library is None and ROCM.exists() else []
        if not gpus:
            notes.append(f"no GPU found: {reason}")
    else:
        if not gpus:
            notes.append("no GPU found: the driver lists none that programs may use")
    cpu = processor(own)
    return Look((*_together(gpus, cpu), cpu), tuple(notes))


def _nvidia(library: Any, own: Own, notes: list[str]) -> list[Device]:
    driver = nvml.text(library.nvmlSystemGetDriverVersion())
    handles = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]
    devices: list[Device] = []
    for handle in _visible(library, handles, notes):
        device = _card(library, handle, own, driver)
        if nvml.asked(library, lambda h=handle: library.nvmlDeviceGetMigMode(h)[0], 0):  # type: ignore[misc]
            devices += _slices(library, handle, device, notes)
        else:
            devices.append(device)
    return devices


def _visible(library: Any, handles: list[Any], notes: list[str]) -> list[Any]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to programs, by number or by the begin of their UUID."""
    setting = os.environ.get(VISIBLE)
    if setting is None:
        return handles
    names = [nvml.text(library.nvmlDeviceGetUUID(handle)) for handle in handles]
    kept = []
    for word in filter(None, (part.strip() for part in setting.split(","))):
        if word.isdigit():
            at = [int(word)] if int(word) < len(handles) else []
        else:
            at = [i for i, name in enumerate(names) if name.startswith(word)]
        if not at:
            break  # as CUDA does: what follows an unknown one is hidden too
        kept.append(handles[at[0]])
    if len(kept) < len(handles):
        notes.append(f"{VISIBLE}={setting} leaves {len(kept)} of {len(handles)} GPUs")
    return kept


def _card(library: Any, handle: Any, own: Own, driver: str) -> Device:
    name = nvml.text(library.nvmlDeviceGetName(handle))
    memory = nvml.usable_memory(library, handle)
    at = key(name)
    known = at in entries() or any(key(mine) == at for mine in own)
    device = find(name, own) if known else unknown(library, handle, name, memory)
    limit_w = nvml.asked(library, lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle), 0) / 1000
    return replace(
        device,
        memory_bytes=memory,
        power_w=limit_w or device.power_w,
        source=f"memory{', power' if limit_w else ''}: driver {driver}; {device.source}",
    )


def _slices(library: Any, handle: Any, card: Device, notes: list[str]) -> list[Device]:
    """The MIG slices of a card, each with its share of it; a process can use one, so alike ones count once."""
    made: dict[str, Device] = {}
    for i in range(nvml.asked(library, lambda: int(library.nvmlDeviceGetMaxMigDeviceCount(handle)), 0)):
        part = nvml.asked(library, lambda i=i: library.nvmlDeviceGetMigDeviceHandleByIndex(handle, i), None)  # type: ignore[misc]
        if part is None:
            continue
        memory = nvml.usable_memory(library, part)
        attributes = nvml.asked(library, lambda p=part: library.nvmlDeviceGetAttributes(p), None)  # type: ignore[misc]
        share = memory / card.memory_bytes
        compute = attributes.gpuInstanceSliceCount / SLICES if attributes is not None else share
        name = f"{card.name}-MIG-{round(compute * SLICES)}g.{math.ceil(memory / 2**30)}gb"
        made[name] = replace(
            card,
            name=name,
            memory_bytes=memory,
            bandwidth=card.bandwidth * min(1.0, share),
            rates={arithmetic: rate * min(1.0, compute) for arithmetic, rate in card.rates.items()},
            power_w=card.power_w * compute,
            idle_w=card.idle_w * compute,
            link=card.host_link,
            source=f"{compute:.0%} of the rates and {share:.0%} of the bandwidth of {card.name}: {card.source}",
        )
    note = f"{card.name} is cut by MIG into {', '.join(made)}; a process uses one slice" if made else f"{card.name} has MIG on and no slice: make one with `nvidia-smi mig -cgi`, or turn MIG off"  # fmt: skip
    notes.append(note)
    return list(made.values())


def _rocm(own: Own) -> list[Device]:
    """AMD's GPUs, as torch sees them."""
    torch = importlib.import_module("torch")  # heavy, and only asked where AMD's driver is
    if not torch.cuda.is_available():
        return []
    devices = []
    for i in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(i)
        if key(seen.name) in entries() or any(key(mine) == key(seen.name) for mine in own):
            device = find(seen.name, own)
            source = f"memory: torch {torch.__version__}; {device.source}"
            devices.append(replace(device, memory_bytes=seen.total_memory, source=source))
    return devices


def _together(devices: Iterable[Device], cpu: Cluster) -> list[Cluster]:
    """Alike devices as one cluster, the one with the highest rate first."""
    groups: dict[str, list[Device]] = {}
    for device in devices:
        groups.setdefault(device.name, []).append(device)
    clusters = [
        Cluster(
            # the one with the least memory: what fits it fits all
            device=min(alike, key=lambda d: d.memory_bytes),
            count=1 if "-MIG-" in name else len(alike),
            host_memory_bytes=cpu.host_memory_bytes,
            host_cores=cpu.host_cores,
        )
        for name, alike in groups.items()
    ]
    return sorted(clusters, key=lambda c: (-c.count * max(c.device.rates.values()), c.device.name))
