"""After memory ran out: the same question solved again for what takes clearly less and does the same global batch.

Devices and arithmetic stay, so that a training goes on as it was; what may change is the micro-batch with its
accumulation, activation checkpointing (which is taken up, not given up), and FSDP in place of DDP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Int

from abi.errors import PlanInfeasible
from abi.execution.columns import PARALLELS, Columns
from abi.execution.costing import Question
from abi.execution.demands import demands
from abi.execution.out_of_memory import Shortage
from abi.execution.plainer import chosen
from abi.execution.search import Found, divisors, enumerate_all, ranked
from abi.execution.types import Configuration, ExecutionPlan, Footprint
from abi.execution.wording import broken, describe
from abi.units import show_bytes
from abi.values import Value

LESS: Final = 0.95
"""Where a prediction was too low: what comes next takes at most this share of the tensors."""


Rows = Bool[np.ndarray, " configurations"]


@dataclass(frozen=True, kw_only=True)
class Revision(Value):
    """What was run when memory ran out, what is run in its place, and why."""

    old: Configuration
    new: Configuration
    reason: str


def question_of(plan: ExecutionPlan, footprints: tuple[Footprint, ...] = (), *, sharded: bool = False) -> Question:
    """The question that a plan answers, of its own footprint and those that are given besides."""
    return Question(
        footprints=(plan.footprint, *footprints),
        cluster=plan.cluster,
        limits=plan.limits,
        job=plan.job,
        objective=plan.objective,
        checkpoints=any(f.checkpointing for f in footprints),
        sharded=sharded,
    )


def revised(question: Question, failed: Configuration, short: Shortage) -> Revision:
    """The best configuration, by the question's objective, whose bound lies clearly below that of the one that ran out.

    Memory decides alone: where no other limit can be kept as well, the reason says which is passed.

    Args:
        question: what the configuration was chosen from; has a footprint of its arithmetic and checkpointing.
        failed: what ran out.
        short: what the allocator said, and how much there was.

    Raises:
        PlanInfeasible: nothing takes less, or nothing that takes less fits what was there.
    """
    columns = enumerate_all(question)
    bound = float(columns.memory_bound[_row(question, columns, failed)])
    limit = _limit(question, bound, short.room_bytes)
    found = Found(question, columns, _order(question, columns, failed, limit))
    old = describe(failed)
    if not len(found.order):
        msg = f"Expected a configuration of the same global batch within {show_bytes(limit)} after {old} ran out of memory ({short.said}), got none: free memory on the device, plan for more or larger devices, or lower the global batch."
        raise PlanInfeasible(msg)
    best = int(found.order[0])
    new = found.configuration(best)
    passed = broken(replace(found, question=_roomier(question)), best)
    count = len(found.order)
    among = "the only one" if count == 1 else f"the best of {count}"
    reason = f"{short.said}; {old} was to take at most {show_bytes(bound)}, and {describe(new)} is {among} within {show_bytes(limit)}{f', though it {passed}' if passed else ''}"
    return Revision(old=failed, new=new, reason=reason)


def halved(failed: Configuration, short: Shortage) -> Revision:
    """Where nothing was traced: the largest micro-batch of at most half the rows that makes the same global batch.

    Raises:
        PlanInfeasible: one row at a time is too much.
    """
    rows = failed.micro_batch * failed.accumulation
    fewer = [d for d in divisors(rows) if d <= failed.micro_batch // 2]
    if not fewer:
        msg = f"Expected memory for {describe(failed)}, got: {short.said}. Free memory on the device, or plan for a larger one."
        raise PlanInfeasible(msg)
    new = replace(failed, micro_batch=fewer[-1], accumulation=rows // fewer[-1])
    reason = f"{short.said}; nothing was traced, so {describe(failed)} makes way for {describe(new)}"
    return Revision(old=failed, new=new, reason=reason)


def _row(question: Question, columns: Columns, of: Configuration) -> int:
    """Where a configuration stands; how many workers it was given changes no memory of a device."""
    same = _same(question, columns, of) & (columns.micro_batch == of.micro_batch)
    same &= columns.parallel == PARALLELS.index(of.parallel)
    rows = np.flatnonzero(same & (_checkpointing(question, columns) == of.checkpointing))
    assert len(rows), of
    return int(rows[0])


def _same(question: Question, columns: Columns, of: Configuration) -> Rows:
    """Rows of the same devices and arithmetic."""
    arithmetic = np.array([f.arithmetic == of.arithmetic for f in question.footprints])
    same: Rows = (columns.devices == of.devices) & arithmetic[columns.footprint.astype(int)]
    return same


def _checkpointing(question: Question, columns: Columns) -> Rows:
    found: Rows = np.array([f.checkpointing for f in question.footprints])[columns.footprint.astype(int)]
    return found


def _limit(question: Question, bound: float, room_bytes: int | None) -> int:
    """Bytes of the device: what was there, where that explains the failure, else clearly less than the failed bound.

    Less by a share of what is not taken before any tensor is.
    """
    device = question.cluster.device
    if room_bytes is not None and device.context_bytes + room_bytes < bound:
        return min(question.memory_limit, device.context_bytes + room_bytes)
    before = device.context_bytes + question.kept_bytes + device.segments_bytes
    return min(question.memory_limit, int(before + LESS * (bound - before)))


def _order(
    question: Question, columns: Columns, failed: Configuration, limit: int
) -> Int[np.ndarray, " configurations"]:
    """The rows that may come next: those that keep all other limits first, each part best first."""
    may = _same(question, columns, failed) & (columns.memory_bound <= limit)
    may &= columns.parallel >= PARALLELS.index(failed.parallel)
    may &= _checkpointing(question, columns) | (not failed.checkpointing)
    kept = np.logical_and.reduce([d.kept for d in demands(_roomier(question), columns).values()])
    order = ranked(question, columns)
    first, rest = (order[(may & where)[order]] for where in (kept, ~kept))
    if not len(first):
        first, rest = rest, first
    if len(first):
        best = chosen(question, columns, first)
        first = np.concatenate([[best], first[first != best]])
    whole: Int[np.ndarray, " configurations"] = np.concatenate([first, rest])
    return whole


def _roomier(question: Question) -> Question:
    """Without its limit of device memory."""
    limits = replace(question.limits, memory_bytes=None)
    device = replace(question.cluster.device, memory_bytes=2**62)
    return replace(question, limits=limits, cluster=replace(question.cluster, device=device))
