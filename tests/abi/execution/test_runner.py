"""Two processes on the gloo backend learn what one does."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from abi.errors import UsageError
from abi.execution.batch import parse_batch
from abi.execution.plan import plan_module
from abi.execution.runner import Runner, running
from abi.execution.step import Training
from abi.execution.types import Configuration, ExecutionPlan

SCRIPT = Path(__file__).with_name("two_processes.py")
ALONE = {"devices": 1, "parallel": "none", "arithmetic": "float32", "checkpointing": False, "micro_batch": 24,
         "accumulation": 1, "workers": 0}  # fmt: skip


def run(devices: int, ways: list[dict[str, Any]], port: int) -> subprocess.CompletedProcess[str]:
    asked = [
        (way["optimizer"], way.get("module", "build"), {**ALONE, **{k: v for k, v in way.items() if k not in {"optimizer", "module"}}})
        for way in ways
    ]  # fmt: skip
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(devices))
    return subprocess.run(
        [*torchrun, "--master-port", str(port), str(SCRIPT), json.dumps(asked)],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def losses(devices: int, ways: list[dict[str, Any]], port: int) -> list[list[float]]:
    done = run(devices, ways, port)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_however_it_is_cut_the_loss_is_that_of_one_process(free_port: Any) -> None:
    optimizers = ("adamw", "sgd")
    whole, *parts = losses(
        1,
        [{"optimizer": o, **cut} for o in optimizers for cut in ({}, {"micro_batch": 8, "accumulation": 3})],
        free_port(),
    )
    alone = {"adamw": whole, "sgd": parts[1]}
    assert alone["adamw"] != alone["sgd"]
    two = {"devices": 2, "micro_batch": 4, "accumulation": 3}
    ways = [
        {**two, "parallel": "ddp"},
        {**two, "parallel": "ddp", "micro_batch": 12, "accumulation": 1},
        {**two, "parallel": "fsdp"},
        {**two, "parallel": "fsdp", "checkpointing": True},
    ]
    wanted = [{"optimizer": o, **way} for o in optimizers for way in ways]
    found = losses(2, wanted, free_port())
    for way, seen in zip(wanted, found, strict=True):
        assert seen == pytest.approx(alone[way["optimizer"]], rel=2e-5), way
    for optimizer, seen in zip(optimizers, (parts[0], parts[2]), strict=True):
        assert seen == pytest.approx(alone[optimizer], rel=2e-5)
    for seen in alone.values():
        assert seen[0] != pytest.approx(seen[-1], rel=1e-4)  # it learned something


def test_parameters_that_only_some_rows_or_none_use_are_trained_as_by_one_process(free_port: Any) -> None:
    """One layer nothing uses, another the first row of each step alone, which is the first process's."""
    way = {"optimizer": "sgd", "module": "partly"}
    (whole,) = losses(1, [way], free_port())
    two = {**way, "devices": 2, "parallel": "ddp"}
    cuts = [{"micro_batch": 12}, {"micro_batch": 4, "accumulation": 3}]
    for found in losses(2, [{**two, **cut} for cut in cuts], free_port()):
        assert found == pytest.approx(whole, rel=2e-5)


def test_parameters_that_a_later_step_leaves_out_are_a_sentence(free_port: Any) -> None:
    done = run(2, [{"optimizer": "sgd", "module": "late", "devices": 2, "parallel": "ddp", "micro_batch": 12}], free_port())  # fmt: skip
    assert done.returncode != 0
    assert "UsageError: Expected gradients of the same parameters in each step under DDP, got a micro-batch" in done.stderr  # fmt: skip


def tiny() -> nn.Module:
    return nn.Linear(2, 1)


def test_what_does_not_fit_the_configuration_is_said() -> None:
    training = Training(build=tiny, batch=parse_batch("input=f32[B,2]"))
    with (
        pytest.raises(UsageError, match="torchrun --nproc-per-node 2"),
        running(training, Configuration(**{**ALONE, "devices": 2, "parallel": "ddp"})),
    ):
        pass
    with running(training, Configuration(**ALONE)) as runner:
        with pytest.raises(UsageError, match="Expected 24 rows in each argument"):
            runner.step({"input": torch.zeros(5, 2)})
        assert runner.step({"input": torch.ones(24, 2)}) >= 0


