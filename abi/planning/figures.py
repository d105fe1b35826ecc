"""The constants of `Machine` for devices that are only described: from their figures, by traced reference steps.

The same reference networks that `abi.planning.measure` times are traced, their seconds follow from the device's rates,
bandwidth and launches (`abi.execution.roofline`), and the same three constants are fitted to these.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from abi.devices.device import Arithmetic, Cluster, Device
from abi.errors import UsageError
from abi.execution.footprint import bound_of
from abi.execution.roofline import PhaseTime, phase_time
from abi.execution.target import Target
from abi.execution.trace import record
from abi.execution.types import PhaseBound, PhaseName
from abi.families.sizes import multiply_accumulates
from abi.planning.machine import RULES, Machine
from abi.planning.margins import CALIBRATED, FIGURES, margin
from abi.planning.measure import FEATURES, MEMBERS, REFERENCES, WIDTH, constants, reference
from abi.planning.traced import training_of_reference
from abi.units import six_digits

Phases = dict[PhaseName, PhaseBound]
Precision = Literal["float32", "bfloat16"]


def machine_of(cluster: Cluster, asked: str, threads: int | None) -> Machine:
    """The machine that the figures describe.

    Args:
        cluster: the devices.
        asked: training.precision; auto is bfloat16 where the device has a rate for it.
        threads: of its processor; all cores of its host where None.

    Raises:
        UsageError: the device has no rate for the precision that is asked for.
    """
    device = cluster.device
    precision = precision_of(device, asked)
    rows_of, seconds = [], []
    for rows, hidden, blocks in REFERENCES:
        traced = _traced(device, precision, rows, hidden, blocks)
        times = [_time(phase, device, precision, rows) for phase in traced.values()]
        seconds.append(sum(float(time.total_s[0]) for time in times))
        width = FEATURES * WIDTH
        units = rows * (MEMBERS * hidden * blocks + width)
        rows_of.append([1.0, units, 3 * rows * multiply_accumulates(width, MEMBERS, blocks, hidden, 1)])
    one = _traced(device, precision, 1, *REFERENCES[-1][1:], evaluated=True)["evaluate"]  # the deepest takes longest
    call, activation, mac = constants(rows_of, seconds)
    return Machine(
        device="cuda" if device.kind == "gpu" else "cpu",
        name=device.name,
        threads=threads or cluster.host_cores,
        precision=precision,
        call_s=six_digits(max(call, device.launch_s)),
        activation_s=six_digits(activation),
        mac_s=six_digits(max(mac, 1e-18)),
        predict_call_s=six_digits(float(_time(one, device, precision, 1).total_s[0])),
        memory_bytes=device.memory_bytes - device.context_bytes,
        margins=(margin("network", prior=CALIBRATED if device.calibrated else FIGURES), margin("trees")),
        cluster=cluster,
        source=f"figures of {device.name}",
        rules=RULES,
    )


def precision_of(device: Device, asked: str) -> Precision:
    """What its networks multiply in.

    Raises:
        UsageError: it has no rate for what is asked for.
    """
    if asked == "bfloat16" and "bfloat16" not in device.rates:
        msg = f"Expected a precision that {device.name} has a rate for ({', '.join(device.rates)}), got training.precision=bfloat16: use float32 or auto."
        raise UsageError(msg)
    return "bfloat16" if asked != "float32" and "bfloat16" in device.rates else "float32"


def _traced(
    device: Device, precision: Precision, rows: int, hidden: int, blocks: int, *, evaluated: bool = False
) -> Phases:
    """A step of a reference network at one number of rows: all that it takes is fixed."""
    training = training_of_reference(*reference(hidden, blocks)).changed(arithmetic=precision)
    recorded, _ = record(training, (rows,), target=Target.of(device), evaluated=evaluated)
    return {phase: bound_of(phase, [recording], (rows,)) for phase, recording in recorded[0].items()}


def _time(phase: PhaseBound, device: Device, arithmetic: Arithmetic, rows: int) -> PhaseTime:
    return phase_time(phase, device, arithmetic, np.array([float(rows)]))
