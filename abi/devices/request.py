"""What a user asks for: ``2xH200``, ``L4``, ``auto``, ``cpu``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import replace

from abi.devices import detect
from abi.devices.catalogue import Own, described, expect_names, find, key
from abi.devices.device import Cluster
from abi.errors import UsageError, clip

MOST = 16
"""GPUs in one machine: no maker puts more behind one fast link and one host."""
HOST_CORES = 8
"""Processor cores that a machine has for each GPU, where it is only described."""
HOST_MEMORY_SHARE = 2
"""Host memory over that of the GPUs, where the machine is only described."""

_COUNTED = re.compile(r"([+-]?[\d.]+)\s*[x×*]\s*(.*)|([+-]\d.*|0+)", re.IGNORECASE)


def parse(text: str, own: Own | None = None) -> Cluster:
    """The devices that `text` asks for; those that are found here with what is known of them here.

    Raises:
        UsageError: it is none, or a count is not a whole number from 1 to 16.
    """
    expect_names(own or {})
    asked = text.strip()
    if asked.lower() == "auto":
        return detect.found(own)[0]
    counted = _COUNTED.fullmatch(asked)
    count, name = (
        (1, asked) if counted is None else (_count(counted[1] or counted[3], text), (counted[2] or "").strip())
    )
    if not re.search(r"[a-z0-9]", name, re.IGNORECASE):
        msg = f"Expected devices as 2xH200, H200, auto or cpu, got {clip(text)!r}."
        raise UsageError(msg)
    if re.search(r"[,;&]|\s\+\s", name):
        msg = f"Expected devices of one kind as 2xH200, got {clip(text)!r}: plan for each kind by itself and compare."
        raise UsageError(msg)
    if name.lower() == "auto":
        msg = f"Expected auto by itself, got {clip(text)!r}: auto is every device that is found; name one to say how many, as 2xH200."
        raise UsageError(msg)
    if name.lower() == "cpu":
        return _single(detect.processor(own), count, text)
    return described_cluster(name, count, own or {}, text)


def described_cluster(name: str, count: int, own: Own, text: str) -> Cluster:
    """So many of the device of that name, in this machine where it has them, else in one as they are usually sold."""
    here = next((c for c in detect.found(own) if key(c.device.name) == key(name)), None)
    if here is not None and count <= here.count:
        return replace(here, count=count)
    if here is not None and here.device.kind == "cpu":
        return _single(here, count, text)
    device, figures = find(name, own), described(name, own)[1]
    if device.kind == "cpu":
        cores = figures.host_cores or HOST_CORES
        cluster = Cluster(device=device, count=1, host_memory_bytes=device.memory_bytes, host_cores=cores)
        return _single(cluster, count, text)
    memory = figures.host_memory or HOST_MEMORY_SHARE * device.memory_bytes
    cores = figures.host_cores or HOST_CORES
    return Cluster(device=device, count=count, host_memory_bytes=count * memory, host_cores=count * cores)


def expect_here(cluster: Cluster, found: Iterable[Cluster] | None = None, own: Own | None = None) -> None:
    """See that this machine has these devices: asked where training would run here.

    Raises:
        UsageError: it has none of them, or fewer, or torch cannot use them.
    """
    clusters = tuple(detect.found(own) if found is None else found)
    have = sum(c.count for c in clusters if c.device.name == cluster.device.name)
    if have >= cluster.count:
        if cluster.device.kind == "gpu" and found is None and not importlib.import_module("torch").cuda.is_available():
            msg = f"Expected a torch that can use {cluster.device.name}, got one without CUDA: install torch for this machine's driver."
            raise UsageError(msg)
        return
    there = ", ".join(f"{c.count}x{c.device.name}" for c in clusters) or "none"
    remedy = (
        "ask for `auto`, or only plan for it, with `abi plan` or --dry-run"
        if have == 0
        else f"ask for at most {have}x{cluster.device.name}"
    )
    msg = f"Expected {cluster.count}x{cluster.device.name} in this machine to train on, got {there}: {remedy}."
    raise UsageError(msg)


def _count(written: str, text: str) -> int:
    if re.fullmatch(r"\d{1,9}", written) and 1 <= int(written) <= MOST:
        return int(written)
    msg = f"Expected a whole number of devices from 1 to {MOST} in one machine, got {clip(text)!r}: write it as 2xH200."
    raise UsageError(msg)


def _single(cluster: Cluster, count: int, text: str) -> Cluster:
    if count == 1:
        return cluster
    msg = f"Expected one processor, got {clip(text)!r}: all cores of a machine count as one device, so ask for `cpu`."
    raise UsageError(msg)
