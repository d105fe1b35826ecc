"""The knapsack of widths without its whole numbers: a bound on what any split is worth, prices of the limits, a good split.

The linear relaxation has at most as many features between two rungs as there are limits, two, so that taking the lower
rung of these loses next to nothing where there are many features (Sinha and Zoltners 1979, "The multiple-choice knapsack
problem"). Its prices also tell which rungs no better split can have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog

from abi.planning.knapsack import Knapsack, climb
from abi.planning.quiet import silent_stdout

SOME: Final = 1e-6
"""A share of a rung below this is none."""
ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Relaxed:
    """The solution of the relaxation.

    Attributes:
        bound: no split within the limits is worth more.
        parameter_price: what all of the budget is worth at the margin: a share s more of it buys s times this.
        width_price: the same of the total width.
        places: a split of whole rungs beside it.
    """

    bound: float
    parameter_price: float
    width_price: float
    places: list[int]


def relax(sack: Knapsack) -> Relaxed | None:
    """Solve the relaxation; None where the solver gives up, or nothing fits."""
    with silent_stdout():
        solved = linprog(
            -sack.gain,
            A_ub=np.vstack([sack.price, sack.width]),
            b_ub=[1, 1],
            A_eq=sack.one_each(),
            b_eq=np.ones(len(sack.ladders)),
            bounds=(0, 1),
            method="highs",
        )
    if solved.x is None:
        return None
    parameter_price, width_price = (max(0.0, -float(price)) for price in solved.ineqlin.marginals)
    # by weak duality this is a bound at any prices, however exactly the solver kept its tolerances
    best = np.maximum.reduceat(_reduced(sack, parameter_price, width_price), sack.starts)
    lower = [
        int(np.flatnonzero(solved.x[start : start + size] > SOME)[0])
        for start, size in zip(sack.starts, sack.sizes, strict=True)
    ]
    return Relaxed(
        bound=parameter_price + width_price + float(best.sum()),
        parameter_price=parameter_price,
        width_price=width_price,
        places=climb(sack, lower if sack.holds(lower) else sack.lowest),
    )


def open_rungs(sack: Knapsack, relaxed: Relaxed, worth: float) -> Bool[np.ndarray, " rungs"]:
    """Rungs that a split worth more than `worth` may have: with any other, what the prices allow is less."""
    reduced = _reduced(sack, relaxed.parameter_price, relaxed.width_price)
    loss = np.maximum.reduceat(reduced, sack.starts)[sack.owner] - reduced
    found: Bool[np.ndarray, " rungs"] = loss <= relaxed.bound - worth + ROUNDING
    return found


def _reduced(sack: Knapsack, parameter_price: float, width_price: float) -> Float[np.ndarray, " rungs"]:
    """Worth less what a rung takes of both limits."""
    return sack.gain - parameter_price * sack.price - width_price * sack.width
