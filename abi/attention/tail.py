"""Attention that the classes of the tail ask for, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from abi.attention.simplex import Vector
    from abi.types import Scores


def tail_weights(scores: Scores) -> Vector | None:
    """q_f = mean over tail classes c of r_cf / sum_g r_cg, on the simplex, in schema order.

    r_cf is what feature f tells of class c (`abi.scoring.selection`), 0 where it is not selected for c. So each class that
    has a feature counts alike, however few its rows are. None where no class has one.
    """
    place = {f.feature: i for i, f in enumerate(scores.features)}
    weights = np.zeros(len(place))
    for selection in scores.tail:
        total = sum(share for _, share in selection.features)
        for name, share in selection.features:
            weights[place[name]] += share / total
    return np.asarray(weights / weights.sum()) if weights.any() else None


def with_tail(weights: Vector, selected: Vector | None, share: float) -> Vector:
    """(1 - t) a + t q, where something is selected."""
    return weights if selected is None else (1 - share) * weights + share * selected
