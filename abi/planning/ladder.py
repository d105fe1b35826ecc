"""The widths that a feature can have, and what comes with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abi.inputs import categorical, numeric

if TYPE_CHECKING:
    from abi.types import Feature

WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
MAX_ROWS: Final = 4096
BINS_PER_WIDTH: Final = 8
MIN_BINS: Final = 8
MAX_BINS: Final = 96


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung: a width with its bins or rows, and the parameters of the feature's encoder."""

    width: int
    bins: int
    rows: int
    encoder_parameters: int

    def parameters(self, per_width: int) -> int:
        """All parameters that this rung costs, where each unit of width also costs `per_width` in the layer above."""
        return self.encoder_parameters + self.width * per_width


def step(feature: Feature, width: int) -> Step:
    """What `feature` gets at `width`: bins grow with the width, up to its distinct values."""
    if feature.kind == "numeric":
        bins = max(1, min(MAX_BINS, max(MIN_BINS, BINS_PER_WIDTH * width), feature.distinct - 1))
        return Step(width=width, bins=bins, rows=0, encoder_parameters=numeric.parameters(width, bins))
    rows = min(feature.distinct, MAX_ROWS) + categorical.EXTRA_ROWS
    return Step(width=width, bins=0, rows=rows, encoder_parameters=categorical.parameters(width, rows))


def ladder(feature: Feature) -> tuple[Step, ...]:
    """All rungs of `feature`, by width."""
    return tuple(step(feature, width) for width in WIDTHS)
