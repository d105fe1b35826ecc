"""Parameters -> a width per feature, by what attention makes of each rung."""

from __future__ import annotations

import heapq
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from abi.planning.ladder import Step, measured_utility

EXACT_FEATURES: Final = 600
"""Up to here the problem is solved exactly; 600 features take about a second."""
GAP: Final = 1e-4


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
) -> tuple[Allotment, ...] | None:
    """Maximise sum_i a_i * utility_i(width_i) under the budget; every feature keeps at least its first rung.

    A multiple-choice knapsack with two constraints: parameters, and the total width, which time, memory and latency
    grow with. Without rungs its solution is width_i ~ a_i / cost_i. Solved by HiGHS up to 600 features; above that by
    climbing the ladder with the best gain per cost first, which is optimal up to the last rung (Fox 1966, "Discrete
    optimization via marginal analysis").

    Args:
        ladders: rungs per feature.
        weights: attention per feature, on the simplex.
        budget: parameters for encoders and what their width costs in the first layer.
        per_width: parameters that a unit of width costs in the first layer.
        width_limit: most total width, where there is a limit.
        curves: what a trained model showed of each feature (see `measured_utility`); log2(1 + width) where it is empty.

    Returns:
        What each feature got, or None where the first rungs alone exceed the budget.
    """
    width_limit = width_limit or sum(rungs[-1].width for rungs in ladders)
    known = curves or [()] * len(ladders)
    gains = [
        [weight * measured_utility(rung.units, curve) for rung in rungs]
        for weight, rungs, curve in zip(weights, ladders, known, strict=True)
    ]
    prices = [[rung.parameters(per_width) for rung in rungs] for rungs in ladders]
    if sum(p[0] for p in prices) > budget or sum(rungs[0].width for rungs in ladders) > width_limit:
        return None
    places = _exact(ladders, prices, gains, budget, width_limit) if len(ladders) <= EXACT_FEATURES else None
    places = _climb(ladders, prices, gains, budget, width_limit, places or [0] * len(ladders))
    return tuple(_allotment(rungs, place, per_width) for rungs, place in zip(ladders, places, strict=True))


def _exact(
    ladders: Sequence[Sequence[Step]],
    prices: Sequence[Sequence[int]],
    gains: Sequence[Sequence[float]],
    budget: int,
    width_limit: int,
) -> list[int] | None:
    """The rung of each feature by mixed-integer programming, or None where the solver gives up."""
    owner = np.repeat(np.arange(len(ladders)), [len(rungs) for rungs in ladders])
    price = np.concatenate([np.array(p, dtype=float) for p in prices])
    width = np.array([rung.width for rungs in ladders for rung in rungs], dtype=float)
    gain = np.array([worth for of_feature in gains for worth in of_feature])
    one_each = coo_array((np.ones(len(owner)), (owner, np.arange(len(owner)))))
    with _silent_stdout():
        solved = milp(
            -gain,
            integrality=np.ones(len(owner)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint(price[None, :] / budget, ub=1),
                LinearConstraint(width[None, :] / width_limit, ub=1),
            ],
            options={"mip_rel_gap": GAP},
        )
    if solved.x is None:
        return None
    chosen = solved.x.reshape(-1) > 0.5  # noqa: PLR2004 - a rounded 0 or 1
    places = [int(np.flatnonzero(chosen[owner == i])[0]) for i in range(len(ladders))]
    spent = sum(p[at] for p, at in zip(prices, places, strict=True))
    laid = sum(rungs[at].width for rungs, at in zip(ladders, places, strict=True))
    return places if spent <= budget and laid <= width_limit else None


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """HiGHS 1.12 leaves a trace line on the process's stdout, where a command's JSON goes."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _climb(
    ladders: Sequence[Sequence[Step]],
    prices: Sequence[Sequence[int]],
    gains: Sequence[Sequence[float]],
    budget: int,
    width_limit: int,
    places: list[int],
) -> list[int]:
    """Spend what is left from `places` on: the best gain per cost first, cost being the scarcer share of the two."""
    places = list(places)
    left = budget - sum(p[at] for p, at in zip(prices, places, strict=True))
    room = width_limit - sum(rungs[at].width for rungs, at in zip(ladders, places, strict=True))

    def climb(i: int) -> tuple[float, int, int, int] | None:
        at = places[i]
        if at + 1 >= len(ladders[i]):
            return None
        here, above = ladders[i][at], ladders[i][at + 1]
        price, wider = prices[i][at + 1] - prices[i][at], above.width - here.width
        worth = gains[i][at + 1] - gains[i][at]
        return -worth / max(price / budget, wider / width_limit), i, price, wider

    heap = [found for i in range(len(ladders)) if (found := climb(i))]
    heapq.heapify(heap)
    while heap:
        _, i, price, wider = heapq.heappop(heap)
        if price > left or wider > room:
            continue
        left, room, places[i] = left - price, room - wider, places[i] + 1
        if found := climb(i):
            heapq.heappush(heap, found)
    return places


def _allotment(rungs: Sequence[Step], place: int, per_width: int) -> Allotment:
    here = rungs[place]
    above = rungs[place + 1] if place + 1 < len(rungs) else None
    return Allotment(
        step=here,
        next_width=above.width if above else None,
        next_parameters=above.parameters(per_width) - here.parameters(per_width) if above else None,
    )
