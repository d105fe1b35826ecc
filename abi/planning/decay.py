"""Weight decay per feature: weaker where attention is, so that regularisation follows it as well as width does.

Off unless `training.attended_decay` asks for it. On validation rows of seven open tables at temperature 0.4 (two or three
seeds, short trainings; `benchmarks/attention.py decay`) an exponent of 0.5 gained 1.3% of loss on california_housing with 24
noise features and 0.6% on it clean, lost 0.8% on elevators, 0.2% on kc1_defects and 1.0% on the frugal split of the noisy
table, and did nothing on adult and amazon_access; phoneme, whose decay is 300 times less, differed by as much between
seeds. Part of it is there without: attention scales what a feature's weights read, and weights on a larger input are
smaller, so that the same decay costs them less. Encoders are not decayed at all.
"""

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
