"""What every micro-batch of one footprint, on so many devices in one manner, costs: memory, time, energy, price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from abi.devices.device import Cluster
from abi.execution import energy
from abi.execution.columns import PARALLELS, Columns, Numbers
from abi.execution.communication import exposed_s
from abi.execution.learned import Learned, of
from abi.execution.loader import TYPICAL, WorkerRate, batch_bytes, choose_workers, loader_s
from abi.execution.roofline import STEPS, latency_s, phase_of, phase_time, time_margin, together
from abi.execution.sharding import Sharing, bound_bytes, line_bytes
from abi.execution.types import TRAINING, Footprint, Job, Limits, Objective, Parallel, PhaseName

EVALUATE: Final[PhaseName] = "evaluate"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What the limits of time, energy and cost hold beside training, on one device: validations, for which the others wait."""

    seconds: float = 0.0
    energy_j: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """All that a decision depends on.

    Attributes:
        footprints: one for each arithmetic, with and without checkpointing.
        cluster: the devices that may be used.
        limits: what it may take.
        job: what is to be done.
        objective: what to rank by.
        unit_bytes: parameters that FSDP gathers at a time; all of them where None.
        rate: of one loader worker.
        checkpoints: whether the module has blocks whose activations can be computed again.
        learned: what earlier runs of the module on this device taught about bounds.
        resident_bytes: of the data and what else lies on each device beside the step, where rows need no loader; None: loader
            workers bring them from the host.
        apart: whether evaluation has a batch of its own; else it takes the rows of a micro-batch, and counts with training.
        sharded: whether FSDP may be used: a module whose weights are read beside the layers that own them cannot be, nor with an
            optimizer that reads whole matrices.
        beside: what limits hold beside training.
    """

    footprints: tuple[Footprint, ...]
    cluster: Cluster
    limits: Limits
    job: Job
    objective: Objective = "throughput"
    unit_bytes: int | None = None
    rate: WorkerRate = TYPICAL
    checkpoints: bool = False
    learned: tuple[Learned, ...] = ()
    resident_bytes: int | None = None
    apart: bool = True
    sharded: bool = True
    beside: Beside = Beside()

    @property
    def memory_limit(self) -> int:
        """Bytes of one device."""
        given = self.limits.memory_bytes
        return self.cluster.device.memory_bytes if given is None else min(given, self.cluster.device.memory_bytes)

    @property
    def kept_bytes(self) -> int:
        """Bytes of a device's memory that a step must leave: of data that lies there, and segments that stay free.

        Of 67 steps that were run at a limit on an H200, what the traced allocator said of one segment of each size less was
        wrong for one.
        """
        return (self.resident_bytes or 0) + self.cluster.device.segments_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of a device's memory that are taken before the first tensor of a step."""
        return self.cluster.device.context_bytes + (self.resident_bytes or 0)

    @property
    def step_phases(self) -> tuple[PhaseName, ...]:
        """Phases that count as training."""
        return TRAINING if self.apart else (*TRAINING, EVALUATE)

    @property
    def host_limit(self) -> int:
        """Bytes of the host."""
        given = self.limits.host_memory_bytes
        return self.cluster.host_memory_bytes if given is None else min(given, self.cluster.host_memory_bytes)

    def with_devices(self, count: int) -> Question:
        """So many of the device; the host grows with them, as machines are sold, and never shrinks."""
        times = max(count / self.cluster.count, 1.0)
        cluster = replace(
            self.cluster,
            count=count,
            host_cores=int(self.cluster.host_cores * times),
            host_memory_bytes=int(self.cluster.host_memory_bytes * times),
        )
        return replace(self, cluster=cluster)


