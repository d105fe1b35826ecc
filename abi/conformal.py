"""One-sided split conformal bounds (Lei et al. 2018): what the next of exchangeable figures does not exceed.

Of n earlier ratios of measured to predicted cost, the ceil((n + 1) level)-th smallest is not exceeded by the next with at
least that probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

LEVEL: Final = 0.9
LEAST: Final = 9
"""Fewer figures than this have no such quantile."""


def quantile(ratios: Sequence[float], level: float = LEVEL) -> float:
    """The ceil((n + 1) level)-th smallest; infinite where n is too small for it."""
    place = math.ceil((len(ratios) + 1) * level)
    return sorted(ratios)[place - 1] if place <= len(ratios) else math.inf


def held(ratios: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Of each ratio that has enough before it, whether the bound from those would have held."""
    return [ratios[i] <= max(1.0, quantile(ratios[:i], level)) for i in range(LEAST, len(ratios))]


def coverage(columns: Sequence[Sequence[float]], level: float = LEVEL) -> float | None:
    """How often such bounds held over all columns; None where there are too few figures to say."""
    kept = [each for ratios in columns for each in held(ratios, level)]
    return round(sum(kept) / len(kept), 4) if kept else None
