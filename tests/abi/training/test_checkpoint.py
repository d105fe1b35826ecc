"""A training that was killed goes on as if it had not been."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from abi.training.checkpoint import Progress, pack, unpack
from abi.training.fitted import Fitted
from abi.training.loop import train
from abi.training.watch import Unwatched


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@dataclass
class Store:
    """Keeps the last checkpoint in memory."""

    data: bytes | None = None
    saves: list[bytes] = field(default_factory=list)

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data
        self.saves.append(data)

    def clear(self) -> None:
        self.data = None


@dataclass
class KillAt(Unwatched):
    """Kills the training in that step."""

    at: int

    def step(self, done: int, total: int) -> None:
        if done == self.at:
            raise Killed


def _train(toy: Any, table: Any, checkpoints: Store | None, watcher: Any = None, **execution: Any) -> Fitted:
    config = toy.config(training__checkpoint="1us")
    plan = toy.plan(table.problem, config)
    changed = {"epochs": 4, "batch_rows": 30, "dropout": 0.3, "patience": 99} | execution
    plan = replace(plan, execution=replace(plan.execution, **changed))
    return train(plan, table.train, table.validation, config, seed=3, watcher=watcher, checkpoints=checkpoints)


def _history(fitted: Fitted) -> list[tuple[float, float, float]]:
    return [(line.train_loss, line.validation_loss, line.metric) for line in fitted.trained.history]


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("kill_at", [7, 12, 23])
def test_the_weights_are_the_same_to_the_last_bit(toy: Any, kill_at: int, average: float) -> None:
    table = toy.table("multiclass")  # six steps an epoch
    whole = _train(toy, table, None, average=average)
    store = Store()
    with pytest.raises(Killed):
        _train(toy, table, store, KillAt(kill_at), average=average)
    assert store.data is not None
    resumed = _train(toy, table, store, average=average)
    assert resumed.trained.artifact == whole.trained.artifact
    assert _history(resumed) == _history(whole)
    assert resumed.trained.best_epoch == whole.trained.best_epoch


def test_killed_twice_and_killed_while_saving(toy: Any) -> None:
    class Failing(Store):
        def save(self, data: bytes) -> None:
            if len(self.saves) == 2:
                self.saves.append(b"")
                raise Killed
            super().save(data)

    table = toy.table("regression")
    whole, store = _train(toy, table, None), Failing()
    with pytest.raises(Killed):
        _train(toy, table, store, KillAt(8))
    with pytest.raises(Killed):
        _train(toy, table, store)
    assert _train(toy, table, store).trained.artifact == whole.trained.artifact


def test_checkpoints_do_not_change_the_training(toy: Any) -> None:
    table, store = toy.table("binary"), Store()
    assert _train(toy, table, store).trained.artifact == _train(toy, table, None).trained.artifact
    assert store.saves


def test_no_checkpoint_is_written_before_its_time(toy: Any) -> None:
    table, store = toy.table("binary"), Store()
    config = toy.config(training__checkpoint="1h")
    train(toy.plan(table.problem, config), table.train, table.validation, config, seed=0, checkpoints=store)
    assert store.saves == []


def test_a_killed_training_before_the_first_checkpoint_starts_again(toy: Any) -> None:
    table, store = toy.table("binary"), Store()
    with pytest.raises(Killed):
        _train(toy, table, store, KillAt(3))
    assert store.data is None
    assert _train(toy, table, store).trained.artifact == _train(toy, table, None).trained.artifact


def test_seconds_go_on_from_the_checkpoint(toy: Any) -> None:
    table, store = toy.table("binary"), Store()
    with pytest.raises(Killed):
        _train(toy, table, store, KillAt(20))
    resumed = _train(toy, table, store).trained
    assert resumed.measured.train_time_s >= sum(line.seconds for line in resumed.history[:3])
    assert np.isfinite(resumed.loss)


@pytest.mark.parametrize("saved_on", ["cuda:1", "cpu"])
def test_a_gpu_draws_on_as_it_would_have(saved_on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    states = {torch.device("cuda:1"): torch.arange(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({device: state}))
    network, shuffle = nn.Linear(2, 1), torch.Generator()
    optimizer = torch.optim.AdamW(network.parameters())
    monkeypatch.setattr("abi.training.checkpoint._device", lambda network: torch.device(saved_on))
    data = pack(network, None, optimizer, shuffle, Progress())
    drawn = torch.zeros(16, dtype=torch.uint8)
    monkeypatch.setattr("abi.training.checkpoint._device", lambda network: torch.device("cuda:1"))
    states[torch.device("cuda:1")] = drawn
    unpack(data, network, None, optimizer, shuffle)
    kept = torch.arange(16, dtype=torch.uint8) if saved_on == "cuda:1" else drawn  # one of before is read as well
    assert torch.equal(states[torch.device("cuda:1")], kept)
