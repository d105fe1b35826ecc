"""What is predicted of a training beside its plan's cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.devices.device import Cluster, Device
from abi.families.sizes import multiply_accumulates
from abi.planning.forecast import forecast
from abi.types import Cost

DEVICE = Device(
    name="Round", kind="cpu", memory_bytes=10**9, bandwidth=2e10, rates={"float32": 8e10, "bfloat16": 3.2e11},
    reached_rate=0.5, reached_bandwidth=0.75, launch_s=1e-6, context_bytes=0, power_w=100.0, idle_w=20.0, link=1e9,
    host_link=1e9, source="made up",
)  # fmt: skip
CLUSTER = Cluster(device=DEVICE, count=1, host_memory_bytes=10**9, host_cores=4)


@pytest.fixture(scope="module")
def trained(toy: Any) -> Any:
    made = toy.fitted(toy.table("regression")).trained
    execution = replace(made.plan.execution, batch_rows=100, micro_batch=30, threads=1)
    predicted = Cost(parameters=1, memory_bytes=1, train_time_s=50.0, latency_s=1.0)
    return replace(made, plan=replace(made.plan, execution=execution, predicted=predicted))


def test_a_step_is_all_its_micro_batches(toy: Any, trained: Any) -> None:
    c, machine = trained.plan.capacity, toy.machine
    width = sum(f.width for f in c.features)
    units = c.members * c.blocks * c.block_width + width
    macs = multiply_accumulates(width, c.members, c.blocks, c.block_width, 1)
    part_s = 1e-3 + 30 * (units * 1e-9 + 3 * macs * 1e-11)
    assert forecast(trained, machine, CLUSTER, 180, 1).step_s == pytest.approx(
        4 * part_s, rel=1e-5
    )  # 30, 30, 30 and 10
    assert forecast(trained, machine, CLUSTER, 60, 1).step_s == pytest.approx(2 * part_s, rel=1e-5)


def test_of_a_processor_the_threads_count(toy: Any, trained: Any) -> None:
    found = forecast(trained, toy.machine, CLUSTER, 180, 1)
    assert (found.rate, found.reached_rate) == (2e10, 1e10)  # one core of four
    assert (found.bandwidth, found.reached_bandwidth) == (2e10, 1.5e10)
    assert found.energy_j == pytest.approx((20 + 80 / 4) * 50)


def test_of_a_gpu_all_of_it_counts_at_its_precision(toy: Any, trained: Any) -> None:
    run = replace(trained.plan.execution, precision="bfloat16")
    found = forecast(
        replace(trained, plan=replace(trained.plan, execution=run)),
        toy.machine,
        replace(CLUSTER, device=replace(DEVICE, kind="gpu")),
        180,
        1,
    )
    assert found.rate == 3.2e11
    assert found.energy_j == pytest.approx(100 * 50)
