"""How far what runs really took lay above what was predicted, as margins that plans keep inside their limits.

One-sided conformal bounds (`abi.conformal`) over ratios of measured to predicted cost, if runs are exchangeable. Residuals
are of one family on one device, with one precision and version of torch. Until there are enough of them, a prior stands in:
what was measured elsewhere. It fades evenly with each residual, down to nothing where these suffice, and a bound never lies
below the largest residual; so the ninth, from which on the bound is theirs alone, moves it no more than the eight before.
What has no prior has no bound before the ninth.

A bound of time is of all epochs, or rounds, that are planned. A training that patience ends sooner takes less than that; its
residual is of those that it trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from abi.conformal import LEAST, LEVEL, coverage, quantile
from abi.outcomes import Trained
from abi.types import Cost, Envelope, Family
from abi.units import six_digits
from abi.values import Value

RESOURCES: Final = ("memory_bytes", "train_time_s", "latency_s")

Prior = Mapping[str, float]
"""Resource -> factor of what was measured elsewhere, none below 1."""

MEASURED: Final[Prior] = MappingProxyType({"memory_bytes": 1.02, "train_time_s": 1.0, "latency_s": 1.9})
"""Of times from constants that were measured on the machine, and memory from `abi.planning.cost`. Of the 14 trainings that
`benchmarks/results/tables-2026-11-22.json` and `families-2026-11-25.json` hold (two kinds of processor), 90% took, by the
same conformal bound, at most 1.01x the predicted memory and 1.82x the latency. Time has no prior, though it was 1.85x there:
training keeps to it by itself (`abi.training.pace`), and a plan for half of it would give away half of the epochs on most
machines to spare some a shorter schedule."""
FIGURES: Final[Prior] = MappingProxyType({"memory_bytes": 1.0, "train_time_s": 1.9, "latency_s": 1.9})
"""Of a traced network on a device that nobody measured: a trace has a bound of memory. Of 34 steps of own networks on an H200
90% took at most 1.36x what the catalogue's figures said (`benchmarks/results/planner-memory-gpu-2026-11-26.json`, group own);
no other card was looked at, so times are given as much room as those of `MEASURED`."""
CALIBRATED: Final[Prior] = MappingProxyType({"memory_bytes": 1.0, "train_time_s": 1.4, "latency_s": 1.4})
"""The same on a device that `abi calibrate` measured: by the figures that it found on that H200, 90% of those steps took at most
1.33x (`python benchmarks/planner.py compare benchmarks/results/planner-measured-h200-2026-11-26.json --only network`)."""


@dataclass(frozen=True, kw_only=True)
class Margin(Value):
    """Factors of one family, none below 1, by which a bound lies over a prediction.

    `coverage` is how often the bound would have held for each earlier run by the runs before it (None: too few to say).
    Where `runs` are fewer than `abi.conformal.LEAST`, a part of it is the prior's.
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


def margin(
    family: Family, residuals: Sequence[Mapping[str, float]] = (), prior: Prior = MEASURED, level: float = LEVEL
) -> Margin:
    """The margin that earlier residuals ask for, oldest first; while there are too few, with what is left of the prior."""
    columns = {name: [r[name] for r in residuals if name in r] for name in RESOURCES}
    runs = min(len(ratios) for ratios in columns.values())
    if runs < LEAST:
        left = 1 - runs / LEAST
        factors = {
            name: max(1 + left * (prior[name] - 1), *ratios, 1.0) if prior[name] > 1 else 1.0
            for name, ratios in columns.items()
        }
        return Margin(
            family=family, runs=runs, coverage=None, **{name: six_digits(factor) for name, factor in factors.items()}
        )
    return Margin(
        family=family,
        runs=runs,
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
    of = "trees" if margin.family == "trees" else f"a {margin.family}"
    if margin.runs < LEAST:
        so_far = f", {margin.runs} so far" if margin.runs else ""
        factors = {"time": margin.train_time_s, "memory": margin.memory_bytes, "latency": margin.latency_s}
        bounds = ", ".join([f"{factor:.2f}x the predicted {name}" for name, factor in factors.items() if factor > 1])
        time = (
            "time is of all that are planned, also where patience ends them sooner"
            if margin.train_time_s > 1
            else "a training that is slower than predicted shortens its schedule to stay within its time"
        )
        return f"Limits are kept by bounds of {bounds} until {LEAST} trainings of {of} have been measured here{so_far}; {time}."
    held = "" if margin.coverage is None else f"; such bounds held for {margin.coverage:.0%} of them"
    return (
        f"Limits are kept by bounds: of {margin.runs} earlier trainings of {of} here, {LEVEL:.0%} took at most "
        f"{margin.memory_bytes:.2f}x the predicted memory, {margin.train_time_s:.2f}x the time and {margin.latency_s:.2f}x the latency{held}."
    )
