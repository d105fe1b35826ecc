"""Parameters -> a width per feature, by marginal gain per cost."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from abi.planning.ladder import Step


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What one feature got, and what its next rung would have cost and brought (None on the last rung)."""

    step: Step
    next_width: int | None
    next_parameters: int | None


def utility(width: int) -> float:
    """Expected use of `width` units: log2(1 + width), concave, so that each doubling is worth the same."""
    return math.log2(1 + width)


def allocate(
    ladders: Sequence[Sequence[Step]], weights: Sequence[float], budget: int, per_width: int
) -> tuple[Allotment, ...] | None:
    """Maximise sum_i a_i * utility(width_i) under the budget; every feature keeps at least its first rung.

    The utility is concave and costs grow with the width, so climbing the ladder with the best gain per parameter first
    gives the optimum of the continuous problem, width_i ~ a_i / cost_i, and of the discrete one up to the last step
    (Fox 1966, "Discrete optimization via marginal analysis").

    Args:
        ladders: rungs per feature.
        weights: attention per feature, on the simplex.
        budget: parameters for encoders and what their width costs in the first layer.
        per_width: parameters that a unit of width costs in the first layer.

    Returns:
        What each feature got, or None where the first rungs alone exceed the budget.
    """
    places = [0] * len(ladders)
    left = budget - sum(rungs[0].parameters(per_width) for rungs in ladders)
    if left < 0:
        return None
    climbs = [climb for i in range(len(ladders)) if (climb := _climb(i, 0, ladders[i], weights[i], per_width))]
    heapq.heapify(climbs)
    while climbs:
        _, i, price = heapq.heappop(climbs)
        if price > left:
            continue
        left -= price
        places[i] += 1
        climb = _climb(i, places[i], ladders[i], weights[i], per_width)
        if climb:
            heapq.heappush(climbs, climb)
    return tuple(_allotment(rungs, place, per_width) for rungs, place in zip(ladders, places, strict=True))


def _climb(
    index: int, place: int, rungs: Sequence[Step], weight: float, per_width: int
) -> tuple[float, int, int] | None:
    if place + 1 >= len(rungs):
        return None
    here, above = rungs[place], rungs[place + 1]
    price = above.parameters(per_width) - here.parameters(per_width)
    return -weight * (utility(above.width) - utility(here.width)) / price, index, price


def _allotment(rungs: Sequence[Step], place: int, per_width: int) -> Allotment:
    here = rungs[place]
    above = rungs[place + 1] if place + 1 < len(rungs) else None
    return Allotment(
        step=here,
        next_width=above.width if above else None,
        next_parameters=above.parameters(per_width) - here.parameters(per_width) if above else None,
    )
