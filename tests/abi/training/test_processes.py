"""Processes that train together end together, whatever happens to one of them. All of them are real."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from abi.errors import PlanInfeasible, ProcessLost, WorkspaceError
from abi.training import loop
from abi.training.processes import GRACE_S, together
from abi.training.watch import Unwatched
from tests.abi.training.conftest import Kept

HERE = Path(__file__).parent
SOON_S = GRACE_S + 5.0


@pytest.fixture(name="faults")
def _faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of faults, importable in a child; afterwards no child is left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module("faults")
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert [child for child in left if "resource_tracker" not in " ".join(child.cmdline())] == []


class Clock(Unwatched):
    """When the first process was heard of last."""

    heard = float("-inf")

    def step(self, done: int, total: int) -> None:
        self.heard = time.monotonic()


def _run(run: Any, watcher: Unwatched | None = None) -> Any:
    return together(run, count=2, device="cpu", watcher=watcher or Unwatched(), checkpoints=None)


@pytest.mark.parametrize("fault", ["killed", "killed_unnoticed"])
def test_a_process_that_is_killed_ends_the_others_with_one_sentence(faults: Any, fault: str) -> None:
    clock = Clock()
    with pytest.raises(
        ProcessLost, match=r"got process 2 of them killed by SIGKILL.*: see whether .* memory"
    ) as caught:
        _run(getattr(faults, fault), clock)
    assert time.monotonic() - clock.heard < SOON_S
    assert ("(the last that it said)" in str(caught.value)) == (fault == "killed")


def test_a_process_that_fails_is_named_with_what_it_said_not_the_one_that_missed_it(faults: Any) -> None:
    with pytest.raises(ProcessLost, match=r"process 2 of them ended by RuntimeError \(mat1 and mat2") as caught:
        _run(faults.broken)
    assert "in broken" in str(caught.value.__cause__)  # its traceback


def test_memory_that_runs_out_in_one_process_halves_the_parts_of_all(
    faults: Any, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process trains on 32 of a step's 64 rows, which fit no more after the first epoch of four steps."""

    def scarce(run: Any, **given: Any) -> Any:
        return together(functools.partial(faults.scarce, run, 1, 20, 4), **given)

    table, config = toy.table("binary", rows=320), toy.config(**{"training.checkpoint": "1us"})
    plan = toy.plan(table.problem, config)
    plan = replace(plan, execution=replace(plan.execution, dropout=0.0, batch_rows=64, epochs=2, steps=8))
    alone = loop.train(plan, table.train, table.validation, config, seed=0).trained
    monkeypatch.setattr(loop, "together", scarce)
    kept = Kept()
    trained = loop.train(plan, table.train, table.validation, config, seed=0, checkpoints=kept, processes=2).trained
    (revision,) = trained.revisions
    assert (revision.micro_batch_before, revision.micro_batch, revision.epoch) == (32, 16, 1)
    assert "out of memory" in revision.reason
    assert trained.plan == plan
    assert [line.epoch for line in trained.history] == [1, 2]
    for one, other in zip(alone.history, trained.history, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-5)
    assert len(kept.all) == 1


def test_an_error_of_the_user_arrives_as_it_is(faults: Any) -> None:
    with pytest.raises(PlanInfeasible, match="Expected more"):
        _run(faults.refused)


def test_a_script_that_would_start_itself_again_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(
        "from abi.training.processes import together\n"
        "together(print, count=2, device='cpu', watcher=None, checkpoints=None)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])}
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "ended with code 1 before it began: in a script of your own, train under `if __name__" in done.stderr


def test_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").symlink_to("/dev/full")  # whose every write fails so
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **_: nullcontext(str(tmp_path)))
    with pytest.raises(
        WorkspaceError, match=r"room for a copy of the rows in .*, got No space left on device: .*TMPDIR"
    ):
        _run(print)


@pytest.mark.parametrize("how", ["Ctrl-C", "killed"])
def test_no_process_outlives_the_one_that_was_asked(how: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(HERE / "faults.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # its children are in its group, as in a terminal's
    ) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        try:
            assert asked.stdout.readline() == b"there\n"
            children = [
                c for c in psutil.Process(asked.pid).children() if "resource_tracker" not in " ".join(c.cmdline())
            ]
            assert len(children) == 2
            if how == "Ctrl-C":
                os.killpg(asked.pid, signal.SIGINT)
            else:
                asked.kill()
            _, alive = psutil.wait_procs(children, timeout=30)
            assert alive == []
            asked.wait(30)
            said = asked.stderr.read().decode()
            assert said.count("KeyboardInterrupt") == (how == "Ctrl-C")  # of the one that was asked, and of no other
        finally:
            asked.kill()
