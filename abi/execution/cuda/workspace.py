"""What CUDA's kernels take of the allocator's memory besides their results, for as long as they run.

Formulas are read from torch's sources (named at each) and held against what an H200 took; where a library chooses among
algorithms by rules that it does not publish (convolutions, recurrent layers), what is expected and what was the most are
apart.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from typing import Any, Final

from torch import Tensor

from abi.execution.target import Target

THREADS_PER_MULTIPROCESSOR: Final = 2048
REDUCE_THREADS: Final = 128
"""Threads of a block of a reduction whose outputs are read four at a time: 512 / 4."""
REDUCE_VECTOR: Final = 4
REDUCE_WARP: Final = 32
REDUCE_VALUES: Final = (16, 256)
"""Values for each thread: at least, and from which on several blocks share an output."""
SORTED_FROM: Final = 3072
"""Indices above which the gradient of a table sorts them."""
SORT_BYTES: Final = 52
"""Of each index while it is sorted: two copies, and the sort's own."""
SEGMENT_ROWS: Final = 10
RNN_BYTES: Final = 8 * 2**20
"""Of cuDNN for a recurrent module, and as much for each of its layers."""
WINOGRAD: Final = 4
CHANNELS: Final = 32
CONVOLUTION_MOST: Final = 9
"""Times the larger of input and output: the most that was seen (Winograd transforms)."""

Taken = tuple[int, int]
"""Bytes expected, and at most."""


def cuda_workspace(name: str, args: tuple[Any, ...], out: Any, target: Target) -> Taken:
    """What one call takes besides its result."""
    formula = _FORMULAS.get(name)
    return (0, 0) if formula is None else formula(args, out, target)