def test_shards_are_refused_to_an_optimizer_of_whole_matrices(free_port: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": 1, "RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, str(value))
    training = Training(build=lambda: nn.Linear(4, 1), batch=parse_batch("x=f32[B,4]"), optimizer="adafactor")
    chosen = Configuration(**{**ALONE, "parallel": "fsdp"})
    with pytest.raises(UsageError, match="for FSDP, got Adafactor"), running(training, chosen):
        pass
    assert not torch.distributed.is_initialized()


def test_fsdp_keeps_shards_of_gradients_between_micro_batches(free_port: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory is what was planned: whole gradients would wait for the last micro-batch where they are not sent."""
    for name, value in {"WORLD_SIZE": 1, "RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, str(value))
    seen: list[bool] = []

    def loss(output: Any, arguments: dict[str, Any]) -> torch.Tensor:
        seen.append(all(p.grad is not None for group in runner.optimizer.param_groups for p in group["params"]))
        return output.square().mean()

    training = Training(build=tiny, batch=parse_batch("input=f32[B,2]"), loss=loss, optimizer="sgd")
    chosen = Configuration(**{**ALONE, "parallel": "fsdp", "micro_batch": 8, "accumulation": 3})
    with running(training, chosen) as runner:
        runner.step({"input": torch.ones(24, 2)})
    assert seen == [False, True, True]


class Placed(Exception):
    """It was said which device is this process's."""


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP shards onto the current device, which is the first one until it is said."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    place = mock.Mock(side_effect=Placed)
    monkeypatch.setattr(torch.cuda, "set_device", place)
    training = Training(build=tiny, batch=parse_batch("input=f32[B,2]"))
    chosen = Configuration(**{**ALONE, "devices": 2, "parallel": "fsdp", "micro_batch": 12})
    with pytest.raises(Placed), running(training, chosen, "cuda"):
        pass
    place.assert_called_once_with(torch.device("cuda", 1))


def wide() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
class TestOnGpu:
    ROWS = 32768
    """Whose activations take 2 GiB; the module with AdamW takes 0.3 GiB."""
    ROOM = 2**30

    def losses(self, configuration: Configuration | ExecutionPlan) -> tuple[list[float], Runner]:
        training = Training(build=wide, batch=parse_batch("input=f32[B,256]"))
        rows = torch.randn(self.ROWS, 256, generator=torch.Generator().manual_seed(1))
        with running(training, configuration, "cuda") as runner:
            return [runner.step({"input": rows}) for _ in range(4)], runner

    @pytest.fixture
    def limited(self) -> Iterator[None]:
        """This process may have a GiB."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(self.ROOM / torch.cuda.get_device_properties(0).total_memory)
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()

    @pytest.fixture
    def expected(self) -> list[float]:
        found, runner = self.losses(Configuration(**{**ALONE, "micro_batch": self.ROWS}))
        assert runner.revisions == []
        return found

    def test_memory_that_runs_out_is_a_smaller_micro_batch(self, expected: list[float], limited: None) -> None:
        found, runner = self.losses(Configuration(**{**ALONE, "micro_batch": self.ROWS}))
        assert found == pytest.approx(expected, rel=1e-4)
        micro = [r.new.micro_batch for r in runner.revisions]
        assert micro == [self.ROWS // 2 ** (i + 1) for i in range(len(micro))]
        assert micro
        assert all("CUDA out of memory" in r.reason for r in runner.revisions)

    def test_a_plan_is_solved_again_within_the_room_that_was_there(self, expected: list[float], limited: None) -> None:
        plan = plan_module(wide, "input=f32[B,256]", {"memory": "60GiB"}, "1xH200", global_batch=self.ROWS, steps=10)
        assert plan.configuration.micro_batch == self.ROWS
        found, runner = self.losses(plan)
        assert found == pytest.approx(expected, rel=5e-3)  # in tf32
        assert len(runner.revisions) <= 2
        assert "within" in runner.revisions[0].reason


def test_the_reducer_goes_before_its_group(monkeypatch: pytest.MonkeyPatch, free_port: Any) -> None:
    """Else it may be the last to hold the group, which then waits for threads that wait for the interpreter's lock."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, str(value))
    training = Training(build=tiny, batch=parse_batch("input=f32[B,2]"))
    with running(training, Configuration(**{**ALONE, "parallel": "ddp"})) as runner:
        runner.step({"input": torch.ones(24, 2)})
        assert runner.module.reducer is not None
    assert not torch.distributed.is_initialized()
    assert not hasattr(runner.module, "reducer")
    assert runner.module.state_dict()
