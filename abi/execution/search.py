"""Every configuration there is, what it costs, and which is best; the same question gives the same answer, bit by bit."""

from __future__ import annotations

import math
import numbers
from collections import deque
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from jaxtyping import Bool, Int

from abi.devices.device import Arithmetic
from abi.errors import UsageError
from abi.execution.columns import BINDERS, PARALLELS, Columns, joined
from abi.execution.costing import Question, cost
from abi.execution.demands import demands
from abi.execution.goodput import expect_objective, loss, steady
from abi.execution.plainer import chosen
from abi.execution.types import Configuration, Limits, RunCost

MOST = 10**9
"""Of rows and of steps: beyond it is a slip of the hand."""


@dataclass(frozen=True)
class Found:
    """All configurations; `order` are the rows that keep every limit: the chosen one, then the others, best first."""

    question: Question
    columns: Columns
    order: Int[np.ndarray, " feasible"]

    def configuration(self, row: int) -> Configuration:
        """The choices of one row."""
        c, footprint = self.columns, self.question.footprints[int(self.columns.footprint[row])]
        return Configuration(
            devices=int(c.devices[row]),
            parallel=PARALLELS[int(c.parallel[row])],
            arithmetic=footprint.arithmetic,
            checkpointing=footprint.checkpointing,
            micro_batch=int(c.micro_batch[row]),
            accumulation=int(c.accumulation[row]),
            workers=int(c.workers[row]),
        )

    def cost(self, row: int) -> RunCost:
        """What one row is predicted to take."""
        c = self.columns
        return RunCost(
            memory_bytes=int(c.memory_bytes[row]),
            memory_bound=int(c.memory_bound[row]),
            host_bytes=int(c.host_bytes[row]),
            step_s=float(c.step_s[row]),
            compute_s=float(c.compute_s[row]),
            communication_s=float(c.communication_s[row]),
            loader_s=float(c.loader_s[row]),
            train_s=float(c.train_s[row]),
            train_bound_s=float(c.train_bound_s[row]),
            latency_s=float(c.latency_s[row]),
            energy_j=float(c.energy_j[row]),
            price=None if np.isnan(c.price[row]) else float(c.price[row]),
            rows_per_s=float(c.rows_per_s[row]),
            bound_by=BINDERS[int(c.bound_by[row])],
        )


def search(question: Question) -> Found:
    """Cost all configurations, rank those that keep every limit, and choose the plainest of those that are alike.

    Raises:
        UsageError: the job cannot be divided over the devices, or the objective has no figures.
    """
    expect_job(question)
    columns = enumerate_all(question)
    order = ranked(question, columns)
    order = order[feasible(question, columns)[order]]
    if len(order):
        best = chosen(question, columns, order)
        order = np.concatenate([[best], order[order != best]])
    return Found(question, columns, order)


def expect_job(question: Question) -> None:
    """Refuse a job that no configuration can do."""
    job, count = question.job, question.cluster.count
    for name, value in (("global batch", job.global_batch), ("number of steps", job.steps), ("number of GPUs", count)):
        if not isinstance(value, numbers.Integral):
            msg = f"Expected a {name} as a whole number, got {value!r}: leave the fraction out."
            raise UsageError(msg)
        if not 1 <= value <= MOST:
            msg = (
                f"Expected a {name} of at least 1, got {value}: leave it out, or say how many."
                if value < 1
                else f"Expected a {name} of at most {MOST}, got {value}: see whether a digit is too many."
            )
            raise UsageError(msg)
    if count > job.global_batch:
        msg = f"Expected at most one device for each row of the global batch of {job.global_batch}, got {count}: use fewer devices or a larger batch."
        raise UsageError(msg)
    if job.global_batch % count:
        below = job.global_batch // count * count
        msg = f"Expected a global batch that {count} devices divide, got {job.global_batch}: take {below} or {below + count}, or another number of devices."
        raise UsageError(msg)
    if question.limits.cost is not None and question.cluster.device.price_per_hour is None:
        msg = f"Expected a price per hour of {question.cluster.device.name} beside a limit of cost, got none: set devices.{question.cluster.device.name}.price_per_hour."
        raise UsageError(msg)
    expect_objective(question.objective, question.cluster.device)


def enumerate_all(question: Question) -> Columns:
    """Devices x parallelism x footprints x micro-batches that make the global batch exactly; read only.

    What they cost follows from neither limits nor objective, so one answer does for the many questions that differ in these.
    """
    asked = _without_limits(question)
    for known, columns in _KNOWN:
        if known == asked:
            return columns
    found = _enumerated(question)
    _KNOWN.append((asked, found))
    return found


_KNOWN: deque[tuple[Question, Columns]] = deque(maxlen=8)


def _without_limits(question: Question) -> Question:
    """The same but for limits that change no cost: the host's decides how many workers there are."""
    device = replace(question.cluster.device, memory_bytes=1)
    limits = Limits(host_memory_bytes=question.limits.host_memory_bytes)
    return replace(question, cluster=replace(question.cluster, device=device), limits=limits, objective="throughput")


def _enumerated(question: Question) -> Columns:
    job, parts = question.job, []
    for devices in range(1, question.cluster.count + 1):
        if job.global_batch % devices:
            continue
        micro_batch = np.array(divisors(job.global_batch // devices), dtype=float)
        for parallel in PARALLELS[:1] if devices == 1 else PARALLELS[1:] if question.sharded else PARALLELS[1:2]:
            parts += [
                cost(question, number, devices, parallel, micro_batch) for number in range(len(question.footprints))
            ]
    return joined(parts)


def divisors(number: int) -> list[int]:
    """All of them, in order: 12 -> 1, 2, 3, 4, 6, 12; multiples of 8 are among them wherever they divide exactly."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def feasible(question: Question, columns: Columns) -> Bool[np.ndarray, " configurations"]:
    """Which keep every limit, by their upper bounds."""
    kept: Bool[np.ndarray, " configurations"] = np.logical_and.reduce(
        [demand.kept for demand in demands(question, columns).values()]
    )
    return kept


def ranked(question: Question, columns: Columns) -> Int[np.ndarray, " configurations"]:
    """All rows, best first: the objective, then time; where both agree the plainer arithmetic, energy, memory, and so on."""
    arithmetics, number = get_args(Arithmetic), columns.footprint.astype(int)
    arithmetic = np.array([arithmetics.index(f.arithmetic) for f in question.footprints])
    checkpointing = np.array([f.checkpointing for f in question.footprints])
    keys = [
        steady(loss(columns, question.objective)),
        steady(columns.step_s),
        arithmetic[number],
        steady(columns.energy_j),
        columns.memory_bound,
        columns.devices,
        columns.parallel,
        checkpointing[number],
        columns.workers,
        -columns.micro_batch,
    ]
    return np.lexsort(keys[::-1])


def undominated(found: Found) -> Int[np.ndarray, " kept"]:
    """The feasible rows that no other beats in the objective and in memory on as many devices, best first."""
    columns, kept = found.columns, []
    least: dict[int, float] = {}
    order = ranked(found.question, columns)
    for row in order[np.isin(order, found.order)].tolist():
        devices, memory = int(columns.devices[row]), float(columns.memory_bound[row])
        if memory < least.get(devices, np.inf):
            least[devices] = memory
            kept.append(row)
    return np.array(kept, dtype=int)
