"""Whether what the planner chooses is the best there is: every configuration of some modules is run under a limit."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

import torch
from planner_measure import arithmetic, emptied, nothing, started
from planner_models import large

from abi.devices.device import Arithmetic, Cluster
from abi.errors import PlanInfeasible
from abi.execution.plan import plan_module
from abi.execution.step import Step, Training
from abi.execution.types import Configuration, Job, Limits

CASES: Final = (("gpt2 small", 64, 8), ("vit base", 128, 4), ("bert base", 256, 6), ("mlp 4096x8", 8192, 4))
"""Module, global batch, GiB that may be used."""
ARITHMETICS: Final[tuple[Arithmetic, ...]] = ("bfloat16", "tf32", "float32")
PARTS: Final = 16
"""Of the global batch: smaller micro-batches are not run."""


def run_all(cluster: Cluster, limit_s: float | None = None) -> dict[str, dict[str, float]]:
    """Case -> configuration -> rows per second, 0 where memory ran out; cases that did not come to their end are left out."""
    trainings = {name: training for name, training, _ in large()}
    began, found = time.monotonic(), dict[str, dict[str, float]]()
    for name, batch, gib in CASES:
        limit, ran = gib * 2**30 - cluster.device.context_bytes, dict[str, float]()
        for one in _configurations(batch, cluster):
            if limit_s is not None and time.monotonic() - began > limit_s:
                print(f"not measured, as {limit_s:g} s are over: configurations of {name} and what follows", flush=True)
                return found
            ran[said(one)] = _rows_per_s(trainings[name], one, limit)
        found[name] = ran
        best = max(ran, key=lambda key: ran[key])
        print(f"{name}: {len(ran)} configurations, best {best} with {ran[best]:.0f} rows/s", flush=True)
    return found


def judged(ran: dict[str, dict[str, float]], cluster: Cluster) -> list[dict[str, Any]]:
    """What the planner chooses, beside the best of those that were run; and beside the defaults: float32, all rows at once."""
    trainings, one = {name: training for name, training, _ in large()}, replace(cluster, count=1)
    return [_judged(name, trainings[name], batch, gib, ran[name], one) for name, batch, gib in CASES if name in ran]


def _judged(
    name: str, training: Training, batch: int, gib: int, ran: dict[str, float], cluster: Cluster
) -> dict[str, Any]:
    limits, job = Limits(memory_bytes=gib * 2**30), Job(global_batch=batch, steps=1000, row_bytes=1)
    best = max(ran, key=lambda key: ran[key])
    found: dict[str, Any] = {
        "name": name, "memory_gib": gib, "global_batch": batch, "configurations": len(ran),
        "out_of_memory": sum(not value for value in ran.values()), "best": best, "best_rows_per_s": round(ran[best], 1),
    }  # fmt: skip
    try:
        plan = plan_module(
            training.build, training.batch, limits, cluster, global_batch=job.global_batch, steps=job.steps
        )
    except PlanInfeasible as error:
        return found | {"refused": str(error)}
    chosen = said(plan.configuration)
    defaults = max((rate for key, rate in ran.items() if key.startswith("float32 ")), default=0.0)
    found |= {
        "chosen": chosen, "chosen_rows_per_s": round(ran.get(chosen, -1.0), 1), "share_of_best": round(ran.get(chosen, -1.0) / ran[best], 4),
        "predicted_rows_per_s": round(plan.predicted.rows_per_s, 1),
        "times_best_in_float32": round(ran.get(chosen, -1.0) / defaults, 2) if defaults else None,
    }  # fmt: skip
    print(found, flush=True)
    return found


def said(one: Configuration) -> str:
    """As ``bfloat16 checkpointed 64 x 4``."""
    return f"{one.arithmetic}{' checkpointed' if one.checkpointing else ''} {one.micro_batch} x {one.accumulation}"


def _configurations(batch: int, cluster: Cluster) -> list[Configuration]:
    micro = [batch // n for n in (1, 2, 4, 8, PARTS)]
    return [
        Configuration(
            devices=1, parallel="none", arithmetic=kind, checkpointing=again, micro_batch=rows,
            accumulation=batch // rows, workers=0,
        )
        for kind in ARITHMETICS if kind in cluster.device.rates
        for again in (False, True)
        for rows in micro
    ]  # fmt: skip


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
    torch.cuda.synchronize()
    start = time.perf_counter()
    step.train_parts([arguments] * one.accumulation, nothing)
    torch.cuda.synchronize()
    return time.perf_counter() - start
