"""What the planner says of a configuration before it runs, in processes beside one another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from planner_models import large, others, own

from abi.cores import cores
from abi.devices.device import Cluster
from abi.execution.costing import Question, cost
from abi.execution.footprint import bound_bytes, footprint, peak_bytes
from abi.execution.step import PHASES, Training
from abi.execution.target import Target
from abi.execution.trace import trace
from abi.execution.tracer import FRAGMENTED
from abi.execution.types import Footprint, Job, Limits

ROWS = 48
TRIES = 5


class Predicted(NamedTuple):
    """Of one configuration; `accepted_bytes` are the fewest at which an allocator would not refuse."""

    phases: dict[str, float]
    step_bytes: float
    line_bytes: float
    bound_bytes: float
    refused: bool
    accepted_bytes: int
    reserved: int
    step_s: float
    bound_by: str
    parameters: int
    method: str
    uncounted: tuple[str, ...]
    trace_s: float


@cache
def configurations(*, gpu: bool) -> dict[str, tuple[str, Training, int]]:
    """Name -> group, training and rows; the large ones where there is a GPU, also at a quarter of their rows."""
    found: dict[str, tuple[str, Training, int]] = {name: ("own", training, ROWS) for name, training in own()}
    if gpu:
        for name, training, rows in large():
            group = "own" if name.startswith("network") else "others"
            found[name] = (group, training, rows)
    found |= {name: ("others", training, ROWS) for name, training in others()}
    quarters = {
        f"{name} quarter": (group, training, rows // 4)
        for name, (group, training, rows) in found.items()
        if rows > ROWS
    }
    return found | quarters


def predict(name: str, rows: int, cluster: Cluster) -> Predicted:
    """From traces alone."""
    device, gpu = cluster.device, cluster.device.kind == "gpu"
    training = configurations(gpu=gpu)[name][1]
    start = time.perf_counter()
    found = footprint(training, target=Target.of(device))
    seconds = time.perf_counter() - start
    line, bound = peak_bytes(found, rows), bound_bytes(found, rows)
    phases: dict[str, float] = {bound.phase: max(f + row * rows for f, row in bound.lines) for bound in found.phases}
    whole, reserved, refused = line, 0, False
    accepted = math.ceil(max(bound, phases["evaluate"] * (1 + found.margin)))
    if gpu and found.method == "traced":
        exact = trace(training, rows, target=Target.of(device)).phases
        phases = {phase.phase: float(phase.allocated_bytes) for phase in exact}
        whole = max(phases[phase] for phase in PHASES[:3])
        reserved = max(phase.reserved_bytes for phase in exact[:3])
        for _ in range(TRIES):  # as the planner does: what its allocator refuses is not accepted
            at_limit = trace(
                training, rows, target=Target.of(device), limit=int((accepted - device.segments_bytes) / FRAGMENTED)
            ).phases
            if not at_limit[-1].refused:
                break
            refused, accepted = (
                True,
                math.ceil(max(accepted, FRAGMENTED * max(phase.reserved_bytes for phase in at_limit)))
                + device.segments_bytes,
            )
    step_s, bound_by = seconds_of(found, rows, cluster)
    return Predicted(
        phases, whole, line, bound, refused, accepted, reserved, step_s, bound_by, found.parameters, found.method,
        found.uncounted, round(seconds, 2),
    )  # fmt: skip


def seconds_of(found: Footprint, rows: int, cluster: Cluster) -> tuple[float, str]:
    """Of a step whose batch lies on the device already, and what holds it back."""
    job = Job(global_batch=rows, steps=1, row_bytes=1)
    question = Question(footprints=(found,), cluster=cluster, limits=Limits(), job=job)
    columns = cost(question, 0, 1, "none", np.array([float(rows)]))
    names = ("arithmetic", "bandwidth", "launches", "communication", "loader")
    return float(columns.compute_s[0]), names[int(columns.bound_by[0])]


def all_predicted(wanted: Iterable[tuple[str, int]], cluster: Cluster) -> Iterator[Predicted]:
    """In their order, each as soon as it is there."""
    workers = cores() if cluster.device.kind == "gpu" else 1
    names, rows = zip(*wanted, strict=True)
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(predict, names, rows, [cluster] * len(names))
