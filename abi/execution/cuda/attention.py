"""Which kernel scaled dot product attention takes on a GPU, and that it is called instead of the processor's.

Sources: ATen/native/transformers/cuda/sdp_utils.cpp of torch (order of the backends and what each can do), and what an
H200 was seen to take: cuDNN for low precision from compute capability 9.0 on, the memory-efficient kernel for float32.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.library import Library

from abi.execution.cuda.override import put

CUDNN_FROM: Final = 9.0
"""Compute capability from which cuDNN's kernel comes first."""
FLASH_FROM: Final = 8.0
ALIGNED: Final = 8
"""Head sizes of cuDNN's and the flash kernel are multiples of this; the flash kernel's are padded to it."""
MOST_HEAD: Final = {"cudnn": 128, "flash": 256}
_LOW: Final = (torch.bfloat16, torch.float16)


def register(library: Library, capability: float) -> None:
    """Take the GPU's kernels in place of the processor's, until the library is destroyed."""

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if enable_gqa and query.shape[-3] != key.shape[-3]:
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
        mask = None if attn_mask is None else _bias(attn_mask, query, key)
        chosen = backend(query, value, mask, capability)
        wanted = any(t.requires_grad for t in (query, key, value)) and torch.is_grad_enabled()
        aten: Any = torch.ops.aten
        if chosen == "cudnn":
            out = aten._scaled_dot_product_cudnn_attention.default(
                query, key, value, mask, wanted, dropout_p, is_causal, False, scale=scale
            )
        elif chosen == "flash":
            return _flash(query, key, value, dropout_p, is_causal, scale)
        elif chosen == "efficient":
            out = aten._scaled_dot_product_efficient_attention.default(
                query, key, value, mask, wanted, dropout_p, is_causal, scale=scale
            )
        else:
            out = aten._scaled_dot_product_attention_math.default(
                query, key, value, mask, dropout_p, is_causal, scale=scale
            )
        attended: Tensor = out[0]
        return attended

    put(library, "scaled_dot_product_attention", attend, "AutogradCPU")


def backend(query: Tensor, value: Tensor, mask: Tensor | None, capability: float) -> str:
    """cudnn, flash, efficient, or math where none of them can."""
    size = query.shape[-1]
    if query.dim() != 4 or (mask is not None and mask.requires_grad) or value.shape[-1] != size:  # noqa: PLR2004
        return "math"
    low = query.dtype in _LOW
    if low and capability >= CUDNN_FROM and size % ALIGNED == 0 and size <= MOST_HEAD["cudnn"]:
        return "cudnn"
    if low and mask is None and capability >= FLASH_FROM and size <= MOST_HEAD["flash"]:
        return "flash"
    return "efficient" if size % (ALIGNED if low else ALIGNED // 2) == 0 else "math"


def _flash(query: Tensor, key: Tensor, value: Tensor, dropout: float, is_causal: bool, scale: float | None) -> Tensor:
    size, missing = query.shape[-1], -query.shape[-1] % ALIGNED
    if missing:
        query, key, value = (torch.nn.functional.pad(t, (0, missing)) for t in (query, key, value))
    scale = size**-0.5 if scale is None else scale
    operator: Any = torch.ops.aten._scaled_dot_product_flash_attention.default
    out: Tensor = operator(query, key, value, dropout, is_causal, False, scale=scale)[0]
    return out[..., :size] if missing else out


def _bias(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """An additive mask for every head; the kernels read it expanded, without a copy."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(mask.logical_not(), float("-inf"))
    return mask.expand(*query.shape[:-1], key.shape[-2])
