"""From a question to a plan: the best configuration that fits, accepted only after it was traced at its real micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from abi.execution.costing import EVALUATE, Question
from abi.execution.evaluation import Passes, beside, told
from abi.execution.explain import alternatives, reasons
from abi.execution.nearest import infeasible
from abi.execution.search import Found, search
from abi.execution.sensitivity import sensitivities
from abi.execution.sharding import Sharing, line_bytes
from abi.execution.types import ExecutionPlan, Footprint, PhaseName


@dataclass(frozen=True)
class Peak:
    """Bytes at the peak of a step (0 where it was not traced), and where an allocator refused them, how many it needs."""

    bytes: float
    needed: float = 0.0


Trace = Callable[[Footprint, int, int], Peak]
"""Peak of a footprint's step at a number of rows, where a device has so many bytes to give out."""
TraceEvaluation = Callable[[Footprint, int, int, int], Peak]
"""The same of an evaluation of a number of rows, then those of the step before it."""


@dataclass(frozen=True)
class Traces:
    """What a winner is held to; nothing where it is None."""

    step: Trace | None
    evaluation: TraceEvaluation | None


def decide(
    question: Question,
    *,
    module: str,
    versions: dict[str, str],
    trace: Trace | None = None,
    trace_evaluation: TraceEvaluation | None = None,
) -> ExecutionPlan:
    """The plan.

    Raises:
        UsageError: the question contradicts itself.
        PlanInfeasible: nothing fits; it names what would.
    """
    settled = _accepted(question, Traces(trace, trace_evaluation))
    found, passes, best = settled.found, settled.passes, int(settled.found.order[0])
    cost = found.cost(best)
    return ExecutionPlan(
        module=module,
        cluster=found.question.cluster,
        limits=found.question.limits,
        job=found.question.job,
        footprint=found.question.footprints[int(found.columns.footprint[best])],
        configuration=found.configuration(best),
        predicted=replace(cost, memory_bytes=min(cost.memory_bytes + settled.shift, cost.memory_bound)),
        reasons=reasons(found, "" if passes is None else told(found, passes)),
        sensitivities=sensitivities(found),
        alternatives=alternatives(found),
        versions=versions,
        objective=found.question.objective,
        evaluation=None if passes is None else passes.chosen(settled.evaluation_shift),
    )


@dataclass(frozen=True)
class _Settled:
    """What was found, with an empty order where nothing fits, and how evaluation runs beside the winner.

    Shifts are the bytes by which the winner's traces lie above its lines; below, where they are negative.
    """

    found: Found
    shift: int = 0
    passes: Passes | None = None
    evaluation_shift: int = 0


def _accepted(question: Question, traces: Traces) -> _Settled:
    """What is accepted.

    Raises:
        PlanInfeasible: nothing fits; what it names was traced as well.
    """
    settled = _settled(question, traces)
    if not len(settled.found.order):
        raise infeasible(settled.found, lambda wider: len(_settled(wider, traces).found.order) > 0)
    return settled


def _settled(question: Question, traces: Traces) -> _Settled:
    """Solve; where the winner's trace lies above its line, widen that footprint's margin to it and solve again.

    A winner that a GPU's allocator would refuse, for all that it does not lie above its line, makes way as well, and so does
    one beside which not one row can be evaluated.
    """
    whole = question.memory_limit - question.cluster.device.context_bytes - question.kept_bytes
    seen: dict[tuple[int, int, int], Peak] = {}
    while True:
        found = search(question)
        if not len(found.order):
            return _Settled(found)
        best = int(found.order[0])
        number, rows = int(found.columns.footprint[best]), int(found.columns.micro_batch[best])
        footprint, chosen = question.footprints[number], found.configuration(best)
        buckets = footprint.gradient_bytes if chosen.parallel == "ddp" else 0
        waiting = footprint.gradient_bytes if chosen.accumulation > 1 else 0  # of earlier micro-batches
        room, left = whole - buckets, whole - buckets - waiting
        shift, above = 0, 0.0
        if traces.step is not None:
            key = number, rows, left
            if key not in seen:
                seen[key] = traces.step(footprint, rows, left)
            shift, above = _beside(seen[key], _line(footprint, rows, question.step_phases), left)
        if above <= footprint.margin:
            passes, more, above = _evaluated(found, room, traces.evaluation) if question.apart else (None, 0, 0.0)
            if not above:
                return _Settled(found, shift, passes, more)
            wider = replace(footprint, evaluation_margin=above)
        else:
            wider = replace(footprint, margin=above)
        question = replace(
            question, footprints=(*question.footprints[:number], wider, *question.footprints[number + 1 :])
        )


def _evaluated(found: Found, room: int, trace: TraceEvaluation | None) -> tuple[Passes, int, float]:
    """How evaluation runs beside the winner: of the batches that do, the largest not above the best whose trace fits.

    Returns:
        The choice, by how many bytes its trace lies above its line, and by which share where not even one row's trace fits.
    """
    best = int(found.order[0])
    passes, footprint = beside(found, best), found.question.footprints[int(found.columns.footprint[best])]
    margin = max(footprint.margin, footprint.evaluation_margin or 0.0)
    step_rows = int(found.columns.micro_batch[best])
    while True:
        batch = passes.batch
        peak = Peak(0.0) if trace is None else trace(footprint, batch, step_rows, room)
        shift, above = _beside(peak, _line(footprint, batch, (EVALUATE,)), room)
        if above <= margin:
            return passes, shift, 0.0
        if batch == 1:
            return passes, shift, above
        passes = passes.below(batch)


def _line(footprint: Footprint, rows: int, phases: tuple[PhaseName, ...]) -> float:
    """Bytes that the lines say of phases on one device."""
    alone = Sharing(parallel="none", devices=1, unit_bytes=0)
    return float(line_bytes(footprint, alone, np.array([float(rows)]), np.ones(1), upper=False, phases=phases)[0])


def _beside(peak: Peak, line: float, room: int) -> tuple[int, float]:
    """By how many bytes a trace lies above its line, and by which share of it; by what it needs where it was refused."""
    above = peak.bytes / line - 1
    if peak.needed:
        above = max(above, max(peak.needed, room + 1.0) / line - 1)
    return round(peak.bytes - line) if peak.bytes else 0, above
