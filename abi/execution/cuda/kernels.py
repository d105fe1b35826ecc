"""A processor's tensors, handled as CUDA would handle them: for tracing what runs on a GPU where there is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.library import _scoped_library

from abi.execution.cuda import attention, autocast, recurrent
from abi.execution.cuda.override import put
from abi.inputs.on_gpu import AS_ON_GPU


@contextmanager
def cuda_kernels(capability: float) -> Iterator[None]:
    """Dropout, attention, recurrent layers and autocast as on a GPU, while the block runs, in the whole process.

    Args:
        capability: CUDA's compute capability, as 9.0.
    """
    with _scoped_library("aten", "IMPL") as library:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says that kernels are overridden: they are to be
            put(library, "dropout", _dropout, "AutogradCPU")
            autocast.register(library)
            attention.register(library, capability)
            recurrent.register(library)
        before = AS_ON_GPU.set(True)
        try:
            yield
        finally:
            AS_ON_GPU.reset(before)


def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """In one kernel that keeps a mask of bytes; a processor keeps one of floats."""
    if not train or p == 0 or x.numel() == 0:
        return x
    if not (0 < p < 1 and x.requires_grad):
        return x * torch.empty_like(x).bernoulli_(1 - p)
    dropped: Tensor = torch.ops.aten.native_dropout.default(x, p, True)[0]
    return dropped
