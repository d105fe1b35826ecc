"""Memory that runs out in training: the micro-batch shrinks, the step's rows stay, nothing that was kept is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.devices.request import described_cluster
from abi.errors import PlanInfeasible
from abi.execution.out_of_memory import is_out_of_memory
from abi.execution.search import enumerate_all
from abi.families.network import Network
from abi.outcomes import Revision
from abi.planning.again import question_again, running_in
from abi.planning.family import plan_family
from abi.planning.figures import machine_of
from abi.training import loop
from abi.training.loop import train
from abi.types import Envelope
from tests.abi.training.conftest import Kept


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes memory run out for more than so many training rows at a time, from that call on."""

    def set_up(most: int, *, after: int = 0, error: Exception | None = None) -> None:
        real, calls = Network.embed, [0]

        def embed(self: Network, cells: Any) -> Any:
            if self.training:
                calls[0] += 1
                if calls[0] > after and cells.rows > most:
                    raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return real(self, cells)

        monkeypatch.setattr(Network, "embed", embed)

    return set_up


def run(toy: Any, checkpoints: Kept | None = None, **changes: Any) -> Any:
    table, config = toy.table("binary", rows=320), toy.config(**{"training.checkpoint": "1us"})
    plan = toy.plan(table.problem, config)
    execution = replace(plan.execution, dropout=0.0, batch_rows=64, epochs=4, patience=9, steps=20, **changes)
    plan = replace(plan, execution=execution)
    return plan, train(plan, table.train, table.validation, config, seed=0, checkpoints=checkpoints).trained


def test_a_step_in_parts_is_the_same_step(toy: Any) -> None:
    """The gradients of equal parts add up to those of the whole, so the losses agree but for rounding."""
    _, whole = run(toy)
    _, parts = run(toy, micro_batch=16)
    assert len(parts.history) == len(whole.history)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=2e-3)
        assert one.train_loss == pytest.approx(other.train_loss, rel=2e-3)
    assert parts.artifact != whole.artifact


@pytest.mark.parametrize(
    "error",
    [
        None,
        MemoryError("no room"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_halves_the_parts_until_they_fit(toy: Any, scarce: Any, error: Exception | None) -> None:
    scarce(20, error=error)
    plan, trained = run(toy)
    assert [(r.micro_batch_before, r.micro_batch, r.epoch) for r in trained.revisions] == [(64, 32, 0), (32, 16, 0)]
    assert trained.plan == plan  # what was decided stays on record beside what was changed about it
    _, planned = run(toy, micro_batch=16)
    assert trained.artifact == planned.artifact


def test_it_goes_on_from_the_last_checkpoint(toy: Any, scarce: Any) -> None:
    _, undisturbed = run(toy)
    steps = 4  # of an epoch: 240 rows in steps of 64; two more are measured before
    scarce(40, after=2 + 2 * steps + 1)
    kept = Kept()
    _, trained = run(toy, kept)
    (revision,) = trained.revisions
    assert (revision.epoch, revision.micro_batch) == (2, 32)
    assert "out of memory" in revision.reason
    assert len(kept.all) >= 3
    assert [line.epoch for line in trained.history] == [1, 2, 3, 4]
    assert trained.history[:2] == undisturbed.history[:2] or [h.validation_loss for h in trained.history[:2]] == [
        h.validation_loss for h in undisturbed.history[:2]
    ]
    for one, other in zip(undisturbed.history[2:], trained.history[2:], strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=2e-3)


def test_one_row_that_does_not_fit_is_the_end(toy: Any, scarce: Any) -> None:
    scarce(0)
    with pytest.raises(PlanInfeasible, match="memory on cpu for a step of one row"):
        run(toy)


@pytest.fixture(scope="module")
def on_l4(toy: Any) -> Any:
    """A plan for a described L4, whose steps of 128 rows this processor does at once; its table and settings."""
    table = toy.table("binary", rows=320)
    config = toy.config(training__device="auto", training__precision="float32", training__checkpoint="1us")
    machine = machine_of(described_cluster("L4", 1, {}, "1xL4"), "float32", None)
    plan = plan_family(toy.attention(table.problem), Envelope(), config, machine, train_rows=240, validation_rows=80)
    execution = replace(
        plan.execution, device="cpu", dropout=0.0, batch_rows=128, micro_batch=128, epochs=2, patience=9, steps=4
    )
    return replace(plan, execution=execution), table, config


def test_a_plan_for_devices_is_traced_again_and_takes_the_largest_part_that_fits(
    on_l4: Any, scarce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was room for the bound of 16 rows and a little more: halves would have been tried three times."""
    plan, table, config = on_l4
    running = running_in(plan, 1, 128)
    assert running is not None
    question = question_again(plan, running, config.attention.kl)
    columns = enumerate_all(question)
    bounds = dict(zip(columns.micro_batch.tolist(), columns.memory_bound.tolist(), strict=True))
    assert bounds[16] < bounds[32] < bounds[128]
    room = int((bounds[16] + bounds[32]) / 2 - question.cluster.device.context_bytes)
    monkeypatch.setattr(loop, "room_bytes", lambda _: room)
    scarce(20)
    trained = train(plan, table.train, table.validation, config, seed=0).trained
    (revision,) = trained.revisions
    assert (revision.micro_batch_before, revision.micro_batch, revision.epoch) == (128, 16, 0)
    assert revision.reason.startswith("CUDA out of memory. Tried to allocate 2.00 GiB; one device, ")
    assert ", micro-batch 16 x 8 is the best of 5 within" in revision.reason
    assert trained.plan == plan
    again = replace(plan, execution=replace(plan.execution, micro_batch=16))
    assert train(again, table.train, table.validation, config, seed=0).trained.artifact == trained.artifact


def test_where_the_trace_knows_of_nothing_parts_are_halved(
    on_l4: Any, scarce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, table, config = on_l4
    monkeypatch.setattr(loop, "room_bytes", lambda _: 0)
    scarce(40)
    trained = train(plan, table.train, table.validation, config, seed=0).trained
    assert [(r.micro_batch_before, r.micro_batch) for r in trained.revisions] == [(128, 64), (64, 32)]
    assert trained.revisions[0].reason == "CUDA out of memory. Tried to allocate 2.00 GiB"


def test_how_a_plan_runs_now(on_l4: Any) -> None:
    plan, _, _ = on_l4
    part = running_in(plan, 1, 20)
    assert part is not None
    assert (part.micro_batch, part.accumulation, part.devices, part.parallel) == (32, 4, 1, "none")
    assert running_in(plan, 2, 20) is None  # it has one device
    assert running_in(replace(plan, execution_plan=None), 1, 20) is None


def test_records_of_before_are_read() -> None:
    old = {"epoch": 2, "micro_batch": 32, "micro_batch_before": 64, "reason": "CUDA out of memory"}
    assert Revision.from_json(old).to_json() == old


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(KeyError("x"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for the matmul primitive"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
