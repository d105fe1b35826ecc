"""How far from the roof of a GPU torch's kernels stay: times the roofline's time, by operator.

Read off an H200 with torch 2.11 by its profiler, over the modules of `benchmarks/planner.py`, as medians of measured over
roofline time. Large matrix products come within a fifth of what `abi calibrate` reaches in square ones; normalisation,
reductions and convolutions do not.
"""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

ALIGNED_BYTES: Final = 16
"""Rows of matrices that do not begin at multiples of this keep tensor cores from loading them whole."""
UNALIGNED: Final = {"tf32": 3.0, "low": 6.0}

_COPIES: Final = dict.fromkeys(("aten._to_copy", "aten.clone", "aten.copy_", "aten.copy"), (1.8, 1.8))
_TIMES: Final[dict[str, tuple[float, float]]] = {
    "aten.convolution": (1.5, 3.5),
    "aten.convolution_backward": (2.1, 3.5),
    "aten.native_batch_norm": (2.6, 8.6),
    "aten.native_batch_norm_backward": (3.5, 8.6),
    "aten.native_layer_norm": (2.1, 2.1),
    "aten.native_layer_norm_backward": (3.0, 3.0),
    "aten.sum": (3.2, 3.8),
    "aten._softmax": (1.9, 1.9),
    "aten._log_softmax": (1.9, 1.9),
    "aten._softmax_backward_data": (1.5, 1.5),
    "aten._log_softmax_backward_data": (1.5, 1.5),
    "aten.nll_loss_forward": (0.1, 0.1),  # reads one value of each row
    "aten.nll_loss_backward": (0.1, 0.1),
    "aten.embedding_dense_backward": (3.8, 3.8),
    "aten.native_dropout": (1.25, 1.6),
    "aten.gelu": (1.0, 1.45),
    "aten.gelu_backward": (1.0, 1.3),
    "aten.add": (1.0, 1.25),
    "aten.mul": (1.05, 1.25),
    "aten.max_pool2d_with_indices_backward": (3.5, 6.0),
    "aten._scaled_dot_product_efficient_attention": (2.1, 2.1),
    "aten._scaled_dot_product_efficient_attention_backward": (1.75, 1.75),
    "aten._scaled_dot_product_cudnn_attention": (2.0, 2.0),
    "aten._scaled_dot_product_cudnn_attention_backward": (2.8, 2.8),
    "aten._scaled_dot_product_flash_attention": (2.0, 2.0),
    "aten._scaled_dot_product_flash_attention_backward": (2.8, 2.8),
    "aten.mm": (1.07, 1.2),
    "aten.addmm": (1.15, 1.15),
    "aten.bmm": (1.4, 1.07),
    "aten.baddbmm": (1.4, 1.07),
    **_COPIES,
}
"""Operator -> times with float32, and with 16 bits; 1 where it is not named."""
_TF32: Final = {"aten.mm": 1.8, "aten.addmm": 1.2, "aten.bmm": 1.4, "aten.baddbmm": 1.4}
_PRODUCTS: Final = frozenset(_TF32)
FULL: Final = frozenset(
    {
        "aten._scaled_dot_product_efficient_attention",
        "aten._scaled_dot_product_efficient_attention_backward",
    }
)
"""Of float32 tensors they compute in float32, whatever matrix products are allowed."""


def times(name: str, args: tuple[Any, ...], *, low: bool) -> tuple[float, float]:
    """Times the roof, without and with tf32.

    Args:
        name: of the operator.
        args: it is called with.
        low: whether its tensors have 16 bits.
    """
    plain = _TIMES.get(name, (1.0, 1.0))[low]
    tensor = plain if low else _TF32.get(name, plain)
    if name in _PRODUCTS and any(_unaligned(t) for t in args if isinstance(t, Tensor)):
        plain, tensor = (plain * UNALIGNED["low"] if low else plain), tensor * UNALIGNED["low" if low else "tf32"]
    return plain, tensor


def _unaligned(tensor: Tensor) -> bool:
    """Whether a matrix has rows of a length that is no multiple of the alignment, whichever way it lies."""
    if tensor.dim() < 2:  # noqa: PLR2004
        return False
    rows = max(tensor.stride()[-2:]) if 1 in tensor.stride()[-2:] else tensor.shape[-1]
    return rows > 1 and rows * tensor.element_size() % ALIGNED_BYTES != 0
