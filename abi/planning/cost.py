"""What a capacity costs when trained and when asked: parameters, memory, time, latency.

The full model of memory per phase and operator is another matter; this one adds up what is known to be large and was
held against measurements (the report shows predicted beside measured for each run).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from abi.families.sizes import CHUNK_ROWS, COMMON, PICTURE_CHUNK, layer_split, multiply_accumulates
from abi.inputs import windows
from abi.inputs.trunk import LEVELS, STAGES
from abi.planning.machine import Machine
from abi.problem import Pretrained
from abi.types import Alignment, Capacity, Cost, Execution, Hardening, LayerSplit
from abi.units import six_digits

FLOAT_BYTES: Final = 4
HALVED: Final = 0.75
"""Arithmetic that an image at half its size saves."""
BACKWARD: Final = 3
"""A training step computes about three times the forward pass: itself, and gradients of inputs and of weights."""
WEIGHT_COPIES: Final = 5
"""Weights, gradients, two moments of AdamW and the best epoch's copy; a moving average is one more."""
ACTIVATION_COPIES: Final = 3.6
"""Per hidden unit: linear output, rectified and dropped copies, and the gradient in passing."""
HARDENED_BYTES: Final = 32
"""Of each dimension of a row's embedding: which row's it is, its altered and moved copies, and the gradient in passing."""
MASKS: Final = 2
"""Bytes per weight that says whether it was dropped, and of the best epoch's copy."""
TERM_BYTES: Final = 12
"""Of a term of a text: its number and weight."""
ALIGNED_CALLS: Final = 0.4
"""Of a step's fixed time, for each pair of modalities that are aligned."""
ALIKE_UNITS: Final = 2
"""Hidden units that take as long as the similarity of two rows."""
ALIKE_BYTES: Final = 5
"""Of each two rows of a step and each pair of modalities: their similarity, and whether it counts."""
ALIKE_PASSING_BYTES: Final = 17
"""The same of one pair of modalities at a time: the gradients in passing."""
PROJECTED_BYTES: Final = 8
"""Of each number of a row that modalities are aligned by: what is read, and its projections before and after their norm."""
WORD_BYTES: Final = 4
"""Of a word of a text that is read as a sequence: its row in the table."""
WORD_ROW_BYTES: Final = 8
"""Which text a row has."""
GATHERED_BYTES: Final = 40
"""Of a term of a text in a batch: where it stands, its number and weight, and what these are made by."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much data a plan is trained on, and what it is hardened with.

    `terms` are those of a row's texts on average; `pretrained` are its features' frozen encoders; `alignment` is of its
    `modalities`, where these are aligned. Images of the columns `halved` are seen at half their size in the first `half_size`
    of the schedule.
    """

    train_rows: int
    validation_rows: int
    numeric: int
    categorical: int
    outputs: int
    terms: float = 0.0
    hardening: Hardening | None = None
    picture_bytes: int = 0
    pretrained: tuple[Pretrained, ...] = ()
    alignment: Alignment | None = None
    modalities: int = 1
    half_size: float = 0.0
    halved: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """Pairs of modalities that are aligned."""
        return 0 if self.alignment is None else self.modalities * (self.modalities - 1) // 2

    @property
    def passes(self) -> float:
        """How many times a plain step's work a step is."""
        return 1.0 if self.hardening is None else self.hardening.passes


def sequence_macs(capacity: Capacity) -> int:
    """Multiply-accumulates of one row in the encoders that read texts as sequences."""
    return sum(windows.macs(f.width, f.length) for f in capacity.features if f.length)


