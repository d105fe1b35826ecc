"""Where a GPU computes something another way."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from torch import Tensor

AS_ON_GPU: Final[ContextVar[bool]] = ContextVar("AS_ON_GPU", default=False)
"""Whether a processor's tensors stand for a GPU's (`abi.execution.cuda`)."""


def on_gpu(x: Tensor) -> bool:
    """Whether it lies on a GPU, or stands for what would."""
    return x.device.type != "cpu" or AS_ON_GPU.get()
