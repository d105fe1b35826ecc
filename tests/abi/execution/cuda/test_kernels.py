from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from abi.execution.cuda.attention import backend
from abi.execution.cuda.kernels import cuda_kernels
from abi.families.dropout import dropout


class Names(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func.overloadpacket).removeprefix("aten."))
        return func(*args, **(kwargs or {}))


def called(run: Any, capability: float = 9.0) -> list[str]:
    with cuda_kernels(capability), FakeTensorMode(), Names() as names:
        run()
    return names.seen


def test_dropout_is_one_kernel_that_keeps_a_mask_of_bytes() -> None:
    seen = called(lambda: nn.functional.dropout(torch.ones(4, 4, requires_grad=True), 0.1).sum().backward())
    assert "native_dropout" in seen
    assert "native_dropout_backward" in seen
    assert "bernoulli_" not in seen


def test_the_projects_own_dropout_is_torchs_on_a_gpu() -> None:
    assert "native_dropout" in called(lambda: dropout(torch.ones(4, 4, requires_grad=True), 0.1))


def test_everything_is_as_before_when_it_ends() -> None:
    x = torch.ones(64, requires_grad=True)
    with cuda_kernels(9.0):
        pass
    assert "MulBackward" in str(nn.functional.dropout(x, 0.5).grad_fn)
    with torch.autocast("cpu", torch.bfloat16):
        low = nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2))
        assert nn.functional.layer_norm(low, (2,)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("run", "dtype"),
    [
        (lambda x: nn.functional.linear(x, torch.ones(4, 4)), torch.bfloat16),
        (lambda x: nn.functional.layer_norm(x.bfloat16(), (4,)), torch.float32),
        (lambda x: x.bfloat16().softmax(-1), torch.float32),
        (lambda x: x.bfloat16().pow(2), torch.float32),
        (lambda x: x.bfloat16().sum(), torch.float32),
        (lambda x: nn.functional.gelu(x.bfloat16()), torch.bfloat16),
        # its log softmax is asked for in the type of the logits
        (lambda x: nn.functional.cross_entropy(x.bfloat16(), torch.zeros(2, dtype=torch.int64), reduction="none"), torch.float32),
    ],
)  # fmt: skip
def test_autocast_has_cudas_lists(run: Any, dtype: torch.dtype) -> None:
    with cuda_kernels(9.0), FakeTensorMode(), torch.autocast("cpu", torch.bfloat16):
        assert run(torch.ones(2, 4)).dtype == dtype


def test_the_logits_of_cross_entropy_are_not_copied_to_float32() -> None:
    def run() -> None:
        logits = torch.ones(2, 4, dtype=torch.bfloat16, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64)).backward()

    assert "_log_softmax" in (seen := called(run))
    assert seen.index("_log_softmax") < (seen.index("_to_copy") if "_to_copy" in seen else len(seen))


def q(dtype: torch.dtype = torch.float32, size: int = 64) -> Tensor:
    return torch.empty(2, 4, 16, size, dtype=dtype, device="meta")


@pytest.mark.parametrize(
    ("dtype", "size", "masked", "capability", "expected"),
    [
        (torch.float32, 64, False, 9.0, "efficient"),
        (torch.float32, 30, False, 9.0, "math"),
        (torch.bfloat16, 64, False, 9.0, "cudnn"),
        (torch.bfloat16, 64, True, 9.0, "cudnn"),
        (torch.bfloat16, 256, False, 9.0, "flash"),
        (torch.bfloat16, 64, False, 8.0, "flash"),
        (torch.bfloat16, 64, True, 8.0, "efficient"),
        (torch.float16, 64, False, 7.5, "efficient"),
    ],
)
def test_which_kernel_attention_takes(
    dtype: torch.dtype, size: int, masked: bool, capability: float, expected: str
) -> None:
    mask = q(dtype, 16) if masked else None
    assert backend(q(dtype, size), q(dtype, size), mask, capability) == expected


def test_a_mask_that_is_trained_is_for_no_fused_kernel() -> None:
    mask = q(size=16).requires_grad_()
    assert backend(q(), q(), mask, 9.0) == "math"


def test_attention_is_taken_from_the_gpu_forward_and_backward() -> None:
    def run(*, low: bool, causal: bool = False, heads: int = 4, **more: Any) -> None:
        kind = torch.bfloat16 if low else torch.float32
        query = torch.ones(2, 4, 16, 64, dtype=kind, requires_grad=True)
        key = torch.ones(2, heads, 16, 64, dtype=kind)
        nn.functional.scaled_dot_product_attention(query, key, key, is_causal=causal, **more).sum().backward()

    assert "_scaled_dot_product_efficient_attention_backward" in called(lambda: run(low=False))
    assert "_scaled_dot_product_cudnn_attention_backward" in called(lambda: run(low=True, causal=True))
    assert "_scaled_dot_product_flash_attention_backward" in called(lambda: run(low=True), 8.0)
    assert "_scaled_dot_product_efficient_attention" in called(lambda: run(low=False, heads=2, enable_gqa=True))
    mask = {"attn_mask": torch.ones(16, 16, dtype=torch.bool)}
    assert "_scaled_dot_product_efficient_attention" in called(
        lambda: run(low=True, attn_mask=torch.ones(16, 16, dtype=torch.bool)), 8.0
    )
    assert mask


@pytest.mark.parametrize(("kind", "kept"), [(nn.LSTM, 11), (nn.GRU, 13)])
def test_recurrent_layers_are_one_operator_with_a_reserve(kind: type[nn.LSTM | nn.GRU], kept: int) -> None:
    reserved: list[int] = []

    def run() -> None:
        layer = kind(32, 64, 2, batch_first=True)
        out, _ = layer(torch.ones(48, 30, 32, requires_grad=True))
        assert out.shape == (48, 30, 64)
        function = out.grad_fn
        reserved.extend(t.numel() for t in function.saved_tensors if t.dtype == torch.uint8)
        out.sum().backward()
        assert layer.weight_ih_l0.grad.shape == layer.weight_ih_l0.shape

    seen = called(run)
    assert seen.count("abi.recurrent") == seen.count("abi.recurrent_backward") == 1
    assert reserved == [4 * kept * 48 * 30 * 64 + 256]  # what an H200 reserved


def test_a_recurrent_layer_that_is_not_trained_reserves_nothing() -> None:
    def run() -> None:
        layer = nn.LSTM(8, 8)
        with torch.no_grad():
            layer(torch.ones(5, 3, 8))

    assert "abi.recurrent" in called(run)
