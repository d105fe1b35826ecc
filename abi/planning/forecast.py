"""What is predicted of a training beside its plan's `Cost`, and the roof that its device sets: drawn up when it is recorded.

It lies beside the plan, not in it: a plan is decided again byte for byte from constants that know nothing of devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from abi.devices.device import Arithmetic, Cluster
from abi.execution.energy import power_w
from abi.outcomes import Trained
from abi.planning.cost import step_seconds
from abi.planning.machine import Machine
from abi.units import six_digits
from abi.values import Value


@dataclass(frozen=True, kw_only=True)
class Forecast(Value):
    """Predicted time of a step, energy of the training, and the device's roof.

    Attributes:
        device: its name.
        source: where its figures come from.
        threads: of a processor that the training uses; its rate is their share of the whole.
        rate: FLOPs per second at the training's precision, peak.
        reached_rate: what large matrix products reach of it.
        bandwidth: bytes per second, peak.
        reached_bandwidth: what large copies reach of it.
        step_s: of an optimizer step (of trees: a round).
        energy_j: of all steps that were planned, at full load.
    """

    device: str
    source: str
    threads: int
    rate: float
    reached_rate: float
    bandwidth: float
    reached_bandwidth: float
    step_s: float
    energy_j: float


def forecast(trained: Trained, machine: Machine, cluster: Cluster, train_rows: int, outputs: int) -> Forecast:
    """The forecast of a training.

    Args:
        trained: what was trained.
        machine: the constants that its plan's time is of.
        cluster: the device that it was trained on.
        train_rows: of its data.
        outputs: of its network.
    """
    plan, device = trained.plan, cluster.device
    run = plan.execution
    share = 1.0 if device.kind == "gpu" else min(1.0, run.threads / cluster.host_cores)
    arithmetic: Arithmetic = "bfloat16" if run.precision == "bfloat16" and "bfloat16" in device.rates else "float32"
    rate = device.rates[arithmetic] * share
    if trained.family == "trees" and plan.trees is not None:
        step_s = trained.predicted.train_time_s / plan.trees.rounds
    else:
        rows = min(run.part_rows, train_rows)
        parts = math.ceil(min(run.batch_rows, train_rows) / rows)
        step_s = run.passes * parts * step_seconds(plan.capacity, rows, outputs, machine)
    watts = float(power_w(device, np.array([share]))[0])
    return Forecast(
        device=device.name,
        source=device.source,
        threads=run.threads,
        rate=six_digits(rate),
        reached_rate=six_digits(rate * device.reached_rate),
        bandwidth=six_digits(device.bandwidth),
        reached_bandwidth=six_digits(device.bandwidth * device.reached_bandwidth),
        step_s=six_digits(step_s),
        energy_j=six_digits(watts * trained.predicted.train_time_s),
    )
