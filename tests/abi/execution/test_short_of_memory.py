"""A step that runs out of memory is done again with less; losses, weights, moments and buffers are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from abi.errors import PlanInfeasible, UsageError
from abi.execution.journal import Journal
from abi.execution.revision import Revision
from abi.execution.runner import running
from tests.abi.execution.short_of_memory import SAID, Short, batches, planned, ran, training

HERE = Path(__file__).parent
CASES = "tests.abi.execution.short_of_memory"
CASE: dict[str, Any] = {"rank": 0, "call": -1, "where": "forward", "micro_batch": 192, "planned": True}


def alike(found: dict[str, Any], whole: dict[str, Any]) -> None:
    assert found["losses"] == pytest.approx(whole["losses"], rel=2e-5)
    assert found["weights"] == pytest.approx(whole["weights"], rel=1e-8)
    assert found["sum"] == pytest.approx(whole["sum"], rel=1e-5, abs=1e-4)
    assert found["state"] == whole["state"]


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    found = ran(CASE, 1, 0)
    assert found["revisions"] == []
    assert found["losses"][0] > 1.2 * found["losses"][-1]
    assert found["state"] == [6]
    return found


@pytest.mark.parametrize(("call", "where"), [(0, "forward"), (1, "backward"), (6, "forward")])
def test_one_process_goes_on_as_if_nothing_had_happened(whole: dict[str, Any], call: int, where: str) -> None:
    found = ran({**CASE, "call": call, "where": where}, 1, 0)
    (revision,) = found["revisions"]
    assert (revision["old"]["micro_batch"], revision["new"]["micro_batch"]) == (192, 128)
    assert revision["reason"].startswith("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has none; one device")
    alike(found, whole)


def test_without_a_plan_the_micro_batch_is_halved(whole: dict[str, Any]) -> None:
    found = ran({**CASE, "call": 2, "planned": False}, 1, 0)
    (revision,) = found["revisions"]
    assert (revision["new"]["micro_batch"], revision["new"]["accumulation"]) == (96, 4)
    alike(found, whole)


class Narrow(Short):
    """No more than so many rows at a time, unless their activations are computed again."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        again = "forward" in self.blocks[0].__dict__
        if len(input) > (128 if again else 3) and self.training:
            raise torch.OutOfMemoryError(SAID)
        return super().forward(input)


def test_it_is_revised_until_it_fits_by_checkpointing_too(whole: dict[str, Any]) -> None:
    plan = planned(1, 384)
    slow = replace(
        plan.cluster.device, launch_s=1e-2
    )  # small parts wait for the host longer than computing again takes
    plan = replace(plan, cluster=replace(plan.cluster, device=slow))
    with running(training().changed(build=Narrow), plan) as runner:
        losses = [runner.step({"input": batch}) for batch in batches()]
        assert runner.configuration == runner.revisions[-1].new
        chain = [(r.old, r.new) for r in runner.revisions]
    assert [new for _, new in chain[:-1]] == [old for old, _ in chain[1:]]
    assert [(new.checkpointing, new.micro_batch) for _, new in chain] == [(True, 384), (True, 192), (True, 128)]
    assert {c.micro_batch * c.accumulation for pair in chain for c in pair} == {384}
    assert losses == pytest.approx(whole["losses"], rel=2e-5)


def test_what_cannot_be_mended_is_one_sentence() -> None:
    class Greedy(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise torch.OutOfMemoryError(SAID)

    given = training().changed(optimizer=lambda parameters: Greedy(parameters, lr=0.1))
    with (
        pytest.raises(
            PlanInfeasible,
            match=r"^Expected memory for one device, float32, micro-batch 192 x 2, got in the optimizer's step, .*: CUDA out of memory.*; go on from your last checkpoint as one device, float32, micro-batch 128 x 3\.$",
        ),
        running(given, planned(1, 192)) as runner,
    ):
        runner.step({"input": batches()[0]})


def test_other_errors_and_measured_runs_are_not_revised() -> None:
    class Wrong(Short):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return self.last(input)

    with running(training().changed(build=Wrong), planned(1, 192)) as runner, pytest.raises(RuntimeError, match="mat1"):
        runner.step({"input": batches()[0]})
    with (
        running(training(0), planned(1, 192), revises=False) as runner,
        pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"),
    ):
        runner.step({"input": batches()[0]})
    assert runner.revisions == []


def torchrun(port: int, *script: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port))
    return subprocess.run(
        [*command, "--max-restarts", str(restarts), "-m", *script],
        capture_output=True, text=True, timeout=240, check=False, env=environment, cwd=HERE.parents[2],
    )  # fmt: skip


