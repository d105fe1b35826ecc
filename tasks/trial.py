"""A plan of a user's module, run for a few steps on this machine: predicted beside measured, and kept for later plans."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abi.errors import UsageError
from abi.units import show_bytes, show_count, show_energy, show_seconds
from tasks import progress
from tasks.stdout import stdout_console
from tasks.terminal import print_table

if TYPE_CHECKING:
    from abi.config import Config
    from abi.devices.device import Cluster
    from abi.execution.trial import Trial
    from abi.execution.types import ExecutionPlan
    from tasks.execution import Asked
    from tasks.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A trial, its ratios to the prediction, and how many runs of that module are known in that arithmetic here."""

    trial: Trial
    ratios: dict[str, float]
    runs: int

    def to_json(self) -> dict[str, Any]:
        """As `abi plan --measure --json` prints it."""
        return {"trial": self.trial.to_json(), "ratios": self.ratios, "runs": self.runs}


def expect_measurable(ws: Workspace, config: Config, asked: Asked) -> None:
    """See that the devices that a plan is asked for are here, before anything is traced.

    Raises:
        UsageError: they are not.
    """
    from abi.devices.request import expect_here
    from tasks.devices import cluster

    wanted = cluster(ws, config, asked.gpus)
    try:
        expect_here(_one(wanted))
    except UsageError:
        expect_here(wanted)  # which names as many as were asked for
        raise


def measure(ws: Workspace, asked: Asked, plan: ExecutionPlan) -> Measured:
    """Run a few steps of the plan and keep what they took.

    Raises:
        UsageError: the plan is for several devices, or the module does not run.
    """
    from abi.execution.batch import parse_batch
    from abi.execution.learned import residual
    from abi.execution.module import load, load_loss, load_optimizer
    from abi.execution.step import Training
    from abi.execution.trial import trial
    from tasks.residuals import keep_execution

    training = Training(
        build=load(asked.module),
        batch=parse_batch(asked.batch),
        loss=load_loss(asked.loss),
        optimizer=load_optimizer(asked.optimizer),
    )
    progress.say("measure   a few steps in a process of their own; other programs would disturb them")
    began = time.monotonic()
    found = trial(training, plan)
    taken = found.resources
    peak, step_s = taken.active_bytes or 0, taken.step_s or 0.0
    runs = keep_execution(ws, plan, peak_bytes=peak, step_s=step_s)
    progress.say(f"measure   {found.steps} steps, {time.monotonic() - began:.1f} s")
    return Measured(trial=found, ratios=residual(plan, peak_bytes=peak, step_s=step_s), runs=runs)


def show_measured(plan: ExecutionPlan, measured: Measured, *, no_color: bool = False) -> None:
    """Print predicted beside measured."""
    from abi.conformal import LEAST

    console = stdout_console(no_color=no_color)
    console.print()
    heads = ("", "predicted", "at most", "measured", "ratio")
    print_table(heads, _lines(plan, measured), no_color=no_color, numbers={1, 2, 3, 4})
    for said in measured.trial.resources.missing:
        console.print(f"Not measured: {said}.", markup=False)
    if "measured" not in plan.cluster.device.source:
        console.print("The device's figures are not measured yet: `abi calibrate` does it.", markup=False)
    kept = f"Kept: {measured.runs} run{'s' if measured.runs > 1 else ''} of {plan.module} on {plan.cluster.device.name} in {plan.configuration.arithmetic}"
    then = (
        "plans are held to what they took"
        if measured.runs >= LEAST
        else f"from {LEAST} on plans are held to what they took"
    )
    console.print(f"{kept}; {then}.", markup=False)


def _lines(plan: ExecutionPlan, measured: Measured) -> Iterator[tuple[str, str, str, str, str]]:
    cost, taken = plan.predicted, measured.trial.resources
    context = plan.cluster.device.context_bytes
    wider, ahead = cost.train_bound_s / cost.train_s, cost.compute_s + cost.communication_s
    if taken.active_bytes is not None:
        tensors = cost.memory_bytes - context
        yield "tensors", show_bytes(tensors), show_bytes(cost.memory_bound - context), show_bytes(taken.active_bytes), _ratio(taken.active_bytes, tensors)  # fmt: skip
    if taken.reserved_bytes is not None:
        yield "reserved on the device", "", "", show_bytes(taken.reserved_bytes), ""
    if taken.process_bytes is not None:
        yield "the process", "", "", show_bytes(taken.process_bytes), ""
    if taken.step_s is not None:
        yield "one step, median", show_seconds(ahead), show_seconds(ahead * wider) if wider > 1 else "", show_seconds(taken.step_s), _ratio(taken.step_s, ahead)  # fmt: skip
        yield "rows per second", show_count(plan.job.global_batch / ahead), "", show_count(plan.job.global_batch / taken.step_s), _ratio(ahead, taken.step_s)  # fmt: skip
    if taken.step_p95_s is not None:
        yield "one step, 95th percentile", "", "", show_seconds(taken.step_p95_s), ""
    yield from _evaluation(plan, measured.trial, wider)
    if measured.trial.energy_step_j is not None:
        energy = cost.energy_j / plan.job.steps
        got = measured.trial.energy_step_j
        yield (
            "energy of a step",
            show_energy(energy),
            show_energy(energy * wider) if wider > 1 else "",
            show_energy(got),
            _ratio(got, energy),
        )


def _evaluation(plan: ExecutionPlan, trial: Trial, wider: float) -> Iterator[tuple[str, str, str, str, str]]:
    """Its rows come from memory: a loader's part of the prediction is left out."""
    planned, taken = plan.evaluation, trial.evaluation
    if planned is None or taken is None:
        return
    context = plan.cluster.device.context_bytes
    if taken.active_bytes is not None:
        ahead = planned.memory_bytes - context
        most = show_bytes(planned.memory_bound - context)
        yield "tensors in evaluation", show_bytes(ahead), most, show_bytes(taken.active_bytes), _ratio(taken.active_bytes, ahead)  # fmt: skip
    if taken.step_s is not None:
        rows, ahead_s = planned.batch, planned.working_s
        most = show_seconds(ahead_s * wider) if wider > 1 else ""
        yield f"evaluating {rows:,} rows", show_seconds(ahead_s), most, show_seconds(taken.step_s), _ratio(taken.step_s, ahead_s)  # fmt: skip
        yield "rows evaluated per second", show_count(rows / ahead_s), "", show_count(rows / taken.step_s), _ratio(ahead_s, taken.step_s)  # fmt: skip


def _ratio(got: float | int, ahead: float | int) -> str:
    return f"{got / ahead:.2f}x" if ahead else ""


def _one(cluster: Cluster) -> Cluster:
    from dataclasses import replace

    return replace(cluster, count=1)
