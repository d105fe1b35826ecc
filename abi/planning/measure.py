"""Measure the constants of `Machine` on this machine, in a few seconds."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import psutil
import torch
from scipy.optimize import nnls

from abi.cores import cores
from abi.families.network import Network
from abi.families.preparation import Preparation
from abi.families.sizes import multiply_accumulates
from abi.inputs.region import RegionEncoder
from abi.inputs.trunk import region_macs
from abi.media.grid import blank
from abi.planning.allocate import SOLVER
from abi.planning.cost import BACKWARD, map_numbers
from abi.planning.grids import MAPS, activations
from abi.planning.machine import Machine, PictureSeconds
from abi.problem import Feature, Grid, Schema
from abi.types import Capacity, FeatureCapacity, LayerSplit
from abi.units import six_digits

if TYPE_CHECKING:
    from abi.data.columns import Columns

FEATURES: Final = 16
REFERENCES: Final = ((64, 64, 1), (512, 64, 2), (256, 256, 2), (1024, 128, 3))
"""Rows, block width and blocks of the reference steps."""
WIDTH: Final = 8
MEMBERS: Final = 16
REPEATS: Final = 5
PIXELS, PICTURES = 32, 64
PICTURE_REFERENCES: Final = ((16, (4,)), (8, (4,)), (16, (4, 3, 2, 1)), (16, (4, 0, 2, 0)))
"""Base channels, and the levels that regions have by turns. On 54 encoders of other sizes the times that were fitted to these
differed from the measured ones by a fifth in the median and by half in nine of ten; times fitted to one level alone by up to
ten times."""


def find_device(asked: str) -> str:
    """A GPU where there is one and the user did not say otherwise."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def find_precision(asked: str, device: str) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the processor multiplies it natively: elsewhere it is emulated, and slower than float32."""
    if asked != "auto":
        return "bfloat16" if asked == "bfloat16" else "float32"
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    flags = _cpu_flags()
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & flags else "float32"


def measure(device: str, precision: Literal["float32", "bfloat16"], threads: int | None) -> Machine:
    """Time reference steps and fit the constants."""
    threads = threads or cores()
    torch.set_num_threads(threads)
    state = torch.get_rng_state()
    rows_of, costs = [], []
    predict_s = 0.0
    for rows, hidden, blocks in REFERENCES:
        network, columns = _reference(rows, hidden, blocks, low_precision=precision == "bfloat16")
        step_s, call_s = _time(network.to(device), columns, device)
        predict_s = max(predict_s, call_s)
        width = FEATURES * WIDTH
        units = rows * (MEMBERS * hidden * blocks + width)
        rows_of.append([1.0, units, 3 * rows * multiply_accumulates(width, MEMBERS, blocks, hidden, 1)])
        costs.append(step_s)
    call, activation, mac = constants(rows_of, costs)
    torch.set_rng_state(state)
    gpu = device.startswith("cuda")
    return Machine(
        device=device,
        name=torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
        threads=threads,
        precision=precision,
        call_s=six_digits(max(call, 1e-5)),
        activation_s=six_digits(activation),
        mac_s=six_digits(max(mac, 1e-15)),
        predict_call_s=six_digits(predict_s),
        memory_bytes=torch.cuda.mem_get_info()[0] if gpu else psutil.virtual_memory().total,
        solver=SOLVER,
    )


def measure_pictures(device: str, threads: int) -> PictureSeconds:
    """Time the convolutions of pictures, forward and backward, and fit what a forward pass takes: a third of it."""
    torch.set_num_threads(threads)
    state = torch.get_rng_state()
    grid = Grid(
        column="", medium="image", channels=3, height=PIXELS, width=PIXELS, rows=4, cols=4,
        mean=(128.0,) * 3, deviation=(64.0,) * 3,
    )  # fmt: skip
    work, seconds = [], []
    for base, pattern in PICTURE_REFERENCES:
        levels = list(pattern) * (grid.regions // len(pattern))
        encoder = RegionEncoder(grid, base, levels).to(device)
        cells = encoder.encode(blank(grid, PICTURES)).to(torch.device(device))
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            encoder(cells).square().mean().backward()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        macs = sum(region_macs(grid, base, level) for level in levels)
        work.append([macs, *map_numbers(MAPS * activations(grid, base), levels)])
        seconds.append(min(times) / (BACKWARD * PICTURES))
    torch.set_rng_state(state)
    mac, number, tile = constants(work, seconds)
    return PictureSeconds(mac=six_digits(mac), map=six_digits(number), tile=six_digits(tile))


def constants(rows_of: Sequence[Sequence[float | int]], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Seconds of each of three kinds of work, by non-negative least squares over the reference steps.

    Args:
        rows_of: how much of each kind every step does.
        seconds: of each step.
    """
    matrix = np.array(rows_of)
    scale = matrix.max(axis=0)
    # relative residuals: the small steps count as much as the large ones
    found, _ = nnls(matrix / scale / np.array(seconds)[:, None], np.ones(len(seconds)))
    first, second, third = (found / scale).tolist()
    return first, second, third


def reference(hidden: int, blocks: int) -> tuple[Schema, Capacity]:
    """A reference network's features and size."""
    names = [f"x{i}" for i in range(FEATURES)]
    schema = Schema(
        target="y",
        task="regression",
        classes=(),
        features=tuple(Feature(name=n, column=n, kind="numeric", distinct=33, missing_share=0.0) for n in names),
        set_aside=(),
    )
    capacity = Capacity(
        features=tuple(
            FeatureCapacity(feature=n, width=WIDTH, bins=32, rows=0, parameters=0, reason="") for n in names
        ),
        members=MEMBERS,
        blocks=blocks,
        block_width=hidden,
        layers=LayerSplit(feature_extraction=0, middle=0, output=0),
    )
    return schema, capacity


def _reference(rows: int, hidden: int, blocks: int, *, low_precision: bool) -> tuple[Network, Columns]:
    from abi.data.columns import Columns  # noqa: PLC0415 - it imports pandas, which planning does without

    schema, capacity = reference(hidden, blocks)
    preparation = Preparation(edges=(tuple(np.linspace(0, 1, 33).tolist()),) * FEATURES, vocabularies=())
    prior = np.full(FEATURES, 1 / FEATURES)
    network = Network(schema, capacity, preparation, prior, dropout=0.1, low_precision=low_precision)
    values = np.random.default_rng(0).random((rows, FEATURES))
    return network, Columns(numeric=values, categorical=(), target=None, row_numbers=np.arange(rows))


def _time(network: Network, columns: Columns, device: str) -> tuple[float, float]:
    """Least seconds of a training step, and of predicting one row that is not encoded yet: others may use the machine too."""
    cells = network.encode(columns).to(torch.device(device))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    times = []
    network.train()
    for _ in range(REPEATS + 2):
        start = time.perf_counter()
        loss = network(cells).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    network.eval()
    one, calls = columns.take(np.arange(1)), []
    with torch.inference_mode():
        for _ in range(REPEATS):
            start = time.perf_counter()
            float(network(network.encode(one).to(torch.device(device))).mean())
            calls.append(time.perf_counter() - start)
    return min(times[2:]), min(calls)


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as lines:  # noqa: PTH123 - a kernel file
            return set(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return set()
