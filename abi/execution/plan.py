"""How to run anyone's module: traced, searched, traced again, explained; with no attention and no data set."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace

from abi.devices.device import Cluster
from abi.execution.batch import Batch
from abi.execution.costing import Question
from abi.execution.decide import decide
from abi.execution.learned import Learned
from abi.execution.loader import TYPICAL, WorkerRate
from abi.execution.module import Build, Loss, MakeOptimizer, default_loss
from abi.execution.search import expect_job
from abi.execution.step import Training
from abi.execution.tracer import Tracer, memory_matters
from abi.execution.types import ExecutionPlan, Job, Limits, Objective
from abi.execution.wrapping import look


@dataclass(frozen=True)
class Posed:
    """A module's question, and what is needed to answer it again in another envelope."""

    question: Question
    module: str
    tracer: Tracer

    def plan(self, question: Question | None = None) -> ExecutionPlan:
        """The answer, or that to a changed question.

        Raises:
            UsageError: the question contradicts itself.
            PlanInfeasible: nothing fits; it names what would.
        """
        asked = question or self.question
        if asked.checkpoints and memory_matters(asked):
            asked = replace(asked, footprints=(*asked.footprints, *self.tracer.footprints(checkpointing=True)))
        versions = {"torch": importlib.metadata.version("torch")}
        return decide(asked, module=self.module, versions=versions, trace=self.tracer.peak)


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
    learned: tuple[Learned, ...] = (),
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
        learned: What earlier runs taught about bounds (`abi.execution.learned`).

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
        learned=learned,
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
    learned: tuple[Learned, ...] = (),
) -> Posed:
    """Trace the module under each arithmetic of the device; arguments as `plan_module`."""
    bare = Question(
        footprints=(), cluster=cluster, limits=limits, job=job, objective=objective, rate=rate, learned=learned
    )
    expect_job(bare)
    checkpoints, unit_bytes = look(build)
    tracer = Tracer(Training(build=build, batch=batch, loss=loss, optimizer=optimizer), cluster.device)
    question = replace(
        bare, footprints=tracer.footprints(checkpointing=False), unit_bytes=unit_bytes, checkpoints=checkpoints
    )
    return Posed(question, module_name, tracer)
