"""What a model that followed a stream remembers of it, and how its derived columns go on over new rows without labels.

What past labels tell stays as it was at the stream's end. How far a number moved from its past goes on row by row, the
rows of a table taken in their order as those that come after the stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from abi.values import Value

Changes = Float64[np.ndarray, "rows changes"]


@dataclass(frozen=True, kw_only=True)
class Going(Value):
    """A number's change from its exponentially weighted mean so far; with half 0 from its last value.

    Attributes:
        name: of the derived column.
        feature: whose change it is.
        half: rows in which a weight halves.
        mean: so far; None before the first value.
        weight: sum of the weights so far, the newest row's being 1.
    """

    name: str
    feature: str
    half: float
    mean: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Onward(Value):
    """The derived columns by name: those of past labels (text or numbers; None is missing), and changes that go on."""

    texts: dict[str, str | None]
    numbers: dict[str, float | None]
    going: tuple[Going, ...]

    def changes(self, values: Changes) -> Changes:
        """Of new rows in order, given the values of each change's feature; NaN is missing."""
        return _go_on(self.going, values)[0]

    def after(self, values: Changes) -> Onward:
        """The same once these rows have passed."""
        _, means, weights = _go_on(self.going, values)
        kept = zip(self.going, means, weights, strict=True)
        going = (replace(g, mean=None if np.isnan(m) else float(m), weight=float(w)) for g, m, w in kept)
        return replace(self, going=tuple(going))


def _go_on(
    going: tuple[Going, ...], values: Changes
) -> tuple[Changes, Float64[np.ndarray, " changes"], Float64[np.ndarray, " changes"]]:
    """(changes, means, weights), by the recursion of pandas' `ewm(halflife).mean()` and in its order of operations."""
    mean = np.array([np.nan if g.mean is None else g.mean for g in going], np.float64)
    weight = np.array([g.weight for g in going], np.float64)
    fade = np.array([_fade(g.half) for g in going], np.float64)
    found = np.empty_like(values)
    for row, value in enumerate(values):
        found[row] = value - mean
        there = ~np.isnan(value)
        weight = np.where(np.isnan(mean), 1.0, weight * fade)
        with np.errstate(invalid="ignore"):
            moved = np.where(mean == value, mean, (weight * mean + value) / (weight + 1))
        new = np.isnan(mean) & there
        weight = np.where(there & ~new, weight + 1, weight)
        mean = np.where(new, value, np.where(there, moved, mean))
    return found, mean, weight


def _fade(half: float) -> float:
    """What is left of a weight a row later, computed as pandas does; 0 where only the last value counts."""
    if half == 0:
        return 0.0
    return 1 - 1 / (1 + (1 / (1 - math.exp(math.log(0.5) / half)) - 1))
