"""How to run anyone's module: traced, searched, traced again, explained; with no attention and no data set."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from abi.devices.device import Arithmetic, Cluster
from abi.execution.batch import Batch
from abi.execution.costing import Question
from abi.execution.decide import decide
from abi.execution.footprint import CUDA_ROUNDING, footprint
from abi.execution.loader import TYPICAL, WorkerRate
from abi.execution.module import Build, Loss, MakeOptimizer, default_loss
from abi.execution.search import expect_job
from abi.execution.step import Training
from abi.execution.trace import trace
from abi.execution.types import ExecutionPlan, Footprint, Job, Limits, Objective
from abi.execution.wrapping import look


@dataclass(frozen=True)
class Posed:
    """A module's question, and what is needed to answer it again in another envelope."""

    question: Question
    module: str
    peak_bytes: Callable[[Footprint, int], float]
    """Traces a footprint's step at a number of rows."""

    def plan(self, question: Question | None = None) -> ExecutionPlan:
        """The answer, or that to a changed question.

        Raises:
            UsageError: the question contradicts itself.
            PlanInfeasible: nothing fits; it names what would.
        """
        versions = {"torch": importlib.metadata.version("torch")}
        return decide(question or self.question, module=self.module, versions=versions, trace=self.peak_bytes)


def plan_module(
    build: Build,
    batch: Batch,
    limits: Limits,
    cluster: Cluster,
    job: Job,
    *,
    optimizer: str | MakeOptimizer = "adamw",
    loss: Loss = default_loss,
    objective: Objective = "throughput",
    module_name: str = "module",
    rate: WorkerRate = TYPICAL,
) -> ExecutionPlan:
    """Decide how to train a module: devices, parallelism, precision, checkpointing, micro-batch, workers.

    Args:
        build: Gives the module.
        batch: Gives its arguments at a number of rows (`abi.execution.batch.parse_batch`).
        limits: What it may take.
        cluster: The devices that may be used (`abi.devices.request.parse`).
        job: The global batch, which stays, and the steps.
        optimizer: sgd, adamw, adafactor, or a function of the parameters.
        loss: Of the module's output and its arguments.
        objective: What to rank by.
        module_name: As the plan calls it.
        rate: Of one loader worker.

    Raises:
        UsageError: the arguments contradict each other.
        PlanInfeasible: nothing fits; it names what would.
    """
    posed = pose(
        build,
        batch,
        limits,
        cluster,
        job,
        optimizer=optimizer,
        loss=loss,
        objective=objective,
        module_name=module_name,
        rate=rate,
    )
    return posed.plan()


def pose(
    build: Build,
    batch: Batch,
    limits: Limits,
    cluster: Cluster,
    job: Job,
    *,
    optimizer: str | MakeOptimizer,
    loss: Loss,
    objective: Objective,
    module_name: str,
    rate: WorkerRate = TYPICAL,
) -> Posed:
    """Trace the module under each arithmetic of the device, with and without checkpointing; arguments as `plan_module`."""
    bare = Question(footprints=(), cluster=cluster, limits=limits, job=job, objective=objective, rate=rate)
    expect_job(bare)
    checkpoints, unit_bytes = look(build)
    training = Training(build=build, batch=batch, loss=loss, optimizer=optimizer)
    round_to = CUDA_ROUNDING if cluster.device.kind == "gpu" else 1
    question = Question(
        footprints=_footprints(training, cluster, round_to, checkpoints=checkpoints),
        cluster=cluster,
        limits=limits,
        job=job,
        objective=objective,
        unit_bytes=unit_bytes,
        rate=rate,
    )

    def peak_bytes(of: Footprint, rows: int) -> float:
        if of.method == "measured":
            return 0.0  # running it at its real size is what a plan is made to avoid
        traced = trace(_as(training, of.arithmetic, checkpointing=of.checkpointing), rows, round_to=round_to)
        return float(max(phase.peak_bytes for phase in traced.phases))

    return Posed(question, module_name, peak_bytes)


def _as(training: Training, arithmetic: Arithmetic, *, checkpointing: bool) -> Training:
    return training.changed(arithmetic=arithmetic, checkpointing=checkpointing)


def _footprints(training: Training, cluster: Cluster, round_to: int, *, checkpoints: bool) -> tuple[Footprint, ...]:
    """One for each arithmetic that the device has; tf32 takes the tensors of float32."""
    found: list[Footprint] = []
    arithmetics = [name for name in get_args(Arithmetic) if name in cluster.device.rates]
    for checkpointing in (False, True) if checkpoints else (False,):
        for arithmetic in arithmetics:
            wanted = _as(training, arithmetic, checkpointing=checkpointing)
            like = next((f for f in found if (f.arithmetic, f.checkpointing) == ("float32", checkpointing)), None)
            if arithmetic == "tf32" and like is not None:
                found.append(replace(like, arithmetic=arithmetic))
            else:
                found.append(footprint(wanted, round_to=round_to))
    return tuple(found)
