"""A module that a user names, traced for the devices that a user names."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.errors import PlanInfeasible
from tasks import progress
from tasks.user_code import kept_from_stdout

if TYPE_CHECKING:
    from abi.config import Config
    from abi.execution.plan import Posed
    from abi.execution.types import ExecutionPlan
    from tasks.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user says of a module, in their own words; `budget` as memory=8GiB."""

    module: str
    batch: str
    global_batch: int
    steps: int
    optimizer: str
    loss: str | None
    gpus: str
    objective: str
    budget: tuple[str, ...]
    what_if: tuple[str, ...] = ()


def plans(ws: Workspace, config: Config, asked: Asked) -> Iterator[ExecutionPlan]:
    """The plan, then the one in the other envelope where one was asked for: the first stands where nothing fits that.

    Raises:
        UsageError: a part of what was asked cannot be read or contradicts another.
        PlanInfeasible: nothing fits; it names what would.
    """
    from abi.execution.what_if import changed

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would say what checkpointing turns off
    from abi.execution.apart import apart

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # where a user's own package is

    def answer() -> tuple[ExecutionPlan, float, ExecutionPlan | PlanInfeasible | None]:
        with _users_code():
            began = time.monotonic()
            posed = pose(ws, config, asked)
            traced_s = time.monotonic() - began
            first = posed.plan()
            try:
                other = posed.plan(changed(posed.question, asked.what_if)) if asked.what_if else None
            except PlanInfeasible as error:
                return first, traced_s, error
            return first, traced_s, other

    first, traced_s, other = apart(answer, asked.module)
    progress.say(f"trace     {asked.module}: {first.footprint.parameters:,} parameters, {traced_s:.1f} s")
    yield first
    if isinstance(other, PlanInfeasible):
        progress.say_nothing_fits(asked.what_if)
        raise other
    if other is not None:
        yield other


@contextlib.contextmanager
def _users_code() -> Iterator[None]:
    """What the user's module prints, and what libraries that it is made with warn of, is kept out of the answer."""
    with kept_from_stdout(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pose(ws: Workspace, config: Config, asked: Asked) -> Posed:
    """Read what was asked, the cheap parts first, then trace the module.

    Raises:
        UsageError: a part of it cannot be read or contradicts another.
    """
    from abi.execution.costing import Question
    from abi.execution.demands import parse_limits
    from abi.execution.goodput import expect_objective
    from abi.execution.search import expect_job
    from abi.execution.types import Job
    from abi.execution.what_if import changed
    from tasks.devices import cluster
    from tasks.residuals import learned

    limits = parse_limits(asked.budget)
    devices = cluster(ws, config, asked.gpus)
    expect_objective(asked.objective, devices.device)

    from abi.execution import plan
    from abi.execution.batch import parse_batch
    from abi.execution.module import load, load_loss, load_optimizer

    batch = parse_batch(asked.batch)
    job = Job(global_batch=asked.global_batch, steps=asked.steps, row_bytes=batch.row_bytes)
    for question in (
        bare := Question(footprints=(), cluster=devices, limits=limits, job=job),
        changed(bare, asked.what_if),
    ):
        expect_job(question)
    return plan.pose(
        load(asked.module),
        batch,
        limits,
        devices,
        job,
        optimizer=load_optimizer(asked.optimizer),
        loss=load_loss(asked.loss),
        objective=asked.objective,  # type: ignore[arg-type]  # expect_objective has seen to it
        module_name=asked.module,
        learned=learned(ws, asked.module, devices.device),
    )
