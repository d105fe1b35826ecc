from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from abi.execution.allocator import allocated_peaks
from abi.execution.batch import parse_batch
from abi.execution.footprint import bound_bytes, footprint, peak_bytes
from abi.execution.recurrent import above, followed
from abi.execution.step import PHASES, Training
from abi.execution.target import Target
from abi.execution.types import PhaseBound


class Reader(nn.Module):
    def __init__(self, inputs: int, hidden: int, layers: int, both: bool) -> None:
        super().__init__()
        self.body = nn.LSTM(inputs, hidden, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(hidden * (1 + both), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


def _has_bfloat16() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))
    except RuntimeError as error:
        if "primitive descriptor" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("sizes", "rows"),
    [((8, 16, 1, True), 2), ((8, 16, 3, True), 256), ((256, 16, 1, False), 256), ((32, 64, 2, False), 64)],
)
def test_a_processors_own_kernels_stay_within_the_bound(sizes, rows, arithmetic):
    if arithmetic == "bfloat16" and not _has_bfloat16():
        pytest.skip("oneDNN has no bfloat16 LSTM for this processor")
    batch = parse_batch(f"x=f32[B,4,{sizes[0]}]")
    training = Training(build=partial(Reader, *sizes), batch=batch, arithmetic=arithmetic)
    found = footprint(training, target=Target(kind="cpu"))
    peaks = allocated_peaks(training, rows)
    step = max(peaks[phase] for phase in PHASES[:3])
    assert found.recurrent
    assert 1.2 * peak_bytes(found, rows) < step <= bound_bytes(found, rows)


def test_a_gpu_and_other_modules_have_no_such_margin():
    training = Training(build=partial(Reader, 8, 16, 1, False), batch=parse_batch("x=f32[B,4,8]"))
    assert not footprint(training, target=Target(kind="gpu")).recurrent
    plain = footprint(
        Training(build=partial(nn.Linear, 8, 2), batch=parse_batch("x=f32[B,8]")), target=Target(kind="cpu")
    )
    assert not plain.recurrent


def test_positions_are_counted_by_hand():
    module = Reader(16, 16, 1, False)
    with followed(module) as found:
        module(parse_batch("x=f32[B,4,16]").make(10)["x"])
    # 8 floats for each of 16 units, and 8 for the wider of both, padded to 32, at 4 positions a row; 2 x 64 x 16 weights and 2 x 64 biases
    assert found.taken(10) == (3 * 4 * (2 * 64 * 16 + 2 * 64) + 2**16, 4 * 4 * 16 * 32)
    assert not module.body._forward_pre_hooks


def test_the_share_is_the_larger_of_both_ends():
    phase = PhaseBound(
        phase="forward", fixed_bytes=100.0, row_bytes=10.0, matrix_flops_fixed=0.0, matrix_flops_row=0.0,
        moved_bytes_fixed=0.0, moved_bytes_row=0.0, launches=1.0, lines=((100.0, 1.0), (50.0, 10.0)),
    )  # fmt: skip
    assert above((20.0, 15.0), (phase,)) == 1.5
    assert above((200.0, 15.0), (phase,)) == 2.0
    assert above((0.0, 0.0), (phase,)) == 0.0
