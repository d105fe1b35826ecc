"""Residuals in a workspace."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from abi.devices.device import Cluster, Device
from abi.execution.costing import Question
from abi.execution.decide import decide
from abi.execution.types import ExecutionPlan, Footprint, Job, Limits, PhaseBound
from abi.planning.margins import margin
from tasks import residuals
from tasks.workspace import Workspace


def write(ws: Workspace, number: int, data: bytes | None = None) -> None:
    one = {"memory_bytes": 1 + number / 100, "train_time_s": 0.5, "latency_s": 1.0}
    folder = ws.root / "residuals" / f"network-cpu-float32-{torch.__version__}"
    ws.write(folder / f"{number:064x}.json", json.dumps(one).encode() if data is None else data)


def test_nine_trainings_make_a_margin_of_their_device_and_precision(ws: Workspace) -> None:
    for number in range(8):
        write(ws, number)
    few, trees = residuals.margins(ws, "cpu", "float32")
    assert (few.runs, few.train_time_s, few.latency_s) == (8, 1.0, 1.1)  # a ninth of the prior's is left
    write(ws, 8)
    found, _ = residuals.margins(ws, "cpu", "float32")
    assert (found.family, found.runs, found.train_time_s) == ("network", 9, 1.0)
    assert found.memory_bytes == pytest.approx(1.08)
    assert residuals.margins(ws, "cpu", "bfloat16") == (margin("network"), trees)
    assert trees == margin("trees")
    write(ws, 8, b"")  # as after a power failure
    assert residuals.margins(ws, "cpu", "float32")[0] == few


@pytest.fixture
def planned() -> ExecutionPlan:
    """A plan on a made-up processor, whose name no folder could have."""
    device = Device(
        name="Some/CPU @ 2", kind="cpu", memory_bytes=10**9, bandwidth=1e9, rates={"float32": 1e9}, reached_rate=1.0,
        reached_bandwidth=1.0, launch_s=1e-6, context_bytes=0, power_w=10.0, idle_w=1.0, link=1e9, host_link=1e9, source="",
    )  # fmt: skip
    phases = tuple(
        PhaseBound(
            phase=name, fixed_bytes=1e6, row_bytes=1e3, matrix_flops_fixed=0.0, matrix_flops_row=1e6,
            moved_bytes_fixed=1e3, moved_bytes_row=1e3, launches=1.0,
        )
        for name in ("forward", "backward", "optimizer", "evaluate")
    )  # fmt: skip
    footprint = Footprint(
        arithmetic="float32", checkpointing=False, parameters=9, parameter_bytes=36, gradient_bytes=36, optimizer_bytes=72,
        phases=phases, uncounted=(), margin=0.01, traced_rows=(2,),
    )  # fmt: skip
    cluster = Cluster(device=device, count=1, host_memory_bytes=10**9, host_cores=2)
    job = Job(global_batch=64, steps=10, row_bytes=4)
    question = Question(footprints=(footprint,), cluster=cluster, limits=Limits(), job=job)
    return decide(question, module="pack age:factory", versions={})


def test_nine_runs_of_a_module_teach_bounds_of_that_module_on_that_device(
    ws: Workspace, planned: ExecutionPlan
) -> None:
    device, cost = planned.cluster.device, planned.predicted
    for number in range(9):
        assert residuals.learned(ws, planned.module, device) == ()
        peak = round(cost.memory_bytes * (1 + number / 100))
        runs = residuals.keep_execution(ws, planned, peak_bytes=peak, step_s=cost.compute_s / 2)
        assert runs == number + 1
    (found,) = residuals.learned(ws, planned.module, device)
    assert (found.arithmetic, found.runs, found.time, found.coverage) == ("float32", 9, 1.0, None)
    assert found.memory == pytest.approx(1.08, rel=1e-4)
    assert residuals.learned(ws, "pack-age:factory", device) == ()
    assert residuals.learned(ws, planned.module, replace(device, name="Other")) == ()
    assert residuals.margins(ws, "cpu", "float32") == (margin("network"), margin("trees"))
