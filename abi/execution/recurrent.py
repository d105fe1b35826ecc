"""What a processor's own kernels of LSTMs take besides their inputs and outputs, which no trace can see.

oneDNN keeps gates and states of every position for the backward pass, and their differences in it, in rows as wide as the
wider of input and hidden state (its documentation calls them workspace and scratchpad). How much is an upper bound, from
what the allocator gave out for layers of 8 to 256 inputs and 16 to 512 hidden units.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor, nn

from abi.execution.types import PhaseBound

GATES: Final = 8.0
"""Floats of each position for each hidden unit."""
STATES: Final = 8.0
"""The same for each unit of the wider of input and hidden state."""
PADDING: Final = 16
"""Rows are padded to so many floats, and by as many more where their length would suit the cache badly."""
WEIGHTS: Final = 3.0
"""Copies of the weights in the kernels' own order."""
FLOAT_BYTES: Final = 4
LAYER_BYTES: Final = 2**16


@dataclass
class Recurrent:
    """LSTMs of a module and how many positions (rows x steps) each was called on."""

    layers: list[nn.LSTM]
    positions: Counter[int] = field(default_factory=Counter)

    def taken(self, rows: int) -> tuple[float, float]:
        """Bytes that are fixed and bytes for each row, where the positions were those of `rows` rows."""
        fixed = float(sum(WEIGHTS * _bytes(layer) + LAYER_BYTES * layer.num_layers for layer in self.layers))
        each = float(sum(self.positions[id(layer)] * _position_bytes(layer) for layer in self.layers)) / rows
        return fixed, each


@contextlib.contextmanager
def followed(module: nn.Module) -> Iterator[Recurrent]:
    """Count the positions of every LSTM in training while the block runs."""
    found = Recurrent([part for part in module.modules() if isinstance(part, nn.LSTM)])

    def count(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        given = arguments[0] if isinstance(arguments[0], Tensor) else arguments[0].data  # or a packed sequence
        if layer.training:
            found.positions[id(layer)] += given.numel() // given.shape[-1]

    hooks = [layer.register_forward_pre_hook(count) for layer in found.layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def above(taken: tuple[float, float], phases: tuple[PhaseBound, ...]) -> float:
    """Which share of a training step's line they take at most, at any number of rows: (a + b r) / (c + d r) is below a/c or b/d."""
    fixed, row = taken
    if not fixed:
        return 0.0
    lines = [line for phase in phases for line in phase.lines if phase.phase in {"forward", "backward"}]
    steepest, base = max(slope for _, slope in lines), max(at for at, _ in lines)
    most = max(lines, key=lambda line: line[1])[0]
    return max(fixed / max(base, most, 1.0), row / steepest if steepest else 0.0)


def _position_bytes(layer: nn.LSTM) -> float:
    directions = 2 if layer.bidirectional else 1
    hidden, out = _padded(layer.hidden_size), (layer.proj_size or layer.hidden_size) * directions
    widths = [layer.input_size] + [out] * (layer.num_layers - 1)
    return float(sum(directions * FLOAT_BYTES * (GATES * hidden + STATES * max(hidden, _padded(w))) for w in widths))


def _padded(width: int) -> int:
    return -(-width // PADDING) * PADDING + PADDING


def _bytes(layer: nn.LSTM) -> int:
    return sum(p.numel() * p.element_size() for p in layer.parameters())
