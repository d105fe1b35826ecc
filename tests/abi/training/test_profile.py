"""Where memory and time of a step go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.families.artifact import build
from abi.families.network import Network
from abi.families.preparation import prepare
from abi.resources import StepProfile
from abi.training.loop import train
from abi.training.memory import bytes_of, peak_bytes
from abi.training.objective import training_target
from abi.training.profile import profiled
from abi.types import Execution

ROWS = 150


class Case:
    """A network of two blocks with its data, and its profile."""

    def __init__(self, toy: Any, table: Any, **execution: Any) -> None:
        fitted = toy.fitted(table, toy.config(training__members=4, training__block_width=32, training__blocks=2))
        blueprint = fitted.model.blueprint
        self.network: Network = build(blueprint)
        _, fitting = prepare(blueprint.schema, blueprint.capacity, table.train, fitted.trained.plan.attention)
        self.target = training_target(table.train, blueprint.schema, blueprint.preparation)
        self.train, self.validation = self.network.encode(table.train, fitting), self.network.encode(table.validation)
        plan = fitted.trained.plan
        self.execution: Execution = replace(plan.execution, batch_rows=ROWS, average=0.0, **execution)
        self.capacity = plan.capacity

    def profile(self) -> StepProfile:
        found = profiled(*self.given)
        assert found is not None
        return found

    @property
    def given(self) -> Any:
        return self.network, self.train, self.target, self.validation, self.execution, "binary"


@pytest.fixture(scope="module")
def case(toy: Any) -> Case:
    return Case(toy, toy.table(rows=400, numeric=3, categorical=2))


@pytest.fixture(scope="module")
def profile(case: Case) -> StepProfile:
    return case.profile()


def test_what_is_kept_between_steps_is_found_whole(case: Case, profile: StepProfile) -> None:
    parameters = list(case.network.parameters())
    weights = 4 * sum(p.numel() for p in parameters)
    held = next(m for m in profile.memory if m.stage == "optimizer").held
    assert held["gradients"] == held["copies"] == weights
    assert held["optimizer state"] == 2 * weights + 4 * len(parameters)  # two moments, and a count of steps each
    assert held["weights"] == weights + sum(b.numel() * b.element_size() for b in case.network.buffers())
    assert held["data"] >= bytes_of(case.train) + bytes_of(case.validation) + 8 * case.train.rows
    assert "gradients" not in next(m for m in profile.memory if m.stage == "forward").held


def test_matrix_products_are_counted_in_their_part(case: Case, profile: StepProfile) -> None:
    c = case.capacity
    width, flops = sum(f.width for f in c.features), {(w.stage, w.part): w.flops for w in profile.work}
    middle = 2 * ROWS * c.members * (c.block_width * width + (c.blocks - 1) * c.block_width**2)
    assert flops["forward", "middle"] == middle
    assert flops["backward", "middle"] == 2 * middle
    assert flops["forward", "output"] == 2 * ROWS * c.members * c.block_width
    assert flops["backward", "output"] == 2 * flops["forward", "output"]
    assert flops["forward", "feature extraction"] == flops["optimizer", None] == 0
    assert profile.uncounted == ()


def test_its_peak_is_that_of_the_plain_trace(case: Case, profile: StepProfile) -> None:
    whole = peak_bytes(*case.given)
    assert max(m.peak_bytes for m in profile.memory) == pytest.approx(whole, rel=0.02)


def test_a_micro_batch_takes_less_and_a_step_has_several(case: Case, profile: StepProfile) -> None:
    cut = Case.__new__(Case)
    cut.__dict__ |= case.__dict__ | {"execution": replace(case.execution, micro_batch=40)}
    small = cut.profile()
    assert (small.rows, small.parts, profile.rows, profile.parts) == (40, 4, ROWS, 1)
    backward = {p.rows: next(m for m in p.memory if m.stage == "backward") for p in (small, profile)}
    assert backward[40].held["middle"] < backward[ROWS].held["middle"] / 2
    piece = next(w for w in small.work if (w.stage, w.part) == ("forward", "middle"))
    assert small.seconds["forward", "middle"] == pytest.approx(4 * piece.seconds)
    assert ("evaluate", "middle") not in small.seconds


def test_texts_are_traced_as_well(toy: Any) -> None:
    found = Case(toy, toy.texts(rows=300, numeric=1)).profile()
    assert next(w for w in found.work if (w.stage, w.part) == ("forward", "feature extraction")).bytes > 0
    assert all(w.seconds > 0 for w in found.work)


def test_the_training_is_the_same_with_it(toy: Any) -> None:
    table = toy.table()
    plain = toy.fitted(table).trained
    args = (plain.plan, table.train, table.validation, toy.config())
    again = train(*args, seed=plain.seed, profile=True).trained
    assert again.artifact == plain.artifact
    assert plain.profile is None
    assert again.profile is not None
    assert type(again).from_json(again.to_json()) == again
    assert plain.resources is not None
    assert plain.resources.active_bytes == plain.measured.memory_bytes


def test_nothing_that_is_given_is_touched(case: Case) -> None:
    before = {name: tensor.clone() for name, tensor in case.network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    case.profile()
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in case.network.state_dict().items())
    assert all(p.grad is None for p in case.network.parameters())


def test_without_room_for_a_second_network_there_is_none(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        msg = "DefaultCPUAllocator: can't allocate memory"
        raise RuntimeError(msg)

    monkeypatch.setattr("abi.training.profile.copy.deepcopy", full)
    assert profiled(*case.given) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_on_a_gpu_the_allocator_and_the_trace_agree(toy: Any) -> None:
    table = toy.table(rows=20000, numeric=6)
    fitted = toy.fitted(table, toy.config(training__members=16, training__block_width=256))
    run = replace(fitted.trained.plan.execution, device="cuda", batch_rows=4096, epochs=8)
    plan = replace(fitted.trained.plan, execution=run)
    trained = train(plan, table.train, table.validation, toy.config(), seed=0, profile=True).trained
    taken, profile = trained.resources, trained.profile
    assert taken is not None
    assert profile is not None
    peak = max(m.peak_bytes for m in profile.memory)
    assert taken.active_bytes == trained.measured.memory_bytes
    # cuBLAS takes a workspace of some MiB that no trace sees
    assert 0.9 * peak < taken.active_bytes < 1.1 * peak + 64 * 2**20  # type: ignore[operator]
    assert taken.reserved_bytes >= taken.active_bytes  # type: ignore[operator]
    assert 0 < taken.step_s <= taken.step_p95_s  # type: ignore[operator]
    assert taken.energy_j is not None or taken.missing
    assert all(w.seconds > 0 for w in profile.work)
