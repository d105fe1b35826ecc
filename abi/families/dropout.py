"""Dropout in steps of 1/256 on a processor, where drawing random numbers is what takes time; torch's own on a GPU."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor, nn

AS_ON_GPU: Final[ContextVar[bool]] = ContextVar("AS_ON_GPU", default=False)
"""Whether a processor's tensors stand for a GPU's (`abi.execution.cuda`)."""


def dropout(x: Tensor, share: float) -> Tensor:
    """Inverted dropout; on a processor one 64-bit draw serves eight cells, several times faster."""
    if x.device.type != "cpu" or AS_ON_GPU.get():
        return nn.functional.dropout(x, share)
    cut = min(round(share * 256), 255)
    draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    keep = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= cut
    return x * (keep.to(x.dtype) * (256 / (256 - cut)))
