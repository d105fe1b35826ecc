"""Memory that runs out in training: the micro-batch shrinks, the step's rows stay, nothing that was kept is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.errors import PlanInfeasible
from abi.families.network import Network
from abi.training.loop import train
from abi.training.out_of_memory import is_out_of_memory
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


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(KeyError("x"))
