"""Measure what a device really reaches: copies, matrix products, launches, context, links, power. About ten seconds."""

from __future__ import annotations

import contextlib
import datetime
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from abi.cores import cores
from abi.devices import nvml
from abi.devices.calibration import Calibration, plain_version
from abi.devices.device import Device
from abi.units import six_digits

SIDES: Final = {"cpu": (3072, 768), "cuda": (8192, 2048)}
"""Sides of the square matrices, large and middle."""
COPIES: Final = {"cpu": (64, 256, 512), "cuda": (256, 1024, 2048)}
"""MiB of the tensors that are copied; none that takes more than an eighth of the free memory."""
DEPTHS: Final = (2, 24)
"""Layers of the stacks that the host's time is taken of,"""
WIDTH: Final = 32
STEPS: Final = 5
"""and steps that are timed at a time: nobody waits for one before the next begins."""
LEAST_S: Final = 1e-7
LEAST_RUNS, MOST_RUNS, MOST_S = 3, 9, 0.8
HOST_COPY_BYTES: Final = 2**28
LOAD_S: Final = 2.0
MEBIBYTE: Final = 2**20
LEAST_CONTEXT_BYTES: Final = 64 * MEBIBYTE
"""No context is smaller: less means that what was there before is not known."""


def calibrate(device: str, expected: Device) -> Calibration:
    """Measure `device` (cpu, cuda:0); what cannot be measured stays as in `expected`.

    Shapes are the same everywhere, figures are medians after a warm-up, and torch's precision, gradient mode, threads and random
    state are as before when it ends.
    """
    start = time.perf_counter()
    place = torch.device(device)
    with _state_kept(), _meter(place) as meter:
        threads = min(cores(), torch.get_num_threads())
        torch.set_num_threads(threads)
        idle_w = meter.power()
        copies = _copies(place)
        rates = {name: _rate(place, name, SIDES[place.type][0]) for name in expected.rates}
        middle = {name: _rate(place, name, SIDES[place.type][1]) for name in expected.rates}
        launch_s, step_s = _host(place)
        figures: dict[str, Any] = {"launch_s": launch_s, "step_s": step_s, "library_bytes": _library(place)}
        if place.type == "cuda":
            figures |= {"host_link": _host_link(place), "link": _link(place), "power_w": _load(place, meter, rates)}
            figures |= {"context_bytes": meter.context(), "idle_w": idle_w}
            torch.cuda.empty_cache()
    measured = {name: value for name, value in figures.items() if value}
    date = datetime.datetime.now().astimezone().date().isoformat()
    version = plain_version(torch.__version__)
    told = f", driver {meter.driver}" if meter.driver else f", {threads} threads"
    return Calibration(
        device=replace(
            expected,
            bandwidth=six_digits(max(copies.values())),
            rates=rates,
            reached_rate=1.0,
            reached_bandwidth=1.0,
            source=f"measured, torch {version}{told}, {date}",
            **measured,
        ),
        expected=expected,
        middle_rates=middle,
        copies=copies,
        measured=("bandwidth", "rates", *measured),
        torch=version,
        driver=meter.driver,
        date=date,
        seconds=round(time.perf_counter() - start, 1),
    )


@contextlib.contextmanager
def _state_kept() -> Iterator[None]:
    precision, random, threads = torch.get_float32_matmul_precision(), torch.get_rng_state(), torch.get_num_threads()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_rng_state(random)
        torch.set_num_threads(threads)


def _copies(place: torch.device) -> dict[str, float]:
    """Bytes per second, read and written, of copying tensors of several sizes."""
    free = torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else psutil.virtual_memory().available
    sizes = [mib for mib in COPIES[place.type] if mib * MEBIBYTE <= free / 8] or [16]
    return {str(mib * MEBIBYTE): _copy(place, mib * MEBIBYTE) for mib in sizes}


