"""Limits for dividing an envelope that are wider than the envelope's own, where a trace says that there is room.

What divides the envelope costs a network by three constants of one device, and so keeps out what several devices, another
arithmetic or another micro-batch could train in time. The first network's trace costs every way to run it: by which factor
the way with most room lies below each limit. So much more is given to what divides, in its own currency.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float

from abi.execution.costing import Question
from abi.execution.demands import demands
from abi.execution.search import enumerate_all
from abi.planning.trail import Trail
from abi.types import Cost, Envelope, Plan

LEAST_WIDER: Final = 1.05
"""Less room than this is not worth another division and trace."""
OF_TIME: Final = ("train_time", "energy", "cost")
Room = Float[np.ndarray, " configurations"]


def wider(tight: Envelope, held: Cost, plan: Plan, question: Question, seen: Trail) -> Envelope | None:
    """Limits that leave the way with most room just as much of it; None where they kept nothing out, or there is none.

    Args:
        tight: what the plan was divided under.
        held: what it was held to.
        plan: what came out.
        question: every way to run it, under the envelope itself.
        seen: what was tried before it.
    """
    bound = _keep_out(tight, held, plan, seen)
    if not bound:
        return None
    room = {
        name: demand.limit / np.maximum(demand.asked, 1e-12)
        for name, demand in demands(question, enumerate_all(question)).items()
    }
    kept = np.logical_and.reduce([ratio >= 1 for ratio in room.values()])
    times = [room[name] for name in OF_TIME if name in room]
    factors: dict[str, Room] = {"memory": room["memory"]}
    factors |= {"train_time": np.minimum.reduce(times)} if times else {}
    if any(name not in factors for name in bound) or not kept.any():
        return None
    least = np.where(kept, np.minimum.reduce([factors[name] for name in bound]), 0.0)
    best = int(np.argmax(least))
    if least[best] < LEAST_WIDER:
        return None
    changed: dict[str, float | int] = {}
    if "memory" in bound:
        changed["memory_bytes"] = int(held.memory_bytes * factors["memory"][best])
    if "train_time" in bound:
        changed["train_time_s"] = held.train_time_s * float(factors["train_time"][best])
    larger = any(value > LEAST_WIDER * getattr(tight, name) for name, value in changed.items())
    return replace(tight, **changed) if larger else None  # type: ignore[arg-type]  # limits of two kinds


def _keep_out(tight: Envelope, held: Cost, plan: Plan, seen: Trail) -> list[str]:
    """Limits that kept out larger sizes or more epochs."""
    short = [tried.short or "" for tried in seen.sizes]
    found = [name for name in ("memory", "train_time") if any(said.startswith(f"{name}=") for said in short)]
    limit, epochs = tight.train_time_s, plan.execution.epochs
    if limit is not None and "train_time" not in found and held.train_time_s * (1 + 1 / epochs) > limit:
        found.append("train_time")
    return found
