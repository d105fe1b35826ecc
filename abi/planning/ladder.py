"""The sizes that a feature can have, and what they are of use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from abi.inputs.kind import MAX_ROWS, Sizes, Step, usable
from abi.inputs.kinds import KINDS

if TYPE_CHECKING:
    from abi.problem import Feature

EVEN_TEXT_WIDTH: Final = 32
"""Width of an even split where there is nothing but text: it gains up to here."""
NOTHING: Final = Step(width=0, encoder_parameters=0)


def widest(feature: Feature, width: int) -> int:
    """The largest rung up to `width` that the feature can use."""
    return width if feature.kind in ("text", "embedding", "sequence") else usable(feature, width)


def step(
    feature: Feature, width: int, bins: int, terms: int = 0, most: int = MAX_ROWS, base: int = 0, single: bool = False
) -> Step:
    """What `feature` gets at `width` in a split that gives all its values the same; see `abi.inputs.kind.Sizes`."""
    return KINDS[feature.kind].step(feature, width, Sizes(bins=bins, terms=terms, most=most, base=base, single=single))


def ladder(
    feature: Feature,
    bins: int,
    *,
    frugal: bool = False,
    terms: int = 0,
    most: int = MAX_ROWS,
    base: int = 0,
    sliced: bool = False,
    single: bool = False,
) -> tuple[Step, ...]:
    """All rungs of `feature` that it can use, by cost."""
    sizes = Sizes(bins=bins, terms=terms, most=most, base=base, sliced=sliced, single=single)
    return KINDS[feature.kind].rungs(feature, sizes, frugal)


def utility(units: float | int) -> float:
    """Expected use of `units` of width: log2(1 + units), concave, so that each doubling is worth the same."""
    return math.log2(1 + units)


def measured_utility(units: float | int, curve: Sequence[float]) -> float:
    """Use of a width by a curve that a trained model showed.

    Args:
        units: of width.
        curve: share of the feature's effect that its best 1, 2, .. dimensions had; the last is 1. Empty where
            nothing was measured, which leaves `utility`.
    """
    width = len(curve)
    if width == 0 or units == 0:
        return utility(units)
    whole = utility(width)
    if units <= width:
        return whole * curve[max(0, math.ceil(units) - 1)]
    last = curve[-1] - curve[-2] if width > 1 else 1.0
    slope = min(1.0, last * whole / (whole - utility(width - 1)))
    return whole + slope * (utility(units) - whole)
