"""What a processor's kernels take besides their results, for as long as they run: oneDNN's copies of operands and results.

Read off torch's allocator, operator by operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from abi.execution.operators import Kind, tensors_in

BLOCKS: Final = (8, 16)
"""Channels of a block of oneDNN's own layout with AVX2, which is expected, and with AVX-512."""
IMAGES: Final = 4
"""Dimensions of a batch of pictures."""

Taken = tuple[int, int]
"""Bytes expected, and at most."""


def workspace(kind: Kind, args: tuple[Any, ...], out: Any) -> Taken:
    """Bytes that a kernel takes besides its output.

    oneDNN packs the operands of products in bfloat16 and adds up in float32, in parts whose size it alone knows: what was
    seen lies between 2% and 150% of operands and result, 40% at most for large ones.
    """
    if kind.name in _CONVOLUTIONS and args[0].dtype == torch.float32:
        return _CONVOLUTIONS[kind.name](args, out)
    if not isinstance(out, Tensor) or out.dtype != torch.bfloat16 or kind.formula is None:
        return 0, 0
    whole = sum(_bytes(tensor) for tensor in tensors_in(args)) + 2 * _bytes(out)
    return min(whole // 2, whole // 5 + 2**16), min(whole * 3 // 2 + 2**15, whole * 2 // 5 + 2**19)


def _convolution(args: tuple[Any, ...], out: Tensor) -> Taken:
    """Copies of input, weight and result in blocks of channels; then the result beside its copy."""
    x, weight, transposed = args[0], args[1], args[6]
    copies = 2 if transposed and _strided(args[3]) else 1
    if _channels_last(x):
        return 2 * _bytes(weight), 2 * _bytes(weight)
    expected, most = (
        max(_input(x, block) + _blocked(weight, block) + made - _bytes(out), copies * made)
        for block, made in ((block, _blocked(out, block)) for block in BLOCKS)
    )
    return expected, most


def _convolution_backward(args: tuple[Any, ...], out: tuple[Tensor | None, ...]) -> Taken:
    """The input's gradient beside its copies; then input and gradient are copied to make the weight's."""
    gradient, x, weight, transposed = *args[:3], args[7]
    copies = 0 if out[0] is None else 2 if _strided(args[4]) and not transposed else 1
    if _channels_last(x):
        return 2 * _bytes(weight), 2 * _bytes(weight)
    expected, most = (
        max(_input(x, block) + _blocked(gradient, block) + _blocked(weight, block), copies * _blocked(x, block))
        for block in BLOCKS
    )
    return expected, most


_CONVOLUTIONS: Final[dict[str, Callable[[tuple[Any, ...], Any], Taken]]] = {
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
}


def _strided(stride: Sequence[int]) -> bool:
    """Whether the side with more positions is made in two steps, each with a copy."""
    return max(stride) > 1


def _channels_last(x: Tensor) -> bool:
    """Whether no copies are needed."""
    return x.dim() == IMAGES and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _input(x: Tensor, block: int) -> int:
    """Few channels stay as they are."""
    return _blocked(x, block) if x.shape[1] >= BLOCKS[0] else 0


def _blocked(tensor: Tensor, block: int) -> int:
    channels = max(tensor.shape[1], 1)
    return _bytes(tensor) // channels * (-(-channels // block) * block if channels >= BLOCKS[0] else channels)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