def sequence_room(capacity: Capacity, macs_per_width: int) -> int:
    """The same as width of the first layer, of which a unit costs so many; 0 where that limits nothing."""
    if not macs_per_width:
        return 0
    return sum(-(-windows.macs(f.width, f.length) // macs_per_width) for f in capacity.features if f.length)


def sequence_numbers(capacity: Capacity) -> int:
    """Numbers that these encoders leave of one row."""
    return sum(windows.activations(f.width, f.length) for f in capacity.features if f.length)


def total_width(capacity: Capacity) -> int:
    """D, what the first layer reads: the sum of all widths, where the regions of a picture have one together."""
    pooled = {grid.column: STAGES[-1] * grid.base for grid in capacity.grids}
    return sum(f.width for f in capacity.features if f.grid is None) + sum(pooled.values())


def start_parameters(capacity: Capacity) -> int:
    """All trainable parameters that training starts with, but for those of texts that it drops."""
    split = capacity.layers
    return split.feature_extraction + split.middle + split.output


def parameters(capacity: Capacity) -> int:
    """All trainable parameters of the trained network."""
    return start_parameters(capacity) if capacity.pruning is None else capacity.pruning.parameters


def layers(
    encoders: int, features: int, width: int, members: int, blocks: int, block_width: int, out: int, slices: int = 1
) -> LayerSplit:
    """Parameters per part; see `abi.families.network.layer_split`."""
    return layer_split(encoders, features, width, members, blocks, block_width, out, slices)


def step_seconds(capacity: Capacity, rows: int, outputs: int, machine: Machine) -> float:
    """Time of one training step on `rows` rows."""
    width = total_width(capacity)
    macs = multiply_accumulates(width, capacity.members, capacity.blocks, capacity.block_width, outputs)
    macs += sequence_macs(capacity)
    units = capacity.members * capacity.blocks * capacity.block_width + width + sequence_numbers(capacity)
    row_s = units * machine.activation_s + BACKWARD * macs * machine.mac_s
    return machine.call_s + rows * (row_s + BACKWARD * pictures_seconds(capacity, machine))


def aligned_seconds(capacity: Capacity, rows: int, work: Workload, machine: Machine) -> float:
    """What aligning modalities adds to a step on `rows` rows, by the same constants."""
    if not work.pairs:
        return 0.0
    width, alike = total_width(capacity), work.pairs * rows
    macs = COMMON * (width + alike)
    units = width + work.modalities * COMMON + ALIKE_UNITS * alike
    row_s = units * machine.activation_s + BACKWARD * macs * machine.mac_s
    return ALIGNED_CALLS * work.pairs * machine.call_s + rows * row_s


def pictures_seconds(
    capacity: Capacity, machine: Machine, *, predicting: bool = False, columns: Sequence[str] | None = None
) -> float:
    """Time of one row's forward pass through the encoders of its pictures, of all `columns` where None.

    Where it is `predicting`, these look at all views.
    """
    known = machine.pictures
    seconds = 0.0
    for grid in capacity.grids:
        if columns is not None and grid.column not in columns:
            continue
        views = (grid.views or 1) if predicting else 1
        if known is None:
            per_mac = machine.mac_s if machine.picture_mac_s is None else machine.picture_mac_s
            seconds += views * per_mac * grid.macs
            continue
        levels = [f.width // grid.base for f in capacity.features if f.grid == grid.column]
        maps, tiles = map_numbers(grid.activations, levels)
        seconds += views * (known.mac * grid.macs + known.map * maps + known.tile * tiles)
    return seconds


def map_numbers(activations: int, levels: Sequence[int]) -> tuple[float, float]:
    """(numbers in the maps of a picture's layers, numbers of the whole maps if regions are computed as tiles of them).

    Args:
        activations: numbers at the full width.
        levels: of each region.
    """
    share = sum(levels) / (LEVELS * len(levels))
    return share * activations, 0.0 if len(set(levels)) == 1 else activations * max(levels) / LEVELS


def epoch_seconds(capacity: Capacity, execution_rows: int, work: Workload, machine: Machine) -> float:
    """Time of one epoch in parts of so many rows, and its validation (one forward pass, a third of a step).

    Of an epoch on average, where images are seen at half their size in some: that is three quarters less arithmetic.
    """
    steps = -(-work.train_rows // execution_rows)
    step = step_seconds(capacity, execution_rows, work.outputs, machine)
    per_row = (step - machine.call_s) / execution_rows
    aligned = aligned_seconds(capacity, execution_rows, work, machine)
    views = pictures_seconds(capacity, machine, predicting=True) - pictures_seconds(capacity, machine)
    smaller = HALVED * work.half_size * BACKWARD * pictures_seconds(capacity, machine, columns=work.halved)
    step -= execution_rows * smaller
    return steps * (step + aligned) * work.passes + work.validation_rows * (per_row / BACKWARD + views)


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
    bags = int((work.train_rows + work.validation_rows) * work.terms * TERM_BYTES) if texts else 0
    gathered = math.ceil(work.terms * GATHERED_BYTES) if texts else 0
    hidden = capacity.members * capacity.block_width
    units = ACTIVATION_COPIES * hidden * capacity.blocks * unit_bytes + 6 * width * FLOAT_BYTES
    units += 0 if work.hardening is None else HARDENED_BYTES * width
    train = execution.part_rows * (units + 4 * capacity.members * out * FLOAT_BYTES) + 2 * hidden * width * unit_bytes
    chunk = PICTURE_CHUNK if capacity.grids else CHUNK_ROWS
    predict = min(execution.micro_batch or chunk, work.validation_rows) * (
        hidden * (unit_bytes + FLOAT_BYTES) + 3 * width * FLOAT_BYTES
    )
    weights = (copies * FLOAT_BYTES + (MASKS if capacity.pruning else 0)) * start_parameters(capacity)
    maps = sum(grid.activations for grid in capacity.grids) * FLOAT_BYTES
    maps += sequence_numbers(capacity) * FLOAT_BYTES
    train += execution.part_rows * (maps + gathered)
    if work.pairs:
        part = execution.part_rows
        train += part * PROJECTED_BYTES * (width + work.modalities * COMMON)
        train += part**2 * (ALIKE_BYTES * work.pairs + ALIKE_PASSING_BYTES)
        weights += copies * FLOAT_BYTES * COMMON * (width + work.modalities)
    predict += min(execution.micro_batch or chunk, work.validation_rows) * (maps // 4 + gathered)
    rows = work.train_rows + work.validation_rows
    frozen = sum(e.parameters + rows * e.dimensions for e in work.pretrained)
    words = sum(WORD_ROW_BYTES + WORD_BYTES * f.length for f in capacity.features if f.length)
    held = cells + rows * (work.picture_bytes + words)
    return int(weights + FLOAT_BYTES * (tables + frozen) + bags + held + max(train, predict))


def predict_cost(capacity: Capacity, execution: Execution, work: Workload, machine: Machine) -> Cost:
    """All of it."""
    macs = multiply_accumulates(
        total_width(capacity), capacity.members, capacity.blocks, capacity.block_width, work.outputs
    )
    macs += sum(e.macs for e in work.pretrained) + sequence_macs(capacity)
    pictures = sum(grid.predicted_macs for grid in capacity.grids)
    calls_s = (1 + len(work.pretrained)) * machine.predict_call_s
    latency_s = calls_s + macs * machine.mac_s + pictures_seconds(capacity, machine, predicting=True)
    return Cost(
        parameters=parameters(capacity),
        memory_bytes=memory_bytes(capacity, execution, work) + machine.library_bytes,
        train_time_s=six_digits(execution.epochs * epoch_seconds(capacity, execution.part_rows, work, machine)),
        latency_s=six_digits(latency_s),
        macs=macs + pictures if capacity.grids else None,
    )
