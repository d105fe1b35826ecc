"""How evaluation runs on the devices that train: as many rows at a time as are worth their memory.

It is planned apart from training, in training's arithmetic and on its devices and loader workers. It is taken to run between
steps: gradients and optimizer state stay where they are, so what fits is less than a server without them could take.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from jaxtyping import Bool

from abi.execution.columns import BINDERS, Numbers
from abi.execution.communication import gathered_s
from abi.execution.costing import EVALUATE, Question, evaluation_bytes
from abi.execution.demands import SAID, show_limit
from abi.execution.goodput import steady
from abi.execution.loader import batch_bytes, rows_s
from abi.execution.plainer import ALIKE
from abi.execution.roofline import phase_of, phase_time
from abi.execution.search import Found
from abi.execution.sharding import Sharing
from abi.execution.types import Configuration, Evaluation
from abi.units import show_bytes, show_count, show_seconds

MOST_ROWS: Final = 2**16
"""Of a batch of evaluation."""
SLOWED: Final = {
    "arithmetic": "arithmetic",
    "bandwidth": "memory bandwidth",
    "launches": "starting kernels",
    "communication": "waiting for the other devices",
    "loader": "the loader",
}


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Batches of evaluation side by side, by rows; `place` is the chosen one's."""

    configuration: Configuration
    rows: Numbers
    memory_bytes: Numbers
    memory_bound: Numbers
    host_bytes: Numbers
    batch_s: Numbers
    working_s: Numbers
    bound_by: Numbers
    place: int = 0

    @property
    def rows_per_s(self) -> Numbers:
        """Of all devices."""
        per_s: Numbers = self.configuration.devices * self.rows / self.batch_s
        return per_s

    @property
    def batch(self) -> int:
        """Rows of the chosen one."""
        return int(self.rows[self.place])

    def below(self, batch: int) -> Passes:
        """The same with the next smaller batch chosen."""
        return replace(self, place=int(np.searchsorted(self.rows, batch)) - 1)

    def chosen(self, shift: int) -> Evaluation:
        """The decision; its trace lies `shift` bytes above its line."""
        at, bound = self.place, int(self.memory_bound[self.place])
        return Evaluation(
            batch=self.batch,
            devices=self.configuration.devices,
            arithmetic=self.configuration.arithmetic,
            memory_bytes=min(int(self.memory_bytes[at]) + shift, bound),
            memory_bound=bound,
            host_bytes=int(self.host_bytes[at]),
            batch_s=float(self.batch_s[at]),
            working_s=float(self.working_s[at]),
            rows_per_s=float(self.rows_per_s[at]),
            bound_by=BINDERS[int(self.bound_by[at])],
        )


def beside(found: Found, row: int) -> Passes:
    """Evaluation beside a configuration: of the batches that fit, the smallest within 1% of the fastest.

    Where memory is to be small, no batch takes more of it than training does.
    """
    question, c = found.question, found.columns
    configuration = found.configuration(row)
    powers = 2.0 ** np.arange(np.log2(MOST_ROWS) + 1)
    passes = _costed(question, int(c.footprint[row]), configuration, np.union1d(powers, c.micro_batch[row]))
    fits = _fits(question, passes)
    if question.objective == "memory":
        fits &= passes.memory_bound <= max(c.memory_bound[row], c.evaluation_bound[row])
    fits[0] = True  # one row does: the configuration would not have been found
    slowness = steady(1 / passes.rows_per_s)
    worth = fits & (slowness <= ALIKE * slowness[fits].min())
    return replace(passes, place=int(np.flatnonzero(worth)[0]))


def told(found: Found, passes: Passes) -> str:
    """Why this batch, what is assumed, and what holds it back."""
    question, at, there = found.question, passes.place, passes.configuration
    count = f" on each of {there.devices} devices" if there.devices > 1 else ""
    head = (
        f"Evaluation: {show_count(passes.rows[at])} row{'s' if passes.batch > 1 else ''} at a time{count} in {there.arithmetic}, "
        f"as in training, whose gradients and optimizer state stay in memory"
    )
    after = f"bound by {SLOWED[BINDERS[int(passes.bound_by[at])]]}"
    return f"{head}; {_larger(question, passes)}; {show_seconds(1000 / passes.rows_per_s[at])} for 1,000 rows, {after}."


def _larger(question: Question, passes: Passes) -> str:
    """What speaks against the next larger batch."""
    at = passes.place
    if at + 1 == len(passes.rows):
        return "it is the largest that is looked at"
    more = show_count(passes.rows[at + 1])
    for name, asked, limit in (
        ("memory", passes.memory_bound, question.memory_limit),
        ("host_memory", passes.host_bytes, question.host_limit),
    ):
        if asked[at + 1] > limit:
            return f"{more} would need {show_limit(name, float(asked[at + 1]))} of {SAID[name]}, the limit is {show_limit(name, limit)}"
    faster = passes.rows_per_s[at + 1] / passes.rows_per_s[at] - 1
    if faster > ALIKE - 1:
        return (
            f"{more} would be {faster:.1%} faster with {show_bytes(passes.memory_bound[at + 1])} of device memory, more than training takes"
            if question.objective == "memory"
            else f"{more} would be {faster:.1%} faster, but its trace does not fit"
        )
    return f"no batch that fits is more than {ALIKE - 1:.0%} faster"


def _fits(question: Question, passes: Passes) -> Bool[np.ndarray, " batches"]:
    fits: Bool[np.ndarray, " batches"] = (passes.memory_bound <= question.memory_limit) & (
        passes.host_bytes <= question.host_limit
    )
    return fits


def _costed(question: Question, number: int, there: Configuration, rows: Numbers) -> Passes:
    footprint, cluster, device = question.footprints[number], question.cluster, question.cluster.device
    unit_bytes = footprint.parameter_bytes if question.unit_bytes is None else question.unit_bytes
    sharing = Sharing(parallel=there.parallel, devices=there.devices, unit_bytes=unit_bytes)
    memory_bytes, memory_bound = evaluation_bytes(question, number, sharing, rows)
    time = phase_time(phase_of(footprint, EVALUATE), device, footprint.arithmetic, rows)
    waiting_s = gathered_s(footprint, device, there.parallel, there.devices, unit_bytes, time.total_s)
    working_s = time.total_s + waiting_s
    loading_s, host_bytes = np.zeros_like(rows), np.zeros_like(rows)
    if question.resident_bytes is None:
        loading_s = rows_s(rows, question.job.row_bytes, cluster, there.workers, question.rate)
        host_bytes = there.workers * batch_bytes(question.job, there.devices, rows)
    binder = np.argmax(np.stack([time.arithmetic_s, time.bandwidth_s, time.launches_s, waiting_s]), axis=0)
    return Passes(
        configuration=there,
        rows=rows,
        memory_bytes=memory_bytes,
        memory_bound=memory_bound,
        host_bytes=host_bytes,
        batch_s=np.maximum(working_s, loading_s),
        working_s=working_s,
        bound_by=np.where(loading_s > working_s, 4.0, cast("Numbers", binder.astype(float))),
    )