def _sum(args: tuple[Any, ...], out: Any, target: Target) -> Taken:
    """Blocks that share an output leave partial sums (ATen/native/cuda/Reduce.cuh, setReduceConfig)."""
    x = args[0]
    outputs = out.numel()
    if not outputs or not x.is_contiguous() or out.dim() == 0 or x.shape[-1] == 1 or out.shape[-1] != x.shape[-1]:
        return 0, 0
    values = x.numel() // outputs
    width = min(REDUCE_WARP, 1 << max(0, (outputs // REDUCE_VECTOR).bit_length() - 1))
    each = ceil(values / (REDUCE_THREADS // width))
    if each < REDUCE_VALUES[1] or not target.multiprocessors:
        return 0, 0
    columns = ceil(outputs / (width * REDUCE_VECTOR))
    room = ceil(target.multiprocessors * (THREADS_PER_MULTIPROCESSOR // REDUCE_THREADS) / columns)
    blocks = max(min(room, ceil(each / REDUCE_VALUES[0])), ceil(each / REDUCE_VALUES[1]))
    taken = 4 * outputs * blocks * width * REDUCE_VECTOR + 512 if blocks > 1 else 0
    return taken, taken


def _table_gradient(args: tuple[Any, ...], out: Any, _: Target) -> Taken:
    """Indices are sorted, and rows of equal ones added up in parts (ATen/native/cuda/EmbeddingBackwardKernel.cu)."""
    indices, rows, width = args[1].numel(), out.shape[0], out.shape[1]
    if indices <= SORTED_FROM:
        return 0, 0
    parts = indices // SEGMENT_ROWS + min(indices, rows)
    taken = SORT_BYTES * indices + 4 * width * parts
    return taken, taken


def _efficient_backward(args: tuple[Any, ...], _out: Any, _: Target) -> Taken:
    """Gradients of queries in the kernel's own layout, and two numbers of each row."""
    query = args[1]
    rows = 2 * 4 * prod(query.shape[:-1])
    taken = _bytes(query) + rows
    return taken, taken + 4 * 2**20


def _cudnn_backward(args: tuple[Any, ...], _out: Any, _: Target) -> Taken:
    """Gradients of queries are added up in float32."""
    query = args[1]
    taken = 2 * _bytes(query) + 4 * prod(query.shape[:-1])
    return taken, taken


def _copies(args: tuple[Any, ...], _out: Any, _: Target) -> Taken:
    """Kernels that read rows copy a tensor whose rows do not lie one after another."""
    taken = sum(_bytes(t) for t in args[:2] if isinstance(t, Tensor) and not t.is_contiguous())
    return taken, taken


def _safe_softmax(args: tuple[Any, ...], out: Any, _: Target) -> Taken:
    """A byte of each element says where a row is masked whole."""
    taken = out.numel() + (_bytes(args[0]) if not args[0].is_contiguous() else 0)
    return taken, taken


def _convolution(args: tuple[Any, ...], out: Any, _: Target) -> Taken:
    x, weight = args[0], args[1]
    moved = _bytes(x) + _bytes(out)
    expected = moved if x.element_size() == 2 and not _pointwise(weight) else 0  # noqa: PLR2004 - to channels last
    return expected, max(expected, CONVOLUTION_MOST * max(_bytes(x), _bytes(out)))


def _convolution_backward(args: tuple[Any, ...], _out: Any, _: Target) -> Taken:
    """To channels last in low precision; 3 x 3 in float32 by Winograd's F(4 x 4, 3 x 3): six by six for four by four."""
    grad, x, weight = args[0], args[1], args[2]
    moved = _bytes(grad) + _bytes(x)
    expected = moved
    if (
        x.element_size() == 4  # noqa: PLR2004 - float32
        and tuple(weight.shape[2:]) == (3, 3)
        and grad.shape[2:] == x.shape[2:]
        and min(weight.shape[:2]) >= CHANNELS
    ):
        tiles = x.shape[0] * prod(ceil(size / WINOGRAD) for size in x.shape[2:])
        squared = (WINOGRAD + 2) ** 2
        expected = 4 * squared * (tiles * (x.shape[1] + grad.shape[1]) + x.shape[1] * grad.shape[1])
    return expected, max(2 * expected, CONVOLUTION_MOST * max(_bytes(grad), _bytes(x)))


def _recurrent(args: tuple[Any, ...], out: Any, _: Target) -> Taken:
    """The input with steps first, what goes into the gates, and the output with steps first."""
    x, weights, layers = args[0], args[1], args[3]
    hidden = out[1].shape[-1]
    gates = weights[0].shape[0] // hidden
    expected = _bytes(x) + (gates + 1) * _bytes(out[0]) + _layers_bytes(layers)
    return expected, expected + 2 * _bytes(out[0]) + RNN_BYTES


def _recurrent_backward(args: tuple[Any, ...], out: Any, _: Target) -> Taken:
    grad, x, weights = args[0], args[1], args[3]
    gates = weights[0].shape[0] // weights[1].shape[1]
    layers = sum(w.dim() == 2 for w in weights) // 2  # noqa: PLR2004 - one for inputs and one for states
    expected = _bytes(x) + (gates + 2) * _bytes(grad) + _layers_bytes(layers)
    return expected, expected + 3 * _bytes(grad) + RNN_BYTES + sum(map(_bytes, out))


def _layers_bytes(layers: int) -> int:
    return RNN_BYTES * (1 + layers)


def _pointwise(weight: Tensor) -> bool:
    return all(size == 1 for size in weight.shape[2:])


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


_FORMULAS: Final[dict[str, Callable[[tuple[Any, ...], Any, Target], Taken]]] = {
    "aten.sum": _sum,
    "aten.embedding_dense_backward": _table_gradient,
    "aten._scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "aten._scaled_dot_product_cudnn_attention_backward": _cudnn_backward,
    "aten._softmax_backward_data": _copies,
    "aten._log_softmax_backward_data": _copies,
    "aten._softmax": _copies,
    "aten._log_softmax": _copies,
    "aten.native_layer_norm": _copies,
    "aten.native_layer_norm_backward": _copies,
    "aten._safe_softmax": _safe_softmax,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "abi.recurrent": _recurrent,
    "abi.recurrent_backward": _recurrent_backward,
}