def _copy(place: torch.device, size: int) -> float:
    source = torch.ones(size // 4, device=place)
    target = torch.empty_like(source)
    return six_digits(2 * size / _seconds(place, lambda: target.copy_(source)))


def _rate(place: torch.device, arithmetic: str, side: int) -> float:
    """Operations per second of a square matrix product: 2 side^3 of them."""
    kind = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
    torch.set_float32_matmul_precision("high" if arithmetic == "tf32" else "highest")
    values = torch.linspace(-1, 1, side, device=place)
    left = torch.outer(values, values.flip(0)).to(kind)
    out = torch.empty_like(left)
    # several at a time, so that their launches are not what is timed
    many = max(1, round(1024**3 / side**3)) if place.type == "cpu" else 8
    return six_digits(
        many * 2 * side**3 / _seconds(place, lambda: [torch.mm(left, left, out=out) for _ in range(many)])
    )


def _host(place: torch.device) -> tuple[float, float]:
    """Seconds of the host for each operator of a training step, and for each step: of a small and a large stack of layers."""
    found = []
    with torch.enable_grad():
        for depth in DEPTHS:
            layers = [part for _ in range(depth) for part in (nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU())]
            step = _Step(nn.Sequential(*layers).to(place), torch.zeros(WIDTH, WIDTH, device=place))
            with _Counter() as counter:  # type: ignore[no-untyped-call]
                step()
            counted = counter.operators
            found.append((counted, _least_seconds(place, step) / STEPS))
    (few, short), (many, long) = found
    each = (long - short) / (many - few)
    return six_digits(max(each, LEAST_S)), six_digits(max(short - each * few, LEAST_S))


def _least_seconds(place: torch.device, step: _Step) -> float:
    """The shortest of several times: what else the host does only adds to it."""
    times: list[float] = []
    for _ in range(MOST_RUNS):
        _wait(place)
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        _wait(place)
        times.append(time.perf_counter() - start)
    return min(times)


class _Step:
    """A training step of a module."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        self.module, self.x = module, x
        self.optimizer = torch.optim.AdamW(module.parameters(), fused=True)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.module(self.x).square().mean().backward()
        self.optimizer.step()


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Counts operators."""

    operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count it."""
        self.operators += 1
        return func(*args, **(kwargs or {}))


def _library(place: torch.device) -> int | None:
    """Bytes that matrix libraries keep after a training step, in the forward pass's thread and the backward pass's."""
    if place.type != "cuda":
        return None
    torch.cuda.synchronize(place)
    torch._C._cuda_clearCublasWorkspaces()
    before = torch.cuda.memory_allocated(place)
    with torch.enable_grad():
        linear = nn.Linear(WIDTH, WIDTH, device=place)
        linear(torch.zeros(WIDTH, WIDTH, device=place, requires_grad=True)).sum().backward()
    del linear
    return torch.cuda.memory_allocated(place) - before or None


def _host_link(place: torch.device) -> float:
    host = torch.ones(HOST_COPY_BYTES // 4).pin_memory()
    target = torch.empty_like(host, device=place)
    return six_digits(HOST_COPY_BYTES / _seconds(place, lambda: target.copy_(host, non_blocking=True)))


def _link(place: torch.device) -> float | None:
    """Bytes per second to another GPU of this machine; None where there is none."""
    others = [i for i in range(torch.cuda.device_count()) if i != (place.index or 0)]
    if not others:
        return None
    source = torch.ones(HOST_COPY_BYTES // 4, device=place)
    target = torch.empty_like(source, device=f"cuda:{others[0]}")

    def copy() -> None:
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize(target.device)

    return six_digits(HOST_COPY_BYTES / _seconds(place, copy))


def _load(place: torch.device, meter: _Meter, rates: dict[str, float]) -> float | None:
    """Watts of the board in the middle of large matrix products."""
    side = SIDES[place.type][0]
    kind = torch.bfloat16 if "bfloat16" in rates else torch.float32
    left = torch.full((side, side), 0.01, device=place, dtype=kind)
    once = _seconds(place, lambda: torch.mm(left, left))
    for _ in range(max(1, int(LOAD_S / once))):
        torch.mm(left, left)
    time.sleep(LOAD_S / 2)
    power = meter.power()
    _wait(place)
    return power


def _seconds(place: torch.device, call: Callable[[], Any]) -> float:
    """Median time of a call, after one to warm up."""
    call()
    _wait(place)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < LEAST_RUNS or (len(times) < MOST_RUNS and time.perf_counter() - began < MOST_S):
        start = time.perf_counter()
        call()
        _wait(place)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@dataclass(frozen=True)
class _Meter:
    """NVML's view of the GPU that is measured; it answers None where it has nothing to say."""

    library: Any = None
    handle: Any = None
    driver: str = ""
    used_before: int = 0

    def power(self) -> float | None:
        """Watts of the board now."""
        if self.handle is None:
            return None
        milliwatts = nvml.asked(self.library, lambda: self.library.nvmlDeviceGetPowerUsage(self.handle), 0)
        return milliwatts / 1000 or None

    def context(self) -> int | None:
        """Bytes that this process takes beyond the allocator's: of the process, else what the card has more than before."""
        if self.handle is None:
            return None
        ours: list[Any] = nvml.asked(
            self.library, lambda: self.library.nvmlDeviceGetComputeRunningProcesses(self.handle), []
        )
        used = next((p.usedGpuMemory for p in ours if p.pid == os.getpid()), None)
        if not used:
            used = _used(self.library, self.handle) - self.used_before
        beyond = int(used) - torch.cuda.memory_reserved()
        return beyond if beyond > LEAST_CONTEXT_BYTES else None


def _used(library: Any, handle: Any) -> int:
    return nvml.asked(library, lambda: int(library.nvmlDeviceGetMemoryInfo(handle).used), 0)


@contextlib.contextmanager
def _meter(place: torch.device) -> Iterator[_Meter]:
    """The meter of a GPU; an empty one for a processor and where NVML does not answer."""
    if place.type != "cuda":
        yield _Meter()
        return
    with contextlib.ExitStack() as stack:
        try:
            library = stack.enter_context(nvml.opened())
            uuid = str(torch.cuda.get_device_properties(place).uuid)
            handle = nvml.asked(library, lambda: library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"), None)
            driver = nvml.asked(library, lambda: nvml.text(library.nvmlSystemGetDriverVersion()), "")
            meter = _Meter(library, handle, driver, _used(library, handle))
        except nvml.NoGpu:
            meter = _Meter()
        yield meter
