"""Traces under fake tensors against numbers worked out by hand and against the allocator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abi.errors import Untraceable, UsageError
from abi.execution.allocator import allocated_peaks
from abi.execution.batch import parse_batch
from abi.execution.footprint import footprint
from abi.execution.module import load
from abi.execution.step import PHASES, Training, plain_kernels
from abi.execution.target import Target
from abi.execution.trace import record, trace

X = parse_batch("input=f32[B,8]")


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.LSTM(8, 32, 2, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])


class Sorts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.sort(1).values)


def blocks() -> nn.Module:
    return nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.LayerNorm(64)) for _ in range(6)])


def test_a_perceptron_by_hand():
    # 8*16 + 16 + 16 + 1 = 161 parameters of 4 bytes; AdamW keeps two moments, and a step count per tensor
    recorded, sizes = record(Training(build=perceptron, batch=X), (10,))
    assert sizes == {
        "parameters": 161,
        "parameter_bytes": 644,
        "gradient_bytes": 644,
        "optimizer_bytes": 2 * 644 + 4 * 4,
        "recurrent_bytes": 0,
        "recurrent_row_bytes": 0,
    }
    held = 644 + 2 * 644 + 16 + 10 * 8 * 4  # with the batch
    # forward: hidden before ReLU and after (10 x 16 each), the output and its square (10 each); ReLU keeps its result alone,
    # so that the most is: before, after, which is freed once its view is gone; then output, square, mean
    assert recorded[0]["forward"].peak_bytes == held + 2 * 640
    assert recorded[0]["optimizer"].peak_bytes == held + 644 + 4  # the loss is still there
    # evaluation, while the gradients are there: hidden before and after ReLU; the loss is gone
    assert recorded[0]["evaluate"].peak_bytes == held + 644 + 2 * 640


def test_flops_of_a_perceptron_by_hand():
    trace_ = trace(Training(build=perceptron, batch=X), 10)
    flops = {p.phase: sum(o.flops for o in p.operators) for p in trace_.phases}
    assert flops["forward"] == flops["evaluate"] == 2 * 10 * (8 * 16 + 16 * 1)
    # backward: both weights' gradients, and the hidden layer's alone (the input needs none)
    assert flops["backward"] == 2 * 10 * (8 * 16 + 16 * 1) + 2 * 10 * 16 * 1
    forward = {o.name: o for o in trace_.phases[0].operators}
    assert forward["aten.addmm"].calls == 2
    assert forward["aten.addmm"].matrix
    # bias, input, weight and output of both layers
    assert forward["aten.addmm"].bytes == 4 * ((16 + 80 + 128 + 160) + (1 + 160 + 16 + 10))
    assert forward["aten.relu"].bytes == 4 * 2 * 160
    assert all(o.counted for p in trace_.phases for o in p.operators)


def test_an_lstm_is_within_one_percent_of_the_allocator():
    training = Training(build=Recurrent, batch=parse_batch("x=f32[B,12,8]"))
    recorded, _ = record(training, (24,))
    with plain_kernels():
        actual = allocated_peaks(training, 24)
    for phase in PHASES[:3]:
        assert recorded[0][phase].peak_bytes == pytest.approx(actual[phase], rel=0.01)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adafactor"])
def test_every_optimizer_is_within_one_percent_of_the_allocator(optimizer):
    training = Training(build=blocks, batch=parse_batch("x=f32[B,64]"), optimizer=optimizer)
    recorded, _ = record(training, (32,))
    actual = allocated_peaks(training, 32)
    for phase in PHASES:
        assert recorded[0][phase].peak_bytes == pytest.approx(actual[phase], rel=0.01)


def test_checkpointing_lowers_the_peak_of_forward_and_backward_and_costs_flops():
    plain = Training(build=blocks, batch=parse_batch("x=f32[B,64]"))
    before, after = trace(plain, 256), trace(plain.changed(checkpointing=True), 256)
    for phase in (0, 1):
        assert after.phases[phase].peak_bytes < 0.8 * before.phases[phase].peak_bytes
    flops = [sum(o.flops for o in t.phases[1].operators) for t in (before, after)]
    assert flops[1] - flops[0] == pytest.approx(6 * 2 * 256 * 64 * 64)  # each block's product once more


def test_bfloat16_halves_what_matrix_products_keep():
    training = Training(build=blocks, batch=parse_batch("x=f32[B,64]"))
    full, half = trace(training, 4096), trace(training.changed(arithmetic="bfloat16"), 4096)
    assert half.phases[0].peak_bytes < 0.75 * full.phases[0].peak_bytes


def test_cuda_rounds_each_storage_up():
    training = Training(build=perceptron, batch=X)
    exact, rounded = trace(training, 10), trace(training, 10, target=Target(kind="gpu"))
    # 4 parameters, 8 moments and 4 counts; the batch, and the hidden layer twice
    small = 512 * (4 + 8 + 4) + 512 + 2 * 1024
    assert rounded.phases[0].peak_bytes >= small > exact.phases[0].peak_bytes
    assert rounded.phases[0].peak_bytes % 512 == 0


def test_an_operator_without_a_formula_is_listed():
    uncounted = {o.name for p in trace(Training(build=Sorts, batch=X), 4).phases for o in p.operators if not o.counted}
    assert uncounted == {"aten.sort"}


def test_a_value_that_is_read_cannot_be_traced(odd):
    with pytest.raises(Untraceable, match=r"depends on shapes alone, got DataDependentOutputException"):
        trace(Training(build=load(f"{odd}:Reads"), batch=parse_batch("x=f32[B,16]")), 4)


def test_what_has_no_blocks_cannot_be_checkpointed():
    with pytest.raises(UsageError, match="repeated blocks to checkpoint, got Sequential"):
        trace(Training(build=perceptron, batch=X, checkpointing=True), 4)


def test_torch_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    enabled = torch.backends.mkldnn.enabled
    trace(Training(build=perceptron, batch=X), 4)
    assert torch.equal(torch.rand(2), expected)
    assert torch.backends.mkldnn.enabled == enabled


@pytest.mark.parametrize(
    ("build", "batch", "said"),
    [
        ("perceptron", "input=f32[B,7]", "same reduction dim"),
        ("perceptron", "input=i64[B,8]<3", "matrix products of one type are expected, not of float32 and int64"),
        ("perceptron", "x=f32[B,8],y=f32[B]", "takes 2 positional arguments but 3 were given"),
        ("Recurrent", "x=f32[B,3,7]", "Expected 8, got 7"),
        ("convolution", "x=f32[B,1,9,9]", "to have 3 channels"),
    ],
)
def test_a_batch_that_does_not_fit_is_told_and_not_run(build, batch, said):
    known = {"perceptron": perceptron, "Recurrent": Recurrent, "convolution": lambda: nn.Conv2d(3, 4, 3)}
    with pytest.raises(UsageError, match=f"Expected a batch that fits the module, got .*{said}"):
        footprint(Training(build=known[build], batch=parse_batch(batch)))
