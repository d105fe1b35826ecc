"""Discrimination: how much of the target's variance the means of a feature's bins explain in rows held out from them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from abi.scoring.types import Coordinates, Grouped, ManyViews

SMOOTHING = 10.0
"""Rows of the overall mean that each bin's mean is blended with (Micci-Barreca's m)."""


def discrimination(table: Grouped, coordinates: Coordinates) -> ManyViews:
    """Held-out R2 of the smoothed target mean per bin, in [-1, 1], of all groups and without each group's errors.

    For each group h, a bin's mean comes from the other groups, blended with their overall mean m rows strong:

        mean_b = (sum of y over b + m * ybar) / (n_b + m),   R2 = 1 - sum_h |y - mean_b|^2 / sum_h |y - ybar|^2

    This is the effect size (eta^2) of a one-way analysis of variance with bins as groups, cross-fitted, so that a
    thousand categories gain nothing by being many: for a categorical feature it is the gain of target encoding. y has
    an axis per class in classification. Bins, not moments of the raw values, because outliers cannot rule them, a
    relation need not be monotone, and numeric and categorical features stand on one scale.

    The jackknife drops a group's errors and keeps the means: they minimise the error, so moving them a little changes
    it in second order only.

    References:
        Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", 2001. Effect size: Cohen,
        1988, ch. 8 (our R2 is his eta^2).
    """
    counts = table.astype(np.float64)
    squares = (coordinates**2).sum(axis=1)
    # axes: features, bins, groups, axes of y
    rows, sums = counts.sum(axis=-1), counts @ coordinates
    other_rows = rows.sum(axis=-1, keepdims=True) - rows
    other_sums = sums.sum(axis=-2, keepdims=True) - sums
    overall = other_sums.sum(axis=-3) / np.maximum(other_rows.sum(axis=-2), 1.0)[..., None]
    means = (other_sums + SMOOTHING * overall[..., None, :, :]) / (other_rows + SMOOTHING)[..., None]
    lengths = counts.sum(axis=-3) @ squares
    left = lengths - 2 * (sums * means).sum(axis=(-3, -1)) + (rows * (means**2).sum(axis=-1)).sum(axis=-2)
    held_rows, held_sums = rows.sum(axis=-2), sums.sum(axis=-3)
    spread = lengths - 2 * (held_sums * overall).sum(axis=-1) + held_rows * (overall**2).sum(axis=-1)
    errors, total = _with_and_without(left), _with_and_without(spread)
    return np.where(total > 0, np.clip(1 - errors / np.where(total > 0, total, 1.0), -1.0, 1.0), 0.0)


def _with_and_without(groups: Float64[np.ndarray, "*features groups"]) -> ManyViews:
    whole = groups.sum(axis=-1, keepdims=True)
    return np.concatenate([whole, whole - groups], axis=-1)
