"""The widths that a feature can have, and what comes with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abi.inputs import categorical, numeric

if TYPE_CHECKING:
    from abi.types import Feature

WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
MAX_ROWS: Final = 4096
EVEN_WIDTH: Final = 8
"""Width of an even split where the envelope allows it: wider ones brought nothing on validation rows."""
MIN_BINS: Final = 4


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


def widest(feature: Feature, width: int) -> int:
    """The largest rung up to `width` that the feature can use: as many units as it has distinct values."""
    return max(w for w in WIDTHS if w == WIDTHS[0] or w <= min(width, feature.distinct))


def step(feature: Feature, width: int, bins: int) -> Step:
    """What `feature` gets at `width`.

    Args:
        feature: numeric ones have bins, the others rows.
        width: of the embedding.
        bins: at the even width; they grow with the width, within a quarter and twice that, up to the distinct values.
    """
    if feature.kind == "numeric":
        wanted = min(max(bins * width // EVEN_WIDTH, bins // 4, MIN_BINS), 2 * bins)
        kept = max(1, min(wanted, feature.distinct - 1))
        return Step(width=width, bins=kept, rows=0, encoder_parameters=numeric.parameters(width, kept))
    rows = min(feature.distinct, MAX_ROWS) + categorical.EXTRA_ROWS
    return Step(width=width, bins=0, rows=rows, encoder_parameters=categorical.parameters(width, rows))


def ladder(feature: Feature, bins: int) -> tuple[Step, ...]:
    """All rungs of `feature` that it can use, by width."""
    top = widest(feature, WIDTHS[-1])
    return tuple(step(feature, width, bins) for width in WIDTHS if width <= top)
