"""Whether what the planner chooses is the best there is: every configuration of some modules is run under a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch
from planner_measure import arithmetic, emptied, nothing, started
from planner_models import large

from abi.devices.device import Arithmetic, Cluster
from abi.errors import PlanInfeasible
from abi.execution.checkpointing import offers_checkpointing
from abi.execution.module import built
from abi.execution.plan import plan_module
from abi.execution.step import Step, Training
from abi.execution.types import Configuration, Job, Limits

CASES: Final = (("bert base", 256, 6), ("gpt2 small", 64, 8), ("vit base", 128, 4), ("mlp 4096x8", 8192, 4))
"""Module, global batch, GiB that may be used."""
ARITHMETICS: Final[tuple[Arithmetic, ...]] = ("float32", "tf32", "bfloat16")
LEAST_MICRO: Final = 32
"""As parts of the global batch: smaller micro-batches are not run."""


def choice(cluster: Cluster, cases: int) -> list[dict[str, Any]]:
    """For each case the plan's throughput beside the best that was found by running all."""
    trainings = {name: training for name, training, _ in large()}
    one = replace(cluster, count=1)
    return [_case(name, trainings[name], batch, gib * 2**30, one) for name, batch, gib in CASES[:cases]]


def _case(name: str, training: Training, batch: int, memory: int, cluster: Cluster) -> dict[str, Any]:
    limits, job = Limits(memory_bytes=memory), Job(global_batch=batch, steps=1000, row_bytes=0)
    try:
        plan = plan_module(training.build, training.batch, limits, cluster, job)
    except PlanInfeasible as error:
        return {"name": name, "refused": str(error)}
    there = offers_checkpointing(built(training.build))
    ran: dict[str, float] = {}
    for kind in ARITHMETICS:
        if kind not in cluster.device.rates:
            continue
        for again in (False, True) if there else (False,):
            micro = batch
            while micro >= max(1, batch // LEAST_MICRO):
                one = Configuration(
                    devices=1, parallel="none", arithmetic=kind, checkpointing=again, micro_batch=micro,
                    accumulation=batch // micro, workers=0,
                )  # fmt: skip
                ran[_said(one)] = _rows_per_s(training, one, memory - cluster.device.context_bytes)
                micro //= 2
    chosen = plan.configuration
    own = ran.get(_said(chosen)) or _rows_per_s(training, chosen, memory - cluster.device.context_bytes)
    best = max(ran, key=lambda key: ran[key])
    result = {
        "name": name, "memory_gib": memory / 2**30, "global_batch": batch, "configurations": len(ran),
        "out_of_memory": sum(not value for value in ran.values()), "chosen": _said(chosen), "chosen_rows_per_s": round(own, 1),
        "best": best, "best_rows_per_s": round(ran[best], 1), "share_of_best": round(own / ran[best], 4),
        "predicted_rows_per_s": round(plan.predicted.rows_per_s, 1),
        "default_rows_per_s": round(ran.get(_said(replace(chosen, arithmetic="float32", checkpointing=False, micro_batch=batch, accumulation=1)), 0.0), 1),
    }  # fmt: skip
    print(f"{name:14} {result}", flush=True)
    return result


def _said(one: Configuration) -> str:
    again = " checkpointed" if one.checkpointing else ""
    return f"{one.arithmetic}{again} {one.micro_batch} x {one.accumulation}"


def _rows_per_s(training: Training, one: Configuration, limit: int) -> float:
    """Rows per second of whole steps; 0 where memory runs out."""
    emptied()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total))
    asked = training.changed(arithmetic=one.arithmetic, checkpointing=one.checkpointing)
    try:
        with arithmetic(asked):
            step = started(asked, "cuda")
            parts = training.batch.make(one.micro_batch, "cuda")
            times = [_seconds(step, parts, one) for _ in range(4)]
    except torch.OutOfMemoryError:
        return 0.0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return one.micro_batch * one.accumulation / min(times[1:])


def _seconds(step: Step, arguments: dict[str, Any], one: Configuration) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    step.train_parts([arguments] * one.accumulation, nothing)
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3
