"""Parameters -> a width per feature, by what attention makes of each rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool
from scipy.optimize import Bounds, LinearConstraint, milp

from abi.inputs.kind import Step
from abi.planning.knapsack import Knapsack, climb, knapsack
from abi.planning.quiet import silent_stdout
from abi.planning.relaxation import open_rungs, relax

SOLVER: Final = 2
"""Number of the way that splits are solved now. A run's machine has the one that it was planned by, so that its decisions
come out the same when they are made again: without a number it is the first, which had no relaxation."""
SMALL: Final = 64
"""Up to so many features integer programming alone takes no time."""
EXACT_FEATURES: Final = 600
"""Up to here the first solver was exact; above, it only climbed."""
GAP: Final = 1e-4
NEAR: Final = 5e-4
"""Of many features, a split this near to the bound is taken as it is: all of them differ by less than a rung."""


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What one feature got, and what its next rung would have cost (None on the last rung)."""

    step: Step
    next_width: int | None
    next_parameters: int | None


def allocate(
    ladders: Sequence[Sequence[Step]],
    weights: Sequence[float],
    budget: int,
    per_width: int,
    width_limit: int | None = None,
    curves: Sequence[Sequence[float]] | None = None,
    solver: int | None = SOLVER,
) -> tuple[Allotment, ...] | None:
    """Maximise sum_i a_i * utility_i(width_i) under the budget; every feature keeps at least its first rung.

    A multiple-choice knapsack with two constraints: parameters, and the total width, which time, memory and latency
    grow with. Without rungs its solution is width_i ~ a_i / cost_i.

    Args:
        ladders: rungs per feature.
        weights: attention per feature, on the simplex.
        budget: parameters for encoders and what their width costs in the first layer.
        per_width: parameters that a unit of width costs in the first layer.
        width_limit: most total width, where there is a limit.
        curves: what a trained model showed of each feature (see `measured_utility`); log2(1 + width) where it is empty.
        solver: which one; see `SOLVER`.

    Returns:
        What each feature got, or None where the first rungs alone exceed the budget.
    """
    sack = knapsack(ladders, weights, budget, per_width, width_limit, curves)
    places = solve(sack, solver)
    return None if places is None else allotments(sack, places)


def solve(sack: Knapsack, solver: int | None = SOLVER) -> list[int] | None:
    """The rung of each feature, or None where the first ones do not fit.

    Up to `SMALL` features by integer programming alone. Of more, the linear relaxation with whole rungs is taken where it
    is `NEAR` its own bound; if not, integer programming goes over the rungs that a better split could still have.
    """
    if not sack.holds(sack.lowest):
        return None
    if solver is None or len(sack.ladders) <= SMALL:
        exact = _integer(sack) if len(sack.ladders) <= EXACT_FEATURES else None
        return climb(sack, exact or sack.lowest)
    relaxed = relax(sack)
    if relaxed is None:
        return climb(sack, sack.lowest)
    worth = sack.worth(relaxed.places)
    if worth >= (1 - NEAR) * relaxed.bound:
        return relaxed.places
    found = _integer(sack, open_rungs(sack, relaxed, worth))
    better = relaxed.places if found is None else climb(sack, found)
    return better if sack.worth(better) > worth else relaxed.places


def allotments(sack: Knapsack, places: Sequence[int]) -> tuple[Allotment, ...]:
    """What these rungs give each feature."""
    return tuple(_allotment(rungs, place, sack.per_width) for rungs, place in zip(sack.ladders, places, strict=True))


def _integer(sack: Knapsack, among: Bool[np.ndarray, " rungs"] | None = None) -> list[int] | None:
    """The rung of each feature by mixed-integer programming, or None where the solver gives up."""
    rungs = np.arange(len(sack.owner)) if among is None else np.flatnonzero(among)
    with silent_stdout():
        solved = milp(
            -sack.gain[rungs],
            integrality=np.ones(len(rungs)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(sack.one_each(rungs), 1, 1),
                LinearConstraint(sack.price[None, rungs], ub=1),
                LinearConstraint(sack.width[None, rungs], ub=1),
            ],
            options={"mip_rel_gap": GAP},
        )
    if solved.x is None:
        return None
    chosen = rungs[solved.x.reshape(-1) > 0.5]  # noqa: PLR2004 - a rounded 0 or 1
    places: list[int] = (chosen - sack.starts).tolist()
    return places if sack.holds(places) else None


def _allotment(rungs: Sequence[Step], place: int, per_width: int) -> Allotment:
    here = rungs[place]
    above = rungs[place + 1] if place + 1 < len(rungs) else None
    return Allotment(
        step=here,
        next_width=above.width if above else None,
        next_parameters=above.parameters(per_width) - here.parameters(per_width) if above else None,
    )
