"""Formulas against what an H200 took (132 multiprocessors), read off its allocator call by call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from abi.execution.cuda.workspace import cuda_workspace
from abi.execution.target import Target

H200 = Target(kind="gpu", capability=9.0, multiprocessors=132)


def taken(name: str, args: tuple[Any, ...], out: Any) -> tuple[int, int]:
    return cuda_workspace(name, args, out, H200)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@pytest.mark.parametrize(
    ("shape", "bytes_"),
    [
        ((131072, 384), 138412544),
        ((8192, 768), 50332160),
        ((4096, 768), 25166336),
        ((4096, 2304), 75497984),
        ((4096, 4800), 137626112),
        ((4096, 4096), 134218240),
        ((512, 2048), 0),
        ((64, 768), 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_over_rows(shape: tuple[int, int], bytes_: int, dtype: torch.dtype) -> None:
    assert taken("aten.sum", (meta(*shape, dtype=dtype),), meta(1, shape[1])) == (bytes_, bytes_)


def test_sums_along_a_row_need_none() -> None:
    assert taken("aten.sum", (meta(64, 128, 512),), meta(64, 128, 1)) == (0, 0)


@pytest.mark.parametrize(
    ("indices", "rows", "width", "bytes_"),
    [(8192, 30522, 768, 28082688), (8192, 32128, 512, 18855424), (4096, 50257, 768, 14040576), (131072, 1000000, 64, 44103680)],
)  # fmt: skip
def test_the_gradient_of_a_table(indices: int, rows: int, width: int, bytes_: int) -> None:
    expected, _ = taken("aten.embedding_dense_backward", (None, meta(indices)), meta(rows, width))
    assert expected == pytest.approx(bytes_, rel=0.02)


def test_few_indices_are_not_sorted() -> None:
    assert taken("aten.embedding_dense_backward", (None, meta(3072)), meta(5000, 128)) == (0, 0)


def test_attention_backward() -> None:
    q, low = meta(64, 12, 128, 64), meta(64, 12, 128, 64, dtype=torch.bfloat16)
    name = "aten._scaled_dot_product_efficient_attention_backward"
    assert taken(name, (q, q, q, q), None)[0] == 25952256
    expected, _ = taken("aten._scaled_dot_product_cudnn_attention_backward", (low, low, low, low), None)
    assert expected == pytest.approx(25559552, abs=512)


def test_kernels_of_rows_copy_what_does_not_lie_row_by_row() -> None:
    x = meta(8, 512, 1500).transpose(1, 2)
    assert taken("aten.native_layer_norm", (x, [512]), None) == (4 * 8 * 512 * 1500,) * 2
    assert taken("aten.native_layer_norm", (x.contiguous(), [512]), None) == (0, 0)


@pytest.mark.parametrize(("channels", "side", "bytes_"), [(64, 56, 232783872), (256, 14, 84934656), (512, 7, 75497472)])
def test_three_by_three_convolutions_in_float32(channels: int, side: int, bytes_: int) -> None:
    x, weight = meta(64, channels, side, side), meta(channels, channels, 3, 3)
    expected, most = taken("aten.convolution_backward", (x, x, weight), None)
    assert expected == pytest.approx(bytes_, rel=0.01)
    assert most > expected


def test_an_operator_without_a_formula_takes_none() -> None:
    assert taken("aten.relu", (meta(4),), meta(4)) == (0, 0)
