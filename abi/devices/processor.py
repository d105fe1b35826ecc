"""This machine's processor, estimated from what it says of itself until `abi calibrate` has measured it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from abi.cores import cores
from abi.devices.device import Device

CPUINFO = Path("/proc/cpuinfo")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
TYPICAL_HZ = 2.5e9
CORE_BANDWIDTH = 10e9
MOST_BANDWIDTH = 200e9
CORE_W = 5.0


def local() -> Device:
    """The processor with all cores that this process may use."""
    model, flags = described()
    count, hertz = cores(), _hertz()
    amd = "amd" in model.lower()
    # operations a cycle and core: two fused multiply-adds of a whole register; Zen splits 512 bits in two
    cycle = 64 if "avx512f" in flags and not amd else 32 if {"avx2", "avx512f"} & flags else 16
    rates = {"float32": count * hertz * cycle}
    if "amx_bf16" in flags:
        rates["bfloat16"] = count * hertz * 1024
    elif "avx512_bf16" in flags:
        rates["bfloat16"] = 2 * rates["float32"]
    power = 20 + CORE_W * count
    bandwidth = min(count * CORE_BANDWIDTH, MOST_BANDWIDTH)
    return Device(
        name=f"{_short(model)}-{count}-cores",
        kind="cpu",
        memory_bytes=memory(),
        bandwidth=bandwidth,
        rates=dict(sorted(rates.items())),
        reached_rate=0.5,
        reached_bandwidth=0.7,
        launch_s=3e-6,
        context_bytes=0,
        power_w=power,
        idle_w=0.3 * power,
        link=bandwidth / 2,
        host_link=bandwidth,
        source=f"estimated from cores, clock and instructions of {model}; `abi calibrate` measures it",
    )


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's limit."""
    total = int(psutil.virtual_memory().total)
    for path in LIMITS:
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # none, or "max"
            continue
    return total


def described() -> tuple[str, set[str]]:
    """The processor's name and the names of its instruction sets."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="ignore")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    shown = name[1].strip() if name else platform.processor() or platform.machine() or "processor"
    return shown, set(flags[1].split()) if flags else set()


def _hertz() -> float:
    clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return 1e6 * (clock.max or clock.current) if clock and (clock.max or clock.current) else TYPICAL_HZ


def _short(model: str) -> str:
    """``Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz`` -> ``Intel-Xeon-Platinum-8480+``."""
    plain = re.sub(r"\((R|TM|C)\)|@.*|\b(CPU|Processor)\b|\b\d+-Core\b", " ", model, flags=re.IGNORECASE)
    return re.sub(r"[^\w+.]+", "-", plain).strip("-") or "processor"
