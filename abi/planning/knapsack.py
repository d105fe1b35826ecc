"""The problem of dividing a budget: one rung for each feature, worth the most, within parameters and a total width."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from abi.inputs.kind import Step
from abi.planning.ladder import measured_utility


@dataclass(frozen=True)
class Knapsack:
    """A multiple-choice knapsack with two constraints.

    Arrays have an entry for each rung of each feature, in order.

    Attributes:
        ladders: rungs per feature.
        gains: attention times utility of each rung.
        prices: parameters of each rung.
        budget: most parameters.
        width_limit: most total width.
        per_width: parameters that a unit of width costs in the first layer; they are in the prices.
        macs_per_width: multiply-accumulates that it costs there, by which those of an encoder count as width; 0 where
            width is limited alone.
    """

    ladders: Sequence[Sequence[Step]]
    gains: Sequence[Sequence[float]]
    prices: Sequence[Sequence[int]]
    budget: int
    width_limit: int
    per_width: int
    macs_per_width: int = 0

    @functools.cached_property
    def sizes(self) -> Int[np.ndarray, " features"]:
        """Rungs of each feature."""
        return np.array([len(rungs) for rungs in self.ladders])

    @functools.cached_property
    def starts(self) -> Int[np.ndarray, " features"]:
        """Place of each feature's first rung."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @functools.cached_property
    def owner(self) -> Int[np.ndarray, " rungs"]:
        """Feature of each rung."""
        return np.repeat(np.arange(len(self.ladders)), self.sizes)

    @functools.cached_property
    def price(self) -> Float[np.ndarray, " rungs"]:
        """Parameters, as a share of the budget."""
        return np.concatenate([np.array(p, dtype=float) for p in self.prices]) / self.budget

    @functools.cached_property
    def width(self) -> Float[np.ndarray, " rungs"]:
        """Width, as a share of its limit."""
        return np.array([self.room(rung) for rungs in self.ladders for rung in rungs], dtype=float) / self.width_limit

    @functools.cached_property
    def gain(self) -> Float[np.ndarray, " rungs"]:
        """What each rung is worth."""
        return np.array([worth for of_feature in self.gains for worth in of_feature])

    def one_each(self, rungs: Int[np.ndarray, " some"] | None = None) -> csr_array:
        """Matrix of the constraint that each feature has one of these rungs, or of all."""
        owner = self.owner if rungs is None else self.owner[rungs]
        shape = (len(self.ladders), len(owner))
        return csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=shape)

    def spent(self, places: Sequence[int]) -> int:
        """Parameters of these rungs."""
        return sum(p[at] for p, at in zip(self.prices, places, strict=True))

    def room(self, rung: Step) -> int:
        """Width that a rung takes, with what its encoder computes."""
        return rung.laid + (-(-rung.macs // self.macs_per_width) if self.macs_per_width else 0)

    def laid(self, places: Sequence[int]) -> int:
        """Total width of these rungs."""
        return sum(self.room(rungs[at]) for rungs, at in zip(self.ladders, places, strict=True))

    def worth(self, places: Sequence[int]) -> float:
        """What these rungs are worth together."""
        return sum(g[at] for g, at in zip(self.gains, places, strict=True))

    def holds(self, places: Sequence[int]) -> bool:
        """Whether these rungs keep both limits."""
        return self.spent(places) <= self.budget and self.laid(places) <= self.width_limit

    @property
    def lowest(self) -> list[int]:
        """The first rung of every feature."""
        return [0] * len(self.ladders)


def knapsack(
    ladders: Sequence[Sequence[Step]],
    weights: Sequence[float],
    budget: int,
    per_width: int,
    width_limit: int | None,
    curves: Sequence[Sequence[float]] | None,
    macs_per_width: int = 0,
) -> Knapsack:
    """The problem of `abi.planning.allocate.allocate`, with the same arguments; `macs_per_width` is as in `Knapsack`."""
    known = curves or [()] * len(ladders)
    return Knapsack(
        ladders=ladders,
        gains=[
            [weight * measured_utility(rung.units, curve) for rung in rungs]
            for weight, rungs, curve in zip(weights, ladders, known, strict=True)
        ],
        prices=[[rung.parameters(per_width) for rung in rungs] for rungs in ladders],
        budget=budget,
        width_limit=width_limit or sum(rungs[-1].laid for rungs in ladders) or 1,
        per_width=per_width,
        macs_per_width=macs_per_width,
    )


def climb(sack: Knapsack, places: Sequence[int]) -> list[int]:
    """Spend what is left from `places` on: the best gain per cost first, cost being the scarcer share of the two.

    Optimal up to the last rung (Fox 1966, "Discrete optimization via marginal analysis").
    """
    places = list(places)
    ladders, prices, gains = sack.ladders, sack.prices, sack.gains
    left, room = sack.budget - sack.spent(places), sack.width_limit - sack.laid(places)

    def next_rung(i: int) -> tuple[float, int, int, int] | None:
        at = places[i]
        if at + 1 >= len(ladders[i]):
            return None
        here, above = ladders[i][at], ladders[i][at + 1]
        price, wider = prices[i][at + 1] - prices[i][at], sack.room(above) - sack.room(here)
        worth = gains[i][at + 1] - gains[i][at]
        return -worth / max(price / sack.budget, wider / sack.width_limit), i, price, wider

    heap = [found for i in range(len(ladders)) if (found := next_rung(i))]
    heapq.heapify(heap)
    while heap:
        _, i, price, wider = heapq.heappop(heap)
        if price > left or wider > room:
            continue
        left, room, places[i] = left - price, room - wider, places[i] + 1
        if found := next_rung(i):
            heapq.heappush(heap, found)
    return places
