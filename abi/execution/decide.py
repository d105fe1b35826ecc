"""From a question to a plan: the best configuration that fits, accepted only after it was traced at its real micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from abi.execution.costing import Question
from abi.execution.explain import alternatives, reasons
from abi.execution.nearest import infeasible
from abi.execution.search import Found, search
from abi.execution.sensitivity import sensitivities
from abi.execution.sharding import Sharing, line_bytes
from abi.execution.types import ExecutionPlan, Footprint

Trace = Callable[[Footprint, int], float]
"""Peak bytes of a footprint's step at a number of rows."""


def decide(question: Question, *, module: str, versions: dict[str, str], trace: Trace | None = None) -> ExecutionPlan:
    """The plan.

    Raises:
        UsageError: the question contradicts itself.
        PlanInfeasible: nothing fits; it names what would.
    """
    found = _accepted(question, trace)
    best = int(found.order[0])
    return ExecutionPlan(
        module=module,
        cluster=found.question.cluster,
        limits=found.question.limits,
        job=found.question.job,
        footprint=found.question.footprints[int(found.columns.footprint[best])],
        configuration=found.configuration(best),
        predicted=found.cost(best),
        reasons=reasons(found),
        sensitivities=sensitivities(found),
        alternatives=alternatives(found),
        versions=versions,
        objective=found.question.objective,
    )


def _accepted(question: Question, trace: Trace | None) -> Found:
    """Solve; where the winner's trace lies above its line, widen that footprint's margin to it and solve again."""
    seen: set[tuple[int, int]] = set()
    while True:
        found = search(question)
        if not len(found.order):
            raise infeasible(found)
        best = int(found.order[0])
        number, rows = int(found.columns.footprint[best]), int(found.columns.micro_batch[best])
        if trace is None or (number, rows) in seen:
            return found
        seen.add((number, rows))
        footprint = question.footprints[number]
        alone = Sharing(parallel="none", devices=1, unit_bytes=0)
        line = float(line_bytes(footprint, alone, np.array([float(rows)]), np.ones(1), upper=False)[0])
        above = trace(footprint, rows) / line - 1
        if above <= footprint.margin:
            return found
        wider = replace(footprint, margin=above)
        question = replace(
            question, footprints=(*question.footprints[:number], wider, *question.footprints[number + 1 :])
        )
