"""Dropout in steps of 1/256 on a processor, where drawing random numbers is what takes time; torch's own on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abi.inputs.on_gpu import on_gpu


def dropout(x: Tensor, share: float) -> Tensor:
    """Inverted dropout; on a processor one 64-bit draw serves eight cells, several times faster."""
    if on_gpu(x):
        return nn.functional.dropout(x, share)
    cut = min(round(share * 256), 255)
    draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    keep = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= cut
    return x * (keep.to(x.dtype) * (256 / (256 - cut)))
