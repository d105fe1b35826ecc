"""Recurrent layers as cuDNN runs them: one operator for all steps, with a reserve that is kept for the backward pass.

How large the reserve is was read off an H200 (cuDNN 9): floats for each position and hidden unit, less for the last
layer, and 256 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.library import Library

from abi.execution.cuda.override import put

GATES: Final = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
RESERVED: Final = {"lstm": 6, "gru": 7, "rnn_tanh": 2, "rnn_relu": 2}
"""Numbers of each position and hidden unit that a layer keeps; the last layer keeps one less (its output)."""
RESERVE_BYTES: Final = 256

_OWN: Final = Library("abi", "FRAGMENT")  # type: ignore[no-untyped-call]
_OWN.define("recurrent(Tensor x, Tensor[] weights, int hidden, int layers, int kept, int directions) -> Tensor[]")  # type: ignore[no-untyped-call]
_OWN.define("recurrent_backward(Tensor grad, Tensor x, Tensor reserve, Tensor[] weights) -> Tensor[]")  # type: ignore[no-untyped-call]


def _recurrent(
    x: Tensor,
    weights: Sequence[Tensor],  # noqa: ARG001 - as it is called
    hidden: int,
    layers: int,
    kept: int,
    directions: int,
) -> list[Tensor]:
    """Output, a state, and the reserve."""
    positions = x.numel() // x.shape[-1]
    batch = x.shape[0] if x.dim() == 3 else 1  # noqa: PLR2004
    numbers = (kept * layers - 1) * positions * hidden * directions if kept else 0
    reserve = numbers * x.element_size() + (RESERVE_BYTES if kept else 0)
    return [
        x.new_empty(*x.shape[:-1], hidden * directions),
        x.new_empty(layers * directions, batch, hidden),
        x.new_empty(reserve, dtype=torch.uint8),
    ]


def _recurrent_backward(grad: Tensor, x: Tensor, reserve: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:  # noqa: ARG001
    return [torch.empty_like(x), *map(torch.empty_like, weights)]


for _name, _kernel in (("recurrent", _recurrent), ("recurrent_backward", _recurrent_backward)):
    put(_OWN, _name, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"abi::{_name}", _kernel, lib=_OWN)


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: int, layers: int, kept: int, directions: int, *weights: Tensor) -> Any:
        out, state, reserve = torch.ops.abi.recurrent(x, list(weights), hidden, layers, kept, directions)
        if kept:
            ctx.save_for_backward(x, out, reserve, *weights)
        return out, state

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        x, _out, reserve, *weights = ctx.saved_tensors
        found = torch.ops.abi.recurrent_backward(grad, x, reserve, weights)
        return found[0], None, None, None, None, *found[1:]


def kernels(name: str, args: tuple[Any, ...]) -> float:
    """How many one call starts: cuDNN's layers one for each step, twice as many backward."""
    if name == "abi.recurrent":
        return float(args[0].shape[1] * args[3])
    if name == "abi.recurrent_backward":
        return float(2 * args[0].shape[1] * max(1, sum(w.dim() > 1 for w in args[3]) // 2))
    return 1.0


HANDED: Final = 0.25
"""Of handing over an operator, what cuDNN's layers take of the host for each kernel."""


def handed(name: str, args: tuple[Any, ...]) -> float:
    """How many operators' worth of the host's time one call takes besides its own."""
    return HANDED * kernels(name, args) if name.startswith("abi.") else 0.0


def register(library: Library) -> None:
    """Take cuDNN's layers in place of the processor's, until the library is destroyed."""
    for name in GATES:
        put(library, f"{name}.input", _padded(name), "AutogradCPU")
        put(library, f"{name}.data", _packed(name), "AutogradCPU")


def _padded(name: str) -> Any:
    def run(x: Tensor, state: Any, weights: Sequence[Tensor], _biases: bool, layers: int, _dropout: float, train: bool,
            bidirectional: bool, _batch_first: bool) -> Any:  # fmt: skip
        return _run(name, x, state, weights, layers, train, bidirectional)

    return run


def _packed(name: str) -> Any:
    def run(x: Tensor, _sizes: Tensor, state: Any, weights: Sequence[Tensor], _biases: bool, layers: int,
            _dropout: float, train: bool, bidirectional: bool) -> Any:  # fmt: skip
        return _run(name, x, state, weights, layers, train, bidirectional)

    return run


def _run(
    name: str, x: Tensor, state: Any, weights: Sequence[Tensor], layers: int, train: bool, bidirectional: bool
) -> Any:
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        x, weights = x.to(low), [w.to(low) for w in weights]
    hidden = weights[0].shape[0] // GATES[name]
    kept = RESERVED[name] if train and torch.is_grad_enabled() else 0
    out, last = _Layers.apply(x, hidden, layers, kept, 1 + bidirectional, *weights)  # type: ignore[no-untyped-call]
    first = state[0] if isinstance(state, list | tuple) else state
    last = last if last.shape == first.shape else torch.empty_like(first)
    return (out, last, torch.empty_like(last)) if name == "lstm" else (out, last)
