"""Two plans of modules side by side: what they run, how, under which limits, at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from abi.devices.device import Cluster
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
        evaluation: its batch, memory and speed, where they differ.
        predicted: cost of both.
    """

    before: str
    after: str
    same: bool
    subject: Pairs
    configuration: Pairs
    limits: Pairs
    job: Pairs
    evaluation: Pairs
    predicted: tuple[RunCost, RunCost]


def compare(before: ExecutionPlan, after: ExecutionPlan, titles: tuple[str, str]) -> ExecutionChange:
    """What the second plan has otherwise than the first, of the same module or not."""
    return ExecutionChange(
        before=titles[0],
        after=titles[1],
        same=before.id == after.id,
        subject=differing(_subject(before), _subject(after)),
        configuration=differing(members(before.configuration), members(after.configuration)),
        limits=differing(members(before.limits), members(after.limits)),
        job=differing(members(before.job), members(after.job)),
        evaluation=differing(members(before.evaluation), members(after.evaluation)),
        predicted=(before.predicted, after.predicted),
    )


def members(value: Any) -> dict[str, Any]:
    """Field -> what it holds, of a dataclass; nothing of None."""
    return {} if value is None else {f.name: getattr(value, f.name) for f in fields(value)}


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Pairs:
    """(before, after) under each name where they are not the same; None where one side lacks it."""
    pairs = {name: (before.get(name), after.get(name)) for name in [*before, *after]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def on_cluster(cluster: Cluster) -> dict[str, Any]:
    """Which device, and how many of them may be used."""
    return {"device": cluster.device.name, "may_use": cluster.count}


def _subject(plan: ExecutionPlan) -> dict[str, Any]:
    own = {"module": plan.module, "parameters": plan.footprint.parameters, "objective": plan.objective}
    return {**own, **on_cluster(plan.cluster)}
