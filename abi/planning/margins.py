"""How far what runs really took lay above what was predicted, as margins that plans keep inside their limits.

One-sided conformal bounds (`abi.conformal`) over ratios of measured to predicted cost, if runs are exchangeable. Residuals
are of one family on one device, with one precision and version of torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from abi.conformal import LEAST, LEVEL, coverage, quantile
from abi.outcomes import Trained
from abi.types import Cost, Envelope, Family
from abi.units import six_digits
from abi.values import Value

RESOURCES: Final = ("memory_bytes", "train_time_s", "latency_s")


@dataclass(frozen=True, kw_only=True)
class Margin(Value):
    """Factors of one family, none below 1, by which a bound lies over a prediction.

    `coverage` is how often the bound would have held for each earlier run by the runs before it (None: too few to say).
    """

    family: Family
    memory_bytes: float
    train_time_s: float
    latency_s: float
    runs: int
    coverage: float | None


def residual(trained: Trained) -> dict[str, float]:
    """Measured over predicted, by resource; of time, for the epochs that were trained."""
    predicted, measured = trained.predicted, trained.measured
    planned = (
        trained.plan.trees.rounds if trained.family == "trees" and trained.plan.trees else trained.plan.execution.epochs
    )
    done = len(trained.history) / planned
    expected = {**{name: getattr(predicted, name) for name in RESOURCES}, "train_time_s": predicted.train_time_s * done}
    return {
        name: six_digits(getattr(measured, name) / value)
        for name, value in expected.items()
        if value > 0 and getattr(measured, name) > 0
    }


def margin(family: Family, residuals: Sequence[Mapping[str, float]], level: float = LEVEL) -> Margin | None:
    """The margin that earlier residuals ask for, oldest first; None while there are too few."""
    columns = {name: [r[name] for r in residuals if name in r] for name in RESOURCES}
    if min(len(ratios) for ratios in columns.values()) < LEAST:
        return None
    return Margin(
        family=family,
        runs=min(len(ratios) for ratios in columns.values()),
        coverage=coverage(list(columns.values()), level),
        **{name: max(1.0, quantile(ratios, level)) for name, ratios in columns.items()},
    )


def bounded(cost: Cost, margin: Margin | None) -> Cost:
    """What a plan must fit with."""
    if margin is None:
        return cost
    return replace(
        cost,
        memory_bytes=math.ceil(cost.memory_bytes * margin.memory_bytes),
        train_time_s=six_digits(cost.train_time_s * margin.train_time_s),
        latency_s=six_digits(cost.latency_s * margin.latency_s),
    )


def tightened(envelope: Envelope, margin: Margin | None) -> Envelope:
    """Limits for predictions, so that bounds fit the envelope."""
    if margin is None:
        return envelope
    changed = {
        name: getattr(envelope, name) / getattr(margin, name)
        for name in RESOURCES
        if getattr(envelope, name) is not None
    }
    if "memory_bytes" in changed:
        changed["memory_bytes"] = int(changed["memory_bytes"])
    return replace(envelope, **changed)


def told(margin: Margin) -> str:
    """A sentence for a plan's reasons."""
    held = "" if margin.coverage is None else f"; such bounds held for {margin.coverage:.0%} of them"
    return (
        f"Limits are kept by bounds: of {margin.runs} earlier trainings of a {margin.family} here, {LEVEL:.0%} took at most "
        f"{margin.memory_bytes:.2f}x the predicted memory, {margin.train_time_s:.2f}x the time and {margin.latency_s:.2f}x the latency{held}."
    )
