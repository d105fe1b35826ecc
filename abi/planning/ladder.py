"""The sizes that a feature can have, and what comes with each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from abi.inputs import categorical, numeric, profile, text

if TYPE_CHECKING:
    from abi.problem import Feature

WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
MAX_ROWS: Final = 4096
TERMS_PER_ROW: Final = 8
EVEN_WIDTH: Final = 8
"""Width of an even split where the envelope allows it: wider ones brought nothing on validation rows."""
EVEN_TEXT_WIDTH: Final = 32
"""The same where there is nothing but text: an even split gains up to here."""
MIN_BINS: Final = 4
OWN_PER_WIDTH: Final = 16
"""Frequent values of a category with a row of their own, per unit of width; the others share rows."""
ALL_SHARED: Final = 0.5
"""What a category of which all values share rows is worth; with rows of their own, criteo's loss was 1% lower."""
TEXT_CELLS: Final = tuple(2**k for k in range(6, 15))
"""Cells of a text's table that attention can choose from; the table's width follows, as in `TEXT_WIDTHS`. More than these
made the validation loss of banking77 worse."""
TEXT_WIDTHS: Final = ((256, 8), (1024, 16), (2**62, 32))
START_FACTOR: Final = 12
"""A text starts training with up to so many times the cells that it ends with."""
CELLS_UNIT: Final = 256
"""So many cells of a text are worth as much as one unit of width of another feature."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung: a width with its bins, rows or cells, and the parameters of the feature's encoder."""

    width: int
    bins: int = 0
    rows: int = 0
    shared: int = 0
    entries: int = 0
    start_entries: int = 0
    encoder_parameters: int

    def parameters(self, per_width: int) -> int:
        """All parameters that this rung costs, where each unit of width also costs `per_width` in the layer above."""
        return self.encoder_parameters + self.width * per_width

    @property
    def units(self) -> float:
        """What its use is measured in: width, or cells of a text; half of it where no value has a row of its own."""
        alone = self.shared == self.rows > 0
        return self.entries / CELLS_UNIT if self.entries else self.width * (ALL_SHARED if alone else 1.0)


NOTHING: Final = Step(width=0, encoder_parameters=0)


def widest(feature: Feature, width: int) -> int:
    """The largest rung up to `width` that the feature can use: as many units as it has distinct values."""
    if feature.kind == "text":
        return width
    return max(w for w in WIDTHS if w == WIDTHS[0] or w <= min(width, feature.distinct))


def step(feature: Feature, width: int, bins: int, terms: int = 0, most: int = MAX_ROWS) -> Step:
    """What `feature` gets at `width` in a split that gives all its values the same.

    Args:
        feature: numeric ones have bins, the others rows.
        width: of the embedding.
        bins: at the even width; they grow with the width, within a quarter and twice that, up to the distinct values.
        terms: of a text.
        most: rows of a category, the most frequent values; a text has `TERMS_PER_ROW` times as many terms.
    """
    if feature.kind == "numeric":
        wanted = min(max(bins * width // EVEN_WIDTH, bins // 4, MIN_BINS), 2 * bins)
        kept = max(1, min(wanted, feature.distinct - 1))
        return Step(width=width, bins=kept, encoder_parameters=numeric.parameters(width, kept))
    if feature.kind == "text":
        known = max(1, min(terms, most * TERMS_PER_ROW) if most < MAX_ROWS else terms)
        cells = known * width
        return Step(
            width=width,
            rows=known,
            entries=cells,
            start_entries=cells,
            encoder_parameters=text.parameters(cells),
        )
    rows = min(feature.distinct, most) + categorical.EXTRA_ROWS
    return Step(width=width, rows=rows, encoder_parameters=categorical.parameters(width, rows))


def sharing_step(width: int, own: int) -> Step:
    """What a category of many values gets at `width` where all but the `own` most frequent ones share rows."""
    rows = own + profile.SHARED_ROWS + 1
    return Step(
        width=width, rows=rows, shared=profile.SHARED_ROWS + 1, encoder_parameters=profile.parameters(width, own)
    )


def text_step(cells: int, terms: int) -> Step:
    """What a text of `terms` terms gets where cells go to the terms that pay."""
    width = next(w for most, w in TEXT_WIDTHS if cells <= most)
    kept = min(cells, terms * width)
    start = min(START_FACTOR * kept, terms * width)
    return Step(width=width, rows=terms, entries=kept, start_entries=start, encoder_parameters=text.parameters(kept))


def with_cells(rung: Step, more: int) -> Step:
    """The same text with `more` cells, as far as its table goes."""
    kept = min(rung.entries + more, rung.rows * rung.width)
    start = min(START_FACTOR * kept, rung.rows * rung.width)
    return replace(rung, entries=kept, start_entries=start, encoder_parameters=text.parameters(kept))


def shares_rows(feature: Feature) -> bool:
    """Whether its values are too many for a row each."""
    return feature.kind == "categorical" and feature.distinct > profile.SHARED_FROM


def ladder(
    feature: Feature, bins: int, *, frugal: bool = False, terms: int = 0, most: int = MAX_ROWS
) -> tuple[Step, ...]:
    """All rungs of `feature` that it can use, by cost."""
    if feature.kind == "text" and frugal:
        rungs = [text_step(cells, terms) for cells in TEXT_CELLS]
        return tuple(r for i, r in enumerate(rungs) if i == 0 or r.entries > rungs[i - 1].entries)
    top = widest(feature, WIDTHS[-1])
    if frugal and shares_rows(feature):
        rungs = [sharing_step(width, OWN_PER_WIDTH * width) for width in WIDTHS if width <= top]
        return (sharing_step(1, 0), *rungs)
    return tuple(step(feature, width, bins, terms, most) for width in WIDTHS if width <= top)


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
