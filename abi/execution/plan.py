"""How to run anyone's module: traced, searched, traced again, explained; with no attention and no data set."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from abi.devices.device import Cluster
from abi.devices.request import parse
from abi.errors import UsageError
from abi.execution.batch import Batch, BatchSpec, parse_batch
from abi.execution.costing import Question
from abi.execution.decide import decide
from abi.execution.demands import parse_limits
from abi.execution.learned import Learned
from abi.execution.loader import TYPICAL, WorkerRate
from abi.execution.module import Build, Loss, MakeOptimizer, default_loss, load_optimizer, shards
from abi.execution.search import expect_job
from abi.execution.step import Training
from abi.execution.tracer import Tracer, memory_matters
from abi.execution.types import GLOBAL_BATCH, STEPS, ExecutionPlan, Job, Limits, Objective
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
        return decide(
            asked,
            module=self.module,
            versions=versions,
            trace=self.tracer.peak,
            trace_evaluation=self.tracer.evaluation_peak,
        )


def plan_module(
    build: Build,
    batch: Batch | str,
    envelope: Limits | Mapping[str, str] | str = "",
    gpus: Cluster | str = "auto",
    *,
    global_batch: int = GLOBAL_BATCH,
    steps: int = STEPS,
    optimizer: str | MakeOptimizer = "adamw",
    loss: Loss = default_loss,
    objective: Objective = "throughput",
    module_name: str = "module",
    rate: WorkerRate = TYPICAL,
    learned: tuple[Learned, ...] = (),
) -> ExecutionPlan:
    """Decide how to train a module, and how to evaluate it: devices, precision, checkpointing, batches, workers.

    Args:
        build: Gives the module.
        batch: Its arguments at any number of rows B, as ``"x=f32[B,128]"``.
        envelope: What it may take, as ``"memory=20GiB,train_time=2h"`` or ``{"memory": "20GiB"}``.
        gpus: The devices that may be used, as ``"2xL4"``; they need not be here.
        global_batch: Rows of one optimizer step over all devices, which stays.
        steps: Optimizer steps.
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
    _expect_types(batch, envelope, gpus)
    if isinstance(optimizer, str):
        optimizer = load_optimizer(optimizer)
    if isinstance(batch, str):
        batch = parse_batch(batch)
    if not isinstance(envelope, Limits):
        texts = [envelope] if isinstance(envelope, str) else [f"{name}={text}" for name, text in envelope.items()]
        envelope = parse_limits([text for text in texts if text])
    posed = pose(
        build,
        batch,
        envelope,
        parse(gpus) if isinstance(gpus, str) else gpus,
        Job(global_batch=global_batch, steps=steps, row_bytes=_row_bytes(batch)),
        optimizer=optimizer,
        loss=loss,
        objective=objective,
        module_name=module_name,
        rate=rate,
        learned=learned,
    )
    return posed.plan()


def _expect_types(batch: object, envelope: object, gpus: object) -> None:
    """See that these are what can be read; libraries on the way would tell of their attributes.

    Raises:
        UsageError: one is something else.
    """
    for name, given, fits, example in (
        ("batch", batch, isinstance(batch, str) or hasattr(batch, "make"), "'x=f32[B,128]'"),
        ("envelope", envelope, isinstance(envelope, (str, Limits, Mapping)), "'memory=20GiB'"),
        ("gpus", gpus, isinstance(gpus, (str, Cluster)), "'1xL4'"),
    ):
        if not fits:
            msg = f"Expected {name} as {example}, got {type(given).__name__}: write it so."
            raise UsageError(msg)


def _row_bytes(batch: Batch) -> int:
    if isinstance(batch, BatchSpec):
        return batch.row_bytes
    return sum(tensor.nbytes for tensor in batch.make(1).values() if isinstance(tensor, Tensor))


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
    """Trace the module under each arithmetic of the device; arguments as `plan_module` has read them."""
    bare = Question(
        footprints=(), cluster=cluster, limits=limits, job=job, objective=objective, rate=rate, learned=learned
    )
    expect_job(bare)
    checkpoints, unit_bytes = look(build)
    tracer = Tracer(Training(build=build, batch=batch, loss=loss, optimizer=optimizer), cluster.device)
    question = replace(
        bare,
        footprints=tracer.footprints(checkpointing=False),
        unit_bytes=unit_bytes,
        checkpoints=checkpoints,
        sharded=shards(optimizer),
    )
    return Posed(question, module_name, tracer)