def test_two_processes_agree_when_one_of_them_runs_out(whole: dict[str, Any], free_port: Any) -> None:
    """Calls count micro-batches of 96 rows, two in a step: from the third step on the last one's gradients go over the link."""
    cases = [
        {**CASE, "micro_batch": 96, **case}
        for case in (
            {},
            {"rank": 1, "call": 0},
            {"rank": 1, "call": 1, "where": "backward"},
            {"rank": 0, "call": 7},
            {"rank": 1, "call": 8, "where": "backward"},
            {"rank": 1, "call": 6, "planned": False},
        )
    ]
    done = torchrun(free_port(), CASES, json.dumps(cases))
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(done.stdout.strip().splitlines()[-1])
    for case, one, other in zip(cases, first, second, strict=True):
        assert one["losses"] == other["losses"]
        assert one["revisions"] == other["revisions"]
        assert one["weights"] == other["weights"]
        assert [r["new"]["parallel"] for r in one["revisions"]] == ["ddp"] * (case["call"] >= 0)
        assert one["losses"] == pytest.approx(whole["losses"], rel=2e-5), case
        assert one["weights"] == pytest.approx(whole["weights"], rel=1e-8), case
        assert one["state"] == whole["state"]


def test_where_processes_cannot_agree_all_end_with_a_sentence(free_port: Any) -> None:
    """The sixth micro-batch of the second process: the others' gradients are on their way already."""
    began = time.monotonic()
    case = {**CASE, "micro_batch": 96, "rank": 1, "call": 5, "where": "backward"}
    done = torchrun(free_port(), CASES, json.dumps([case]))
    assert done.returncode != 0
    assert time.monotonic() - began < 100
    assert (
        "Expected memory for 2 x DDP, float32, micro-batch 96 x 2, got in the backward pass that sends" in done.stdout
    )
    assert "go on from your last checkpoint as 2 x DDP, float32, micro-batch 64 x 3" in done.stdout


