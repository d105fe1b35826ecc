"""Steps as CUDA graphs: the same losses, and what happens where a step cannot be one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from abi.families.network import Network
from abi.training.graph import Graphs
from abi.training.loop import train
from abi.types import Plan


def on_gpu(toy: Any, table: Any, **changes: Any) -> Plan:
    plan: Plan = toy.plan(table.problem, toy.config())
    run = replace(plan.execution, device="cuda", batch_rows=70, epochs=6, patience=9, steps=60, **changes)
    return replace(plan, execution=run)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Graphs]:
    """All graphs that a training makes."""
    found: list[Graphs] = []

    def remember(*given: Any) -> Graphs:
        found.append(Graphs(*given))
        return found[-1]

    monkeypatch.setattr("abi.training.step.Graphs", remember)
    return found


def test_a_processor_has_none(toy: Any, made: list[Graphs]) -> None:
    table = toy.table(rows=80)
    train(toy.plan(table.problem, toy.config()), table.train, table.validation, toy.config(), seed=0)
    assert made == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
class TestOnGpu:
    def losses(self, toy: Any, table: Any, plan: Plan) -> list[float]:
        fitted = train(plan, table.train, table.validation, toy.config(), seed=0)
        return [epoch.validation_loss for epoch in fitted.trained.history]

    @pytest.mark.parametrize("changes", [{}, {"micro_batch": 30}, {"precision": "bfloat16"}, {"average": 0.9}])
    def test_losses_are_those_of_plain_steps(self, toy: Any, made: list[Graphs], changes: dict[str, Any]) -> None:
        table = toy.table(rows=1000, numeric=6, categorical=3)
        plan = on_gpu(toy, table, **changes)
        replayed = self.losses(toy, table, plan)
        assert made[0].refused == ""
        assert 1 <= made[0].count <= 2  # parts of an epoch differ by a row
        made.clear()
        full = replace(plan, envelope=replace(plan.envelope, memory_bytes=1))
        plain = self.losses(toy, table, full)
        assert made[0].refused == "there is no memory for a graph"
        assert replayed == pytest.approx(plain, rel=2e-3)

    def test_dropout_draws_anew_at_each_replay(self) -> None:
        ones, kept = torch.ones(4096, device="cuda"), torch.zeros(4096, device="cuda")

        def work(index: torch.Tensor) -> None:
            kept.copy_(torch.nn.functional.dropout(ones, 0.5))
            kept.index_fill_(0, index, 7.0)

        graphs, index, seen = Graphs(None), torch.arange(64, device="cuda"), set()
        for i in range(8):
            graphs(index + i, work)
            seen.add(tuple(kept[128:].tolist()))
            assert kept[i : i + 64].tolist() == [7.0] * 64
        assert graphs.count == 1
        assert len(seen) == 8

    def test_a_step_that_waits_for_the_gpu_is_run_plainly(
        self, toy: Any, made: list[Graphs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Network.embed

        def embed(self: Network, cells: Any) -> Any:
            out = real(self, cells)
            return out * float(out.detach().sum() > -1e9)

        table = toy.table(rows=1000, numeric=3)
        plan = on_gpu(toy, table, dropout=0.2)
        expected = self.losses(toy, table, plan)
        monkeypatch.setattr(Network, "embed", embed)
        assert self.losses(toy, table, plan) == pytest.approx(expected, rel=5e-2)
        assert made[0].refused == ""
        assert made[1].refused != ""

    def test_weights_that_are_dropped_end_a_graph(self, toy: Any, made: list[Graphs]) -> None:
        table = toy.table(rows=1000, numeric=2, categorical=1)
        config = toy.config(training__epochs=8, training__block_width=32, training__blocks=2)
        attention = toy.attention(table.problem, frugal=True, pruned=True)
        plan = toy.plan(table.problem, config, attention, parameters=400)
        assert plan.capacity.pruning is not None
        plan = replace(plan, execution=replace(plan.execution, device="cuda", batch_rows=60))
        fitted = train(plan, table.train, table.validation, config, seed=0)
        assert made[0].refused == ""
        assert fitted.model.parameters <= plan.capacity.pruning.parameters

    def test_without_memory_for_a_graph_training_goes_on_without(
        self, toy: Any, made: list[Graphs], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Network.embed

        def embed(self: Network, cells: Any) -> Any:
            if torch.cuda.is_current_stream_capturing():
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return real(self, cells)

        table = toy.table(rows=1000, numeric=3)
        plan = on_gpu(toy, table, dropout=0.2)
        expected = self.losses(toy, table, plan)
        monkeypatch.setattr(Network, "embed", embed)
        assert self.losses(toy, table, plan) == pytest.approx(expected, rel=5e-2)
        assert made[1].refused.startswith("CUDA out of memory")
