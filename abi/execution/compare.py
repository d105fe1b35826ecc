"""Two plans of modules side by side: what they run, how, under which limits, at what cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from abi.execution.types import ExecutionPlan, RunCost
from abi.values import Value

Pairs = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class ExecutionChange(Value):
    """What differs between two plans; each pair is (before, after).

    Attributes:
        before: title of the first.
        after: of the second.
        same: whether they are one plan.
        subject: module, parameters, device, how many may be used and what is ranked by, where they differ.
        configuration: devices, parallelism, arithmetic, checkpointing, micro-batch, accumulation and workers, where they differ.
        limits: where they differ.
        job: global batch and steps, where they differ.
        predicted: cost of both.
    """

    before: str
    after: str
    same: bool
    subject: Pairs
    configuration: Pairs
    limits: Pairs
    job: Pairs
    predicted: tuple[RunCost, RunCost]


def compare(before: ExecutionPlan, after: ExecutionPlan, titles: tuple[str, str]) -> ExecutionChange:
    """What the second plan has otherwise than the first, of the same module or not."""
    one, other = _subject(before), _subject(after)
    return ExecutionChange(
        before=titles[0],
        after=titles[1],
        same=before.id == after.id,
        subject={name: (one[name], other[name]) for name in one if one[name] != other[name]},
        configuration=_differing(before.configuration, after.configuration),
        limits=_differing(before.limits, after.limits),
        job=_differing(before.job, after.job),
        predicted=(before.predicted, after.predicted),
    )


def _subject(plan: ExecutionPlan) -> dict[str, Any]:
    return {
        "module": plan.module,
        "parameters": plan.footprint.parameters,
        "device": plan.cluster.device.name,
        "may_use": plan.cluster.count,
        "objective": plan.objective,
    }


def _differing(before: Value, after: Value) -> Pairs:
    pairs = {f.name: (getattr(before, f.name), getattr(after, f.name)) for f in fields(before)}  # type: ignore[arg-type]  # values are dataclasses
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
