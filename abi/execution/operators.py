"""What one call of an operator costs: FLOPs by formula, bytes read and written, and whether that says all.

Matrix products, convolutions and attention have formulas (torch's registry and a few more). Operators on single
elements, reductions, look-ups and copies are bound by bandwidth: their bytes say what they cost. Whatever is neither is
not counted, and is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_FREE: Final = """
    empty empty_like empty_strided new_empty new_empty_strided detach detach_ alias lift lift_fresh set_ resize_
    _local_scalar_dense is_same_size sym_size _has_compatible_shallow_copy_type _nested_tensor_size
"""
FREE: Final = frozenset(f"aten.{name}" for name in _FREE.split())
"""Neither read nor write anything."""

_BANDWIDTH: Final = """
    sum mean amax amin max min argmax argmin any all prod var var_mean std norm linalg_vector_norm logsumexp
    cumsum _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data _safe_softmax masked_fill
    masked_fill_ native_layer_norm native_layer_norm_backward _fused_rms_norm _fused_rms_norm_backward
    native_group_norm native_group_norm_backward native_batch_norm native_batch_norm_backward
    _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm_backward cudnn_batch_norm
    cudnn_batch_norm_backward native_dropout native_dropout_backward bernoulli_ bernoulli rand randn rand_like
    randn_like randint random_ uniform_ normal_ randperm arange full full_like zeros zeros_like ones ones_like
    new_zeros new_ones new_full fill_ zero_ scalar_tensor linspace eye copy_ _to_copy clone contiguous cat stack
    split_with_sizes_copy unsqueeze_copy constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d roll flip repeat tril triu embedding embedding_dense_backward _embedding_bag
    _embedding_bag_forward_only _embedding_bag_backward _embedding_bag_dense_backward
    _embedding_bag_per_sample_weights_backward embedding_renorm_ index index_put index_put_ _index_put_impl_
    _unsafe_index _unsafe_index_put index_select index_add index_add_ index_copy index_copy_ index_fill
    index_fill_ gather scatter scatter_ scatter_add scatter_add_ scatter_reduce one_hot select_backward
    slice_backward select_scatter slice_scatter as_strided_scatter unfold_backward repeat_interleave
    max_pool2d_with_indices max_pool2d_with_indices_backward avg_pool2d avg_pool2d_backward _adaptive_avg_pool2d
    _adaptive_avg_pool2d_backward adaptive_max_pool2d adaptive_max_pool2d_backward max_pool3d_with_indices
    max_pool3d_with_indices_backward avg_pool3d avg_pool3d_backward upsample_nearest2d upsample_nearest2d_backward
    upsample_bilinear2d upsample_bilinear2d_backward upsample_bicubic2d upsample_bicubic2d_backward im2col col2im
    nll_loss_forward nll_loss_backward nll_loss2d_forward nll_loss2d_backward mse_loss mse_loss_backward
    smooth_l1_loss smooth_l1_loss_backward huber_loss huber_loss_backward binary_cross_entropy
    binary_cross_entropy_backward binary_cross_entropy_with_logits glu glu_backward _weight_norm_interface _weight_norm_interface_backward
    _fused_adam_ _fused_adamw_ _fused_sgd_ _fused_adagrad_ _foreach_norm where nonzero masked_select trace
    diagonal_copy _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl _thnn_fused_gru_cell
    _thnn_fused_gru_cell_backward
"""
BANDWIDTH: Final = frozenset(f"aten.{name}" for name in _BANDWIDTH.split())

_LOOKUPS: Final = """
    embedding index_select index gather _embedding_bag _embedding_bag_forward_only _unsafe_index
"""
LOOKUPS: Final = frozenset(f"aten.{name}" for name in _LOOKUPS.split())
"""Read of their first tensor only what they give out."""


@dataclass(frozen=True)
class Kind:
    """What is known of an operator before it is called."""

    name: str
    free: bool
    mutates: bool
    written: tuple[int, ...]
    """Places of the arguments that it writes to."""
    formula: Callable[..., float] | None
    counted: bool
    lookup: bool


@functools.cache
def kind_of(func: Any) -> Kind:
    """Classify an operator (an OpOverload)."""
    packet = func.overloadpacket
    name = str(packet)
    schema = func._schema
    written = tuple(
        i
        for i, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    formula = _OWN.get(name) or flop_registry.get(packet)
    bandwidth = (
        name in BANDWIDTH
        or name.startswith("aten._foreach_")
        or torch.Tag.pointwise in func.tags
        or torch.Tag.reduction in func.tags
        or torch.Tag.view_copy in func.tags
        or name.removesuffix("_") in BANDWIDTH
    )
    view = not schema.is_mutable and any(result.alias_info is not None for result in schema.returns)
    free = view or name in FREE
    return Kind(
        name=name,
        free=free,
        mutates=schema.is_mutable,
        written=written,
        formula=formula,
        counted=formula is not None or bandwidth or free,
        lookup=name in LOOKUPS,
    )


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Tensors among arguments or outputs, in lists as well."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def flops_of(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """FLOPs of one call, a multiply-add counted as two; 0 where there is no formula."""
    if kind.formula is None:
        return 0.0
    return float(kind.formula(*args, **kwargs, out_val=out))


def moved_bytes(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    """Bytes read and written by one call."""
    given = [_bytes(tensor) for tensor in tensors_in((*args, *kwargs.values()))]
    if kind.mutates:
        written = sum(_bytes(t) for i in kind.written if i < len(args) for t in tensors_in((args[i],)))
    else:
        written = sum(_bytes(tensor) for tensor in tensors_in((out,)))
    if kind.lookup and given:
        given[0] = min(given[0], written)
    return float(sum(given) + written)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _mv(matrix: Tensor, *_: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001 - as the registry calls it
    return 2.0 * matrix.numel()


def _addmv(_: Any, matrix: Tensor, *__: Any, out_val: Any = None, **___: Any) -> float:  # noqa: ARG001
    return 2.0 * matrix.numel()


def _linear(x: Tensor, weight: Tensor, *_: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001
    return 2.0 * x.numel() * weight.shape[0]


def _baddbmm(_: Any, left: Tensor, right: Tensor, *__: Any, out_val: Any = None, **___: Any) -> float:  # noqa: ARG001
    return 2.0 * left.numel() * right.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001
    return float(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *_: Any,
    out_val: Any = None,  # noqa: ARG001
    **__: Any,
) -> float:
    return float(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _recurrent(x: Tensor, weights: list[Tensor], *_: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001
    positions = x.numel() // x.shape[-1]
    return 2.0 * positions * sum(weight.numel() for weight in weights)


def _recurrent_backward(*args: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001 - as the registry calls it
    return 2 * _recurrent(args[1], args[3])


def _outer(left: Tensor, right: Tensor, *_: Any, out_val: Any = None, **__: Any) -> float:  # noqa: ARG001
    return float(left.numel() * prod(right.shape))


_OWN: Final[dict[str, Callable[..., float]]] = {
    "aten.mv": _mv,
    "aten.dot": _mv,
    "aten.vdot": _mv,
    "aten.addmv": _addmv,
    "aten.addmv_": _addmv,
    "aten.ger": _outer,
    "aten.linear": _linear,
    "abi.recurrent": _recurrent,
    "abi.recurrent_backward": _recurrent_backward,
    "aten.addbmm": _baddbmm,
    "aten.baddbmm_": _baddbmm,
    "aten._scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