@pytest.mark.parametrize(("parallel", "call"), [("ddp", 5), ("fsdp", 4)])
def test_started_again_it_goes_on_from_the_last_checkpoint_with_less(
    whole: dict[str, Any], free_port: Any, tmp_path: Path, parallel: str, call: int
) -> None:
    """The third step of the second process, where it cannot be mended; torchrun starts both again."""
    done = torchrun(free_port(), "tests.abi.execution.starts_again", parallel, str(call), str(tmp_path), restarts=1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"micro-batch 64 x 3, as the next start does by {tmp_path / 'revisions.json'}." in done.stdout
    first, second = (json.loads((tmp_path / f"done-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["begun"] == 2
    (revision,) = first["revisions"]
    assert [revision[which]["micro_batch"] for which in ("old", "new")] == [96, 64]
    assert {revision[which]["parallel"] for which in ("old", "new")} == {parallel}
    assert first["losses"] == pytest.approx(whole["losses"][2:], rel=2e-5)


def test_a_journal_is_of_one_plan(tmp_path: Path) -> None:
    path = tmp_path / "revisions.json"
    with running(training(1), planned(1, 192), journal=path) as runner:
        runner.step({"input": batches()[0]})
    (made,) = runner.revisions
    with running(training(), planned(1, 192), journal=path) as runner:
        assert runner.configuration == made.new
        assert runner.revisions == [made]
    with running(training(), planned(1, 384), journal=path) as runner:
        assert runner.configuration.micro_batch == 384
        assert runner.revisions == []
    with running(training(0), planned(1, 384), journal=path) as runner:
        runner.step({"input": batches()[0]})
    assert json.loads(path.read_text())["plan"] == planned(1, 384).id
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    path.write_text("{}")
    with (
        pytest.raises(UsageError, match=r"^Expected revisions of a plan in .*revisions.json, got .*: remove the file"),
        running(training(), planned(1, 192), journal=path),
    ):
        pass


@pytest.mark.parametrize(("method", "rows"), [("traced", [384, 192, 128]), ("measured", [384, 192, 96])])
def test_a_start_that_checkpoints_by_its_journal_runs_out_again(method: str, rows: list[int], tmp_path: Path) -> None:
    """The plan has no trace with checkpointing, as it was chosen without; one is made, or the micro-batch halved."""
    plan, path = planned(1, 384), tmp_path / "revisions.json"
    plan = replace(plan, footprint=replace(plan.footprint, method=method))
    old = plan.configuration
    Journal(path, plan.id).add(Revision(old=old, new=replace(old, checkpointing=True), reason="by hand"))
    with running(training().changed(build=Narrow), plan, journal=path) as runner:
        runner.step({"input": batches()[0]})
    assert [(r.new.micro_batch, r.new.checkpointing) for r in runner.revisions] == [(size, True) for size in rows]


SCARCE = """
import resource, psutil, torch
from dataclasses import replace
from torch import nn
from abi.execution.batch import parse_batch
from abi.execution.runner import running
from abi.execution.step import Training
from abi.planning import plan_module

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 4096), nn.Tanh(), nn.Linear(4096, 64))

def losses(plan, room):
    with running(training, plan) as runner:
        found = [runner.step({"input": batch}) for batch in batches[:2]]
        if room is not None:
            used = psutil.Process().memory_info().data
            resource.setrlimit(resource.RLIMIT_DATA, (used + room, resource.RLIM_INFINITY))
        found += [runner.step({"input": batch}) for batch in batches[2:]]
        return found, runner.revisions, runner.configuration

training = Training(build=build, batch=parse_batch("input=f32[B,64]"))
plan = plan_module(build, "input=f32[B,64]", "", "cpu", global_batch=2048)
plan = replace(plan, configuration=replace(plan.configuration, micro_batch=2048, accumulation=1))
batches = torch.randn(4, 2048, 64)
whole, none, _ = losses(plan, None)
cut, revisions, configuration = losses(plan, 40 * 2**20)
assert not none and revisions, revisions
assert configuration.micro_batch < 2048
assert "allocate" in revisions[0].reason, revisions[0].reason
torch.testing.assert_close(torch.tensor(cut), torch.tensor(whole), rtol=1e-5, atol=0.0)
print([r.new.micro_batch for r in revisions])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's data are Linux's")
def test_a_processor_whose_memory_really_ends(tmp_path: Path) -> None:
    """Two hidden tensors of 2,048 rows are 64 MiB, their gradient 32 more; 40 are left.

    glibc gives freed memory back at once, where it would keep up to 64 MiB of it for what comes.
    """
    script = tmp_path / "scarce.py"
    script.write_text(SCARCE)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(2**17),
        "MALLOC_TRIM_THRESHOLD_": str(2**17),
        "PYTHONPATH": os.pathsep.join(["", *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]


OURS = """
import torch
from tests.abi.execution.short_of_memory import SAID

class Once(torch.nn.Linear):
    failed = False

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and type(x) is torch.Tensor and x.shape[0] > 100 and not Once.failed:
            Once.failed = True
            raise torch.OutOfMemoryError(SAID)
        return super().forward(x)

def build():
    return torch.nn.Sequential(Once(128, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))

def batches():
    return [{"x": torch.randn(256, 128)} for _ in range(3)]
"""


def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(# train.py\n.*?)```", (HERE.parents[2] / "README.md").read_text(), re.DOTALL)
    (tmp_path / "mypackage.py").write_text(OURS)
    (tmp_path / "train.py").write_text(script.replace('"2xL4"', '"cpu"').replace('"cuda"', '"cpu"'))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    done = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(
        r"CUDA out of memory.*; one device, .* was to take .*, and one device, .* within .*\n", done.stdout
    )
