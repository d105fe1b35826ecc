"""What this machine has: GPUs through NVIDIA's management library (or torch, on ROCm), and its processor."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from abi.cores import cores
from abi.devices import nvml
from abi.devices.catalogue import Own, entries, find, key, laid_over
from abi.devices.device import Cluster, Device
from abi.devices.nearest import unknown
from abi.devices.processor import local

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVERS = (Path("/dev/kfd"), Path("/dev/nvidiactl"))
"""There where AMD's or NVIDIA's driver is."""
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
        gpus = _through_torch(own) if library is None and any(path.exists() for path in DRIVERS) else []
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
        try:
            device = _card(library, handle, own, driver)
            devices += _slices(library, handle, device, notes) if _is_cut(library, handle) else [device]
        except library.NVMLError as error:
            notes.append(f"a GPU is left out, as NVIDIA's library says: {error}")
    return devices


def _visible(library: Any, handles: list[Any], notes: list[str]) -> list[Any]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to programs, by number or by the begin of their UUID."""
    setting = os.environ.get(VISIBLE)
    if setting is None:
        return handles
    names = [
        [_uuid(library, handle), *(_uuid(library, part) for part in _parts(library, handle))] for handle in handles
    ]
    kept: list[Any] = []
    for word in _words():
        if word.isdigit():
            at = [int(word)] if int(word) < len(handles) else []
        else:
            at = [i for i, own in enumerate(names) if any(name.startswith(word) for name in own)]
        if not at:
            break  # as CUDA does: what follows an unknown one is hidden too
        if handles[at[0]] not in kept:
            kept.append(handles[at[0]])
    if len(kept) < len(handles):
        notes.append(f"{VISIBLE}={setting} leaves {len(kept)} of {len(handles)} GPUs")
    return kept


def _words() -> list[str]:
    return [word for part in os.environ.get(VISIBLE, "").split(",") if (word := part.strip())]


def _uuid(library: Any, handle: Any) -> str:
    return nvml.asked(library, lambda: nvml.text(library.nvmlDeviceGetUUID(handle)), "")


def _parts(library: Any, handle: Any) -> list[Any]:
    """The MIG slices of a card."""
    if not _is_cut(library, handle):
        return []
    most = nvml.asked(library, lambda: int(library.nvmlDeviceGetMaxMigDeviceCount(handle)), 0)
    parts = (_part(library, handle, i) for i in range(most))
    return [part for part in parts if part is not None]


def _part(library: Any, handle: Any, index: int) -> Any:
    return nvml.asked(library, lambda: library.nvmlDeviceGetMigDeviceHandleByIndex(handle, index), None)


def _is_cut(library: Any, handle: Any) -> bool:
    return bool(nvml.asked(library, lambda: library.nvmlDeviceGetMigMode(handle)[0], 0))


def _card(library: Any, handle: Any, own: Own, driver: str) -> Device:
    name = nvml.text(library.nvmlDeviceGetName(handle))
    memory = nvml.usable_memory(library, handle)
    device = find(name, own) if _is_known(name, own) else unknown(library, handle, name, memory)
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
    asked = [word for word in _words() if word.startswith("MIG-")]
    for part in _parts(library, handle):
        if asked and not any(_uuid(library, part).startswith(word) for word in asked):
            continue
        memory = nvml.usable_memory(library, part)
        attributes = _attributes(library, part)
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


def _attributes(library: Any, part: Any) -> Any:
    return nvml.asked(library, lambda: library.nvmlDeviceGetAttributes(part), None)


def _through_torch(own: Own) -> list[Device]:
    """GPUs as torch sees them: AMD's, and NVIDIA's where the management library is missing."""
    torch = importlib.import_module("torch")  # heavy, and only asked where a driver is
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = []
    for seen in map(torch.cuda.get_device_properties, range(count)):
        if _is_known(seen.name, own):
            device = find(seen.name, own)
        else:
            capability = (seen.major, seen.minor)
            device = unknown(nvml.Silent, None, seen.name, seen.total_memory, capability)
        source = f"memory: torch {torch.__version__}; {device.source}"
        devices.append(replace(device, memory_bytes=seen.total_memory, source=source))
    return devices


def _is_known(name: str, own: Own) -> bool:
    return key(name) in entries() or any(key(mine) == key(name) for mine in own)


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
