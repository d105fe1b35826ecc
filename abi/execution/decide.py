"""From a question to a plan: the best configuration that fits, accepted only after it was traced at its real micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from abi.execution.costing import Question
from abi.execution.explain import alternatives, reasons
from abi.execution.nearest import infeasible
from abi.execution.search import Found, search
from abi.execution.sensitivity import sensitivities
from abi.execution.sharding import Sharing, line_bytes
from abi.execution.types import ExecutionPlan, Footprint


@dataclass(frozen=True)
class Peak:
    """Bytes at the peak of a step (0 where it was not traced), and where an allocator refused them, how many it needs."""

    bytes: float
    needed: float = 0.0


Trace = Callable[[Footprint, int, int], Peak]
"""Peak of a footprint's step at a number of rows, where a device has so many bytes to give out."""


def decide(question: Question, *, module: str, versions: dict[str, str], trace: Trace | None = None) -> ExecutionPlan:
    """The plan.

    Raises:
        UsageError: the question contradicts itself.
        PlanInfeasible: nothing fits; it names what would.
    """
    found, shift = _accepted(question, trace)
    best = int(found.order[0])
    cost = found.cost(best)
    return ExecutionPlan(
        module=module,
        cluster=found.question.cluster,
        limits=found.question.limits,
        job=found.question.job,
        footprint=found.question.footprints[int(found.columns.footprint[best])],
        configuration=found.configuration(best),
        predicted=replace(cost, memory_bytes=min(cost.memory_bytes + shift, cost.memory_bound)),
        reasons=reasons(found),
        sensitivities=sensitivities(found),
        alternatives=alternatives(found),
        versions=versions,
        objective=found.question.objective,
    )


def _accepted(question: Question, trace: Trace | None) -> tuple[Found, int]:
    """The search and shift that are accepted.

    Raises:
        PlanInfeasible: nothing fits; what it names was traced as well.
    """
    found, shift = _settled(question, trace)
    if not len(found.order):
        raise infeasible(found, lambda wider: len(_settled(wider, trace)[0].order) > 0)
    return found, shift


def _settled(question: Question, trace: Trace | None) -> tuple[Found, int]:
    """Solve; where the winner's trace lies above its line, widen that footprint's margin to it and solve again.

    A winner that a GPU's allocator would refuse, for all that it does not lie above its line, makes way as well.

    Returns:
        What was found, with an empty order where nothing fits, and by how many bytes the winner's trace lies above its line (below, where it is negative).
    """
    room = question.memory_limit - question.cluster.device.context_bytes - question.kept_bytes
    seen: set[tuple[int, int]] = set()
    while True:
        found = search(question)
        if not len(found.order):
            return found, 0
        best = int(found.order[0])
        number, rows = int(found.columns.footprint[best]), int(found.columns.micro_batch[best])
        if trace is None or (number, rows) in seen:
            return found, 0
        seen.add((number, rows))
        footprint = question.footprints[number]
        alone = Sharing(parallel="none", devices=1, unit_bytes=0)
        line = float(line_bytes(footprint, alone, np.array([float(rows)]), np.ones(1), upper=False)[0])
        waiting = footprint.gradient_bytes if found.columns.accumulation[best] > 1 else 0  # of earlier micro-batches
        peak = trace(footprint, rows, room - waiting)
        above = peak.bytes / line - 1
        if peak.needed:
            above = max(above, max(peak.needed, room - waiting + 1.0) / line - 1)
        if above <= footprint.margin:
            return found, round(peak.bytes - line) if peak.bytes else 0
        wider = replace(footprint, margin=above)
        question = replace(
            question, footprints=(*question.footprints[:number], wider, *question.footprints[number + 1 :])
        )
