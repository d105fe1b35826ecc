"""The question that a plan's network is run by, asked again in the midst of its training; a plan carries no traces."""

from __future__ import annotations

from dataclasses import replace

from abi.execution.costing import Question
from abi.execution.search import divisors
from abi.execution.tracer import Tracer
from abi.execution.types import Configuration
from abi.planning.execution import LEAST_ROWS
from abi.planning.on_devices import on_devices
from abi.planning.traced import training_of
from abi.types import Plan


def running_in(plan: Plan, processes: int, rows: int) -> Configuration | None:
    """How a plan runs in so many processes, in parts of at least so many rows; None where it names no devices.

    Pilots run in one process, whatever the plan has.
    """
    planned = on_devices(plan)
    if planned is None or planned.job.global_batch % processes or processes > planned.cluster.count:
        return None
    own = planned.job.global_batch // processes
    micro_batch = next((d for d in divisors(own) if d >= rows), own)
    return replace(
        planned.configuration,
        devices=processes,
        parallel="none" if processes == 1 else "ddp",
        micro_batch=micro_batch,
        accumulation=own // micro_batch,
    )


def question_again(plan: Plan, running: Configuration, kl: float) -> Question:
    """What a plan with devices was chosen from, in the arithmetic that it runs in.

    Args:
        plan: with an execution plan.
        running: how it runs.
        kl: the penalty on attention's divergence, which is a part of the loss.
    """
    planned = on_devices(plan)
    assert planned is not None
    device = planned.cluster.device
    device = replace(device, rates={running.arithmetic: device.rates[running.arithmetic]})
    largest = max(planned.job.global_batch // running.devices, LEAST_ROWS + 1)
    tracer = Tracer(training_of(plan, kl), device, rows=(LEAST_ROWS, largest)).kept()
    return Question(
        footprints=tracer.footprints(checkpointing=False),
        cluster=replace(planned.cluster, device=device),
        limits=planned.limits,
        job=planned.job,
        resident_bytes=planned.resident_bytes,
        sharded=False,
    )
