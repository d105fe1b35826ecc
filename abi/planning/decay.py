"""Weight decay per feature: weaker where attention is, so that regularisation follows it as well as width does."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from abi.types import Attention, Capacity

BOUNDS: Final = (0.25, 4.0)
"""Least and most that a feature's decay is multiplied by."""


def with_decay(capacity: Capacity, attention: Attention, exponent: float) -> Capacity:
    """The same capacity with each feature's multiplier of weight decay, (1 / (n a_i))^exponent within `BOUNDS`.

    n a_i is attention over the even share, so that the even split has 1 everywhere. Features without width have no
    weights to decay and keep 1. With exponent 1 the bounds are reached at 4 times and a quarter of the even share.
    """
    count = len(attention.weights)
    features = []
    for given, one in zip(capacity.features, attention.weights, strict=True):
        factor = multiplier(one.weight * count, exponent) if given.width else 1.0
        told = f"; weight decay {factor:g}x" if factor != 1 else ""
        features.append(replace(given, decay=factor, reason=given.reason + told))
    return replace(capacity, features=tuple(features))


def multiplier(ratio: float, exponent: float) -> float:
    """Of a feature with `ratio` times the even share; four digits, so that the even share is exactly 1."""
    least, most = BOUNDS
    return float(f"{min(max(ratio**-exponent, least), most):.4g}")
