"""What a capacity costs when trained and when asked: parameters, memory, time, latency.

The full model of memory per phase and operator is another matter; this one adds up what is known to be large and was
held against measurements (the report shows predicted beside measured for each run).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from abi.families.network import layer_split, multiply_accumulates
from abi.planning.machine import Machine
from abi.types import Capacity, Cost, Execution, LayerSplit
from abi.units import six_digits

FLOAT_BYTES: Final = 4
BACKWARD: Final = 3
"""A training step computes about three times the forward pass: itself, and gradients of inputs and of weights."""
WEIGHT_COPIES: Final = 5
"""Weights, gradients, two moments of AdamW and the best epoch's copy; a moving average is one more."""
ACTIVATION_COPIES: Final = 3.6
"""Per hidden unit: linear output, rectified and dropped copies, and the gradient in passing."""
PREDICT_ROWS: Final = 2048
MASKS: Final = 2
"""Bytes per weight that says whether it was dropped, and of the best epoch's copy."""
TEXT_CELLS_BYTES: Final = 400
"""Of a text of about 30 terms: their numbers and weights."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much data a plan is trained on."""

    train_rows: int
    validation_rows: int
    numeric: int
    categorical: int
    outputs: int


def total_width(capacity: Capacity) -> int:
    """D, the sum of all widths."""
    return sum(f.width for f in capacity.features)


def start_parameters(capacity: Capacity) -> int:
    """All trainable parameters that training starts with, but for those of texts that it drops."""
    split = capacity.layers
    return split.feature_extraction + split.middle + split.output


def parameters(capacity: Capacity) -> int:
    """All trainable parameters of the trained network."""
    return start_parameters(capacity) if capacity.pruning is None else capacity.pruning.parameters


def layers(
    encoders: int, features: int, width: int, members: int, blocks: int, block_width: int, out: int
) -> LayerSplit:
    """Parameters per part; see `abi.families.network.layer_split`."""
    return layer_split(encoders, features, width, members, blocks, block_width, out)


def step_seconds(capacity: Capacity, rows: int, outputs: int, machine: Machine) -> float:
    """Time of one training step on `rows` rows."""
    width = total_width(capacity)
    macs = multiply_accumulates(width, capacity.members, capacity.blocks, capacity.block_width, outputs)
    units = capacity.members * capacity.blocks * capacity.block_width + width
    return machine.call_s + rows * (units * machine.activation_s + BACKWARD * macs * machine.mac_s)


def epoch_seconds(capacity: Capacity, execution_rows: int, work: Workload, machine: Machine) -> float:
    """Time of one epoch in parts of so many rows, and its validation (one forward pass, a third of a step)."""
    steps = -(-work.train_rows // execution_rows)
    step = step_seconds(capacity, execution_rows, work.outputs, machine)
    per_row = (step - machine.call_s) / execution_rows
    return steps * step + work.validation_rows * per_row / BACKWARD


def memory_bytes(capacity: Capacity, execution: Execution, work: Workload) -> int:
    """Tensors alive at the peak of training: data, weights and their companions, activations of a step or a prediction.

    Held against `abi.training.memory.peak_bytes` on seven tables; the report shows both for every run.
    """
    width, out = total_width(capacity), work.outputs
    unit_bytes = 2 if execution.precision == "bfloat16" else FLOAT_BYTES
    cells = (work.train_rows + work.validation_rows) * (8 * work.numeric + 4 * work.categorical) + 8 * work.train_rows
    copies = WEIGHT_COPIES + bool(execution.average)
    texts = [f for f in capacity.features if f.entries]
    tables = sum(2 * f.rows * f.width + WEIGHT_COPIES * (f.start_entries - f.entries) for f in texts)
    bags = len(texts) * (work.train_rows + work.validation_rows) * TEXT_CELLS_BYTES
    hidden = capacity.members * capacity.block_width
    units = ACTIVATION_COPIES * hidden * capacity.blocks * unit_bytes + 6 * width * FLOAT_BYTES
    train = execution.part_rows * (units + 4 * capacity.members * out * FLOAT_BYTES) + 2 * hidden * width * unit_bytes
    predict = min(execution.micro_batch or PREDICT_ROWS, work.validation_rows) * (
        hidden * (unit_bytes + FLOAT_BYTES) + 3 * width * FLOAT_BYTES
    )
    weights = (copies * FLOAT_BYTES + (MASKS if capacity.pruning else 0)) * start_parameters(capacity)
    return int(weights + FLOAT_BYTES * tables + bags + cells + max(train, predict))


def predict_cost(capacity: Capacity, execution: Execution, work: Workload, machine: Machine) -> Cost:
    """All of it."""
    macs = multiply_accumulates(
        total_width(capacity), capacity.members, capacity.blocks, capacity.block_width, work.outputs
    )
    return Cost(
        parameters=parameters(capacity),
        memory_bytes=memory_bytes(capacity, execution, work) + machine.library_bytes,
        train_time_s=six_digits(execution.epochs * epoch_seconds(capacity, execution.part_rows, work, machine)),
        latency_s=six_digits(machine.predict_call_s + macs * machine.mac_s),
    )
