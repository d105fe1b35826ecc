"""What runs of a module taught about its plans: bounds that lie over the prediction by what was measured.

Residuals are ratios of measured to predicted, of one module on one kind of device, in one arithmetic, under one version of
torch. The bound is conformal (`abi.conformal`): one-sided, and only from nine runs on. It never lies below the bound that
a trace gives: runs at one micro-batch say little of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from abi.conformal import LEAST, LEVEL, coverage, quantile
from abi.devices.device import Arithmetic
from abi.execution.types import ExecutionPlan
from abi.units import six_digits
from abi.values import Value

FIGURES: Final = ("memory", "time")


@dataclass(frozen=True, kw_only=True)
class Learned(Value):
    """Factors, none below 1, by which bounds lie over predictions in one arithmetic.

    `coverage` is how often the bound would have held for each run by the runs before it; None where there are too few. With
    no `runs` they are a prior, that whoever asks tells of.
    """

    arithmetic: Arithmetic
    memory: float
    time: float
    runs: int
    coverage: float | None


def residual(plan: ExecutionPlan, *, peak_bytes: float | int, step_s: float) -> dict[str, float]:
    """Measured over predicted.

    Args:
        plan: what was run.
        peak_bytes: of tensors, without what the driver takes before the first one.
        step_s: of an optimizer step, without the loader.
    """
    cost = plan.predicted
    tensors = cost.memory_bytes - plan.cluster.device.context_bytes
    found = {"memory": (peak_bytes, tensors), "time": (step_s, cost.compute_s + cost.communication_s)}
    return {name: six_digits(got / ahead) for name, (got, ahead) in found.items() if got > 0 and ahead > 0}


def learned(arithmetic: Arithmetic, residuals: Sequence[Mapping[str, float]], level: float = LEVEL) -> Learned | None:
    """What residuals teach, oldest first; None while there are too few."""
    columns = {name: [r[name] for r in residuals if name in r] for name in FIGURES}
    runs = min(len(ratios) for ratios in columns.values())
    if runs < LEAST:
        return None
    factors = {name: max(1.0, quantile(ratios, level)) for name, ratios in columns.items()}
    return Learned(arithmetic=arithmetic, runs=runs, coverage=coverage(list(columns.values()), level), **factors)


def of(taught: Sequence[Learned], arithmetic: Arithmetic) -> Learned | None:
    """What is known in that arithmetic."""
    return next((one for one in taught if one.arithmetic == arithmetic), None)


def told(one: Learned) -> str:
    """A sentence for a plan's reasons."""
    held = "" if one.coverage is None else f"; such bounds held for {one.coverage:.0%} of them"
    return (
        f"Bounds from runs: of {one.runs} runs of this module here in {one.arithmetic}, {LEVEL:.0%} took at most "
        f"{one.memory:.2f}x the predicted memory and {one.time:.2f}x the time{held}."
    )
