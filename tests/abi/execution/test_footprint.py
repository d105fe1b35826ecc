"""Lines through traces, and what is read off them."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from abi.errors import UsageError
from abi.execution.allocator import allocated_peaks
from abi.execution.batch import parse_batch
from abi.execution.footprint import bound_bytes, footprint, peak_bytes, phase_bytes
from abi.execution.measured import measured_footprint
from abi.execution.module import load
from abi.execution.step import PHASES, Training
from abi.execution.trace import trace
from abi.execution.types import Footprint

X = parse_batch("x=f32[B,16]")


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))


class Pairs(nn.Module):
    """Memory grows with the square of the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x)
        return (h @ h.t()).softmax(1)


TRAINING = Training(build=perceptron, batch=X)


@pytest.fixture(scope="module")
def found() -> Footprint:
    return footprint(TRAINING)


@pytest.mark.parametrize("rows", [1, 3, 50, 300, 5000])
def test_the_lines_hold_at_any_number_of_rows(found, rows):
    """Where gradients are the peak, where activations are, and beyond what was traced."""
    for phase in trace(TRAINING, rows).phases:
        assert phase_bytes(found, phase.phase, rows) == pytest.approx(phase.peak_bytes, rel=1e-6)
        bound = next(b for b in found.phases if b.phase == phase.phase)
        assert bound.fixed_bytes + bound.row_bytes * rows >= phase.peak_bytes - 1e-3


def test_the_peak_moves_with_the_rows(found):
    backward = next(b for b in found.phases if b.phase == "backward")
    assert len(backward.lines) > 1
    # 256 * 256 gradients are the peak with few rows: all parameters, two moments, gradients and the batch's rows
    assert peak_bytes(found, 2) < 4.2 * found.parameter_bytes


def test_the_allocator_at_rows_that_were_not_traced(found):
    actual = allocated_peaks(TRAINING, 100)
    for phase in PHASES:
        assert phase_bytes(found, phase, 100) == pytest.approx(actual[phase], rel=0.01)
    step = max(actual[p] for p in PHASES[:3])
    assert step <= bound_bytes(found, 100) <= 1.05 * step


def test_operators_are_lines_too(found):
    forward = next(b for b in found.phases if b.phase == "forward")
    assert forward.matrix_flops_row == 2 * (16 * 256 + 256 * 256 + 256)
    assert forward.matrix_flops_fixed == 0
    assert 0 < forward.matrix_bytes_row < forward.moved_bytes_row
    # weights and biases are read once, however many rows there are; the mean and its division come on top
    assert forward.matrix_bytes_fixed == found.parameter_bytes


def test_gradients_of_earlier_micro_batches_come_on_top(found):
    assert peak_bytes(found, 500, accumulated=True) == peak_bytes(found, 500) + found.gradient_bytes


def test_the_same_inputs_give_the_same_bytes(found):
    assert footprint(TRAINING).canonical() == found.canonical()
    assert Footprint.from_json(found.to_json()) == found


def test_what_is_not_linear_is_traced_further_and_widens_the_bound():
    found = footprint(Training(build=Pairs, batch=X))
    assert found.traced_rows[-1] > 1000
    for rows in (20, 200, 2000):
        peak = max(p.peak_bytes for p in trace(Training(build=Pairs, batch=X), rows).phases[:3])
        assert bound_bytes(found, rows) >= peak


def test_what_cannot_be_traced_is_measured_and_says_so(odd):
    training = Training(build=load(f"{odd}:Reads"), batch=X)
    found = footprint(training)
    assert found.method == "measured"
    assert "DataDependentOutputException" in found.reason
    assert found.parameters == 16 * 32 + 32 + 32 + 1
    actual = allocated_peaks(training, 40)
    step = max(actual[p] for p in PHASES[:3])
    assert peak_bytes(found, 40) == pytest.approx(step, rel=0.05)
    assert bound_bytes(found, 40) >= step


@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("Dies", {}, "an end of its process with code 3"),
        ("Greedy", {"memory_limit_bytes": 2**30}, "can't allocate memory"),
        ("Sleeps", {"time_limit_s": 10.0}, "no answer in 10 s"),
        ("Wrong", {}, "mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_trial_that_fails_is_one_sentence(odd, name, limits, said):
    with pytest.raises(
        UsageError, match=r"^Expected a module that trains on 2 to 8 rows[^\n]*: run it by hand\.$"
    ) as caught:
        measured_footprint(Training(build=load(f"{odd}:{name}"), batch=X), reason="it reads values", **limits)
    assert said in str(caught.value)


def test_a_factory_that_no_other_process_can_import_is_named():
    class Local(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * float(x.sum()))

    training = Training(build=lambda: Local(16, 1), batch=X)
    with pytest.raises(UsageError, match="a factory that a fresh process can import"):
        footprint(training)
