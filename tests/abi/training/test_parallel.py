"""Training in several processes: the losses are those of one, and a checkpoint goes on as if nothing had happened."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.problem import Task
from abi.training import loop
from abi.training.checkpoint import Progress
from abi.training.pace import LOOK_EVERY, SETTLED, Pace
from abi.training.parallel import Alone, Replica
from abi.training.watch import Unwatched
from abi.types import Execution
from tests.abi.training.conftest import Kept


class Notes:
    """Steps and epochs that a watcher was told of."""

    def __init__(self) -> None:
        self.steps, self.epochs = list[int](), list[int]()

    def step(self, done: int, total: int) -> None:
        self.steps.append(done)

    def epoch(self, line: Any, attention: Any, norms: dict[str, float]) -> None:
        assert attention.sum() == pytest.approx(1, abs=1e-5)
        assert norms["head"] > 0
        self.epochs.append(line.epoch)

    def revised(self, revision: Any) -> None:
        raise AssertionError(revision)


def _plan(toy: Any, table: Any, config: Any, parameters: int | None = None, **execution: Any) -> Any:
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    plan = toy.plan(table.problem, config, attention, parameters=parameters)
    return replace(plan, execution=replace(plan.execution, **execution))


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_two_processes_have_the_losses_of_one(toy: Any, task: Task) -> None:
    """Texts lose cells on the way or are single numbers, weights are averaged, and the last step has an odd number of rows."""
    table, config = toy.texts(task, rows=402, numeric=task == "binary"), toy.config(**{"training.checkpoint": "1us"})
    steps = {"batch_rows": 64, "epochs": 4, "steps": 20}
    limit = 200 if task == "multiclass" else None
    plan = _plan(toy, table, config, limit, dropout=0.0, term_dropout=0.0, average=0.9, weight_decay=0.01, **steps)
    assert any(f.start_entries > f.entries for f in plan.capacity.features) == (task == "multiclass")
    alone, notes = loop.train(plan, table.train, table.validation, config, seed=0).trained, Notes()
    both = loop.train(plan, table.train, table.validation, config, seed=0, watcher=notes, processes=2).trained
    assert alone.history[-1].validation_loss < alone.history[0].validation_loss - 0.01
    for one, other in zip(alone.history, both.history, strict=True):
        assert other.validation_loss == pytest.approx(one.validation_loss, abs=1e-5)
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-5)
    assert both.measured.parameters == alone.measured.parameters
    assert both.plan == plan
    assert notes.steps == list(range(1, 21))
    assert notes.epochs == [1, 2, 3, 4]


def test_resumed_it_ends_bit_for_bit_as_undisturbed(toy: Any) -> None:
    """Weights are pruned on the way, and dropout draws in each process what it would have drawn."""
    table, config = toy.table("binary", rows=320, numeric=4), toy.config(**{"training.checkpoint": "1us"})
    attention = toy.attention(table.problem, [0.9, 0.2, 0.2, 0.2, 0.2], 0.5, pruned=True)
    plan = toy.plan(table.problem, config, attention, parameters=2000)
    plan = replace(plan, execution=replace(plan.execution, dropout=0.3, batch_rows=64, epochs=6, patience=9, steps=24))
    assert plan.capacity.pruning is not None
    kept = Kept()
    whole = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=kept, processes=2).trained
    assert len(kept.all) == 5
    resumed = Kept(kept.all[1])
    rest = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=resumed, processes=2).trained
    assert len(resumed.all) == 3
    assert rest.artifact == whole.artifact


def test_each_process_takes_its_rows_weighted_by_their_share() -> None:
    index = torch.tensor([7, 3, 9, 1, 4])
    parts = [Replica(rank, 2).own(index) for rank in range(2)]
    assert [(part.tolist(), share) for part, share in parts] == [([7, 3, 9], 0.6), ([1, 4], 0.4)]
    few = [Replica(rank, 3).own(index[:2]) for rank in range(3)]
    assert [(part.tolist(), share) for part, share in few] == [([7], 0.5), ([3], 0.5), ([7], 0.0)]
    whole, share = Alone().own(index)
    assert whole is index
    assert share == 1


def test_dropout_differs_by_process_and_epoch_and_the_first_process_keeps_its_state() -> None:
    def draw(rank: int, epoch: int) -> float:
        torch.manual_seed(5)
        Replica(rank, 3).begin(5, epoch)
        return float(torch.rand(()))

    torch.manual_seed(5)
    first = float(torch.rand(()))
    assert draw(0, 0) == draw(0, 1) == first
    assert len({first, draw(1, 0), draw(2, 0), draw(1, 1), draw(2, 1)}) == 5
    assert draw(1, 1) == draw(1, 1)


def test_each_process_has_a_gpu_and_its_share_of_the_cores() -> None:
    execution = Execution(device="cuda", precision="float32", batch_rows=8, epochs=1, steps=1, threads=5)
    placed = Replica(1, 2).place(execution)
    assert (placed.device, placed.threads) == ("cuda:1", 2)
    assert Replica(1, 8).place(replace(execution, device="cpu")) == replace(execution, device="cpu", threads=1)
    assert Alone().place(execution) is execution


def test_all_processes_go_by_the_clock_of_the_first() -> None:
    """This process's own clock would let a million steps pass; the first one says that three still fit."""
    progress, asked = Progress(), list[int]()

    def first(fitting: int) -> int:
        asked.append(fitting)
        return 3

    pace = Pace(10**9, 1e6, progress, first)
    for _ in range(SETTLED):
        assert asked == []
        pace.step()
    assert asked[0] > 1000
    assert (pace.remaining, pace.cut, progress.end) == (3, True, SETTLED + 3)
    assert SETTLED % LOOK_EVERY == 0
    assert not math.isclose(progress.share, 1)


def test_as_many_processes_as_the_plan_has_devices(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, config, asked = toy.table(), toy.config(), list[tuple[int, str]]()
    plan = _plan(toy, table, config)

    def together(run: Any, *, count: int, device: str, **_: Any) -> Any:
        asked.append((count, device))
        return run(watcher=Unwatched(), checkpoints=None, group=Alone())

    monkeypatch.setattr(loop, "together", together)
    monkeypatch.setattr(loop, "device_count", lambda _: 3)
    loop.train(plan, table.train, table.validation, config, seed=0)
    loop.train(plan, table.train, table.validation, config, seed=0, processes=1)
    assert asked == [(3, "cpu")]
