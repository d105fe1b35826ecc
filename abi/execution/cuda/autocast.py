"""Autocast as CUDA has it, for tensors of a processor: more operators stay in float32 than there.

Lists: "Automatic Mixed Precision", PyTorch documentation (CUDA ops that autocast to float32), and the macros
AT_FORALL_FP32 and AT_FORALL_FP32_SET_OPT_DTYPE of ATen/autocast_mode.h.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.library import Library

from abi.execution.cuda.override import put

KEY: Final = "AutocastCPU"
_WITHOUT: Final = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
_LOW: Final = (torch.bfloat16, torch.float16)

_FLOAT32: Final = """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar
    pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm group_norm cosine_similarity
    poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss smooth_l1_loss
    huber_loss mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss
    multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp
    rms_norm upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d
"""
"""Compute in float32."""
_TO_FLOAT32: Final = "prod prod.dim_int cumprod cumsum sum sum.dim_IntList linalg_vector_norm"
"""Give float32 where no type is asked for: read in low precision, added up in float32, so there is no copy."""


def register(library: Library) -> None:
    """Put the policy over the processor's, until the library is destroyed."""
    for name in _FLOAT32.split():
        put(library, name, _in_float32(_overload(name)), KEY)
    for name in _TO_FLOAT32.split():
        put(library, name, _to_float32(_overload(name)), KEY)
    for name in _processors_alone():
        put(library, name, torch.library.fallthrough_kernel, KEY)
    put(library, "softmax.int", _softmax(torch.ops.aten._softmax.default), KEY)
    put(library, "log_softmax.int", _softmax(torch.ops.aten._log_softmax.default), KEY)


@functools.cache
def _processors_alone() -> tuple[str, ...]:
    """Operators that a processor's autocast casts and CUDA's does not, by torch's own dispatch tables."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    names = torch._C._dispatch_get_all_op_names()
    found = (n for n in names if n.startswith("aten::") and has(n, KEY) and not has(n, "AutocastCUDA"))
    return tuple(sorted(name.removeprefix("aten::") for name in found if not name.endswith(".padding")))


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _in_float32(operator: Any) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT):
            return operator(*map(_raised, args), **{name: _raised(value) for name, value in kwargs.items()})

    return run


def _to_float32(operator: Any) -> Callable[..., Any]:
    def run(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.dtype in _LOW and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT):
            return operator(x, *args, **kwargs)

    return run


def _softmax(operator: Any) -> Callable[..., Any]:
    """Half to float in one kernel, as CUDA can."""

    def run(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(_WITHOUT):
            raised = x.dtype in _LOW and dtype in (None, torch.float32)
            asked = x if dtype is None or raised else x.to(dtype)
            return operator(asked, dim, raised)  # type: ignore[no-any-return]

    return run


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in _LOW:
        return value.float()
    return value