def cost(question: Question, number: int, devices: int, parallel: Parallel, micro_batch: Numbers) -> Columns:
    """One row for each micro-batch; the accumulation is what makes the global batch of it exactly."""
    footprint, device, job = question.footprints[number], question.cluster.device, question.job
    accumulation = job.global_batch / (devices * micro_batch)
    unit_bytes = footprint.parameter_bytes if question.unit_bytes is None else question.unit_bytes
    forward, backward, update = (
        phase_time(phase_of(footprint, name), device, footprint.arithmetic, micro_batch)
        for name in ("forward", "backward", "optimizer")
    )
    sharing = Sharing(parallel=parallel, devices=devices, unit_bytes=unit_bytes)
    arithmetic_s, bandwidth_s = (
        sum(
            share * getattr(part, name)
            for part, share in ((forward, accumulation), (backward, accumulation), (update, sharing.kept))
        )
        for name in ("arithmetic_s", "bandwidth_s")
    )
    launches_s = accumulation * (forward.launches_s + backward.launches_s) + update.launches_s + device.step_s * STEPS
    compute_s = together(arithmetic_s + bandwidth_s, launches_s, overlapped=device.kind == "gpu")
    waiting_s = exposed_s(
        footprint, device, parallel, devices, unit_bytes, forward.total_s, backward.total_s, accumulation
    )
    working_s = compute_s + waiting_s
    if question.resident_bytes is None:
        workers = choose_workers(
            job, question.cluster, devices, micro_batch, working_s, question.host_limit, question.rate
        )
        loading_s = loader_s(job, question.cluster, devices, workers, question.rate)
    else:
        workers, loading_s = np.zeros_like(micro_batch), np.zeros_like(micro_batch)
    step_s = np.maximum(working_s, loading_s)
    train_s = job.steps * step_s
    line, upper = (
        line_bytes(footprint, sharing, micro_batch, accumulation, upper=upper, phases=question.step_phases)
        for upper in (False, True)
    )
    binder = np.argmax(np.stack([arithmetic_s, bandwidth_s, launches_s, waiting_s]), axis=0)
    same = np.ones_like(micro_batch)
    taught = of(question.learned, footprint.arithmetic)
    evaluation_bound = evaluation_bytes(question, number, sharing, np.ones(1))[1] if question.apart else np.zeros(1)
    return Columns(
        footprint=number * same,
        devices=devices * same,
        parallel=PARALLELS.index(parallel) * same,
        micro_batch=micro_batch,
        accumulation=accumulation,
        workers=workers,
        memory_bytes=np.ceil(line) + question.held_bytes,
        memory_bound=_bound(question, footprint, line, upper),
        evaluation_bound=evaluation_bound * same,
        host_bytes=workers * batch_bytes(job, devices, micro_batch),
        step_s=step_s,
        compute_s=compute_s,
        communication_s=waiting_s,
        loader_s=loading_s,
        train_s=train_s,
        train_bound_s=train_s * max(1 + time_margin(footprint), 1.0 if taught is None else taught.time),
        latency_s=latency_s(footprint, device) * same,
        energy_j=energy.energy_j(device, devices, (arithmetic_s + bandwidth_s) / step_s, train_s),
        price=energy.price(device, devices, train_s),
        rows_per_s=job.global_batch / step_s,
        bound_by=np.where(loading_s > working_s, 4.0, binder.astype(float)),
    )


def evaluation_bytes(question: Question, number: int, sharing: Sharing, rows: Numbers) -> tuple[Numbers, Numbers]:
    """Memory of one device that evaluates so many rows between steps of training, predicted and at most."""
    footprint = question.footprints[number]
    line = line_bytes(footprint, sharing, rows, np.ones_like(rows), upper=False, phases=(EVALUATE,))
    held_to = replace(footprint, margin=max(footprint.margin, footprint.evaluation_margin or 0.0))
    return np.ceil(line) + question.held_bytes, _bound(question, held_to, line, line)


def _bound(question: Question, footprint: Footprint, line: Numbers, upper: Numbers) -> Numbers:
    """What a configuration is accepted by: by its traces, and by what earlier runs took."""
    device, taught = question.cluster.device, of(question.learned, footprint.arithmetic)
    kept = device.context_bytes + question.kept_bytes + device.segments_bytes  # and others are filled in part
    learnt = 1.0 if taught is None else taught.memory
    bound: Numbers = np.maximum(bound_bytes(footprint, upper, kept), np.ceil(learnt * line) + kept)
    return bound
